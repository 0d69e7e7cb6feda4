//! Running other programs: nothing is read from the keyboard, and a failure carries the program's own last words.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Lines of output kept for the error message.
const TAIL_LINES: usize = 15;

/// Name and arguments, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end and returns both streams as one text, whatever the exit status.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn output(command: &mut Command) -> Result<(bool, String)> {
    let mut seen = Vec::new();
    let ok = lines(command, |line| seen.push(line.to_owned()))?;
    Ok((ok, seen.join("\n")))
}

/// Standard output of a program that must succeed.
///
/// # Errors
/// The program cannot be started or fails; its last lines are in the message.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        bail!("`{}` failed ({}):\n{}", shown(command), done.status, tail(words.lines()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a long program, handing each line of either stream to `see`.
///
/// # Errors
/// The program cannot be started or fails; its last lines are in the message.
pub(crate) fn watch(command: &mut Command, mut see: impl FnMut(&str)) -> Result<()> {
    let mut last = VecDeque::with_capacity(TAIL_LINES);
    let ok = lines(command, |line| {
        see(line);
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    })?;
    if !ok {
        bail!("`{}` failed:\n{}", shown(command), tail(last.iter().map(String::as_str)));
    }
    Ok(())
}

/// Runs to the end, handing each line of either stream to `see`; whether it succeeded.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn lines(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = io::pipe().context("cannot create a pipe")?;
    let also = writer.try_clone().context("cannot copy a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(also)
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    // The command keeps our ends of the pipe open; without this the reader would never see its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        see(&String::from_utf8_lossy(&line.context("cannot read a program's output")?));
    }
    Ok(child.wait().context("cannot wait for a program")?.success())
}

fn tail<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut kept: Vec<&str> = lines.rev().filter(|line| !line.trim().is_empty()).take(TAIL_LINES).collect();
    kept.reverse();
    kept.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{output, stdout, watch};
    use std::process::Command;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_read_and_the_status_reported() {
        let (ok, text) = output(&mut sh("echo one; echo two >&2; exit 3")).expect("sh runs");
        assert!(!ok);
        assert_eq!(text, "one\ntwo");
    }

    #[test]
    fn a_failure_carries_the_last_lines() {
        let error = watch(&mut sh("seq 1 100; echo the reason >&2; false"), |_| {}).expect_err("it failed");
        let text = error.to_string();
        assert!(text.contains("the reason") && text.contains("100") && !text.contains("    42\n"), "{text}");
        let error = stdout(&mut sh("echo why >&2; false")).expect_err("it failed");
        assert!(error.to_string().contains("why"), "{error}");
    }

    #[test]
    fn standard_input_is_closed() {
        assert_eq!(stdout(&mut sh("cat; echo end")).expect("cat sees the end at once"), "end\n");
    }
}
