//! Running one suite: as root where the lab is involved, under a time limit, with its skips seen.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::build::{LAB_PACKAGE, Suite};
use super::libtest::{self, Outcome};
use crate::command;
use crate::privilege;
use crate::workspace::Workspace;

/// After this long a binary hangs; the whole of CI has an hour.
const LIMIT_SECONDS: u32 = 1_500;

/// One line of the report.
pub(super) struct Line {
    pub(super) suite: Suite,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// Runs the suite to its end; a failure of its tests is a result, not an error.
pub(super) fn suite(
    workspace: &Workspace,
    suite: &Suite,
    variables: &[(OsString, OsString)],
    filter: &[String],
    required: &BTreeSet<&str>,
) -> Result<Line> {
    let mut command = prepare(workspace, suite, variables);
    command.current_dir(&suite.folder).arg("--show-output").args(filter);
    eprintln!("\n{} ({}, {})", suite.package, suite.target, suite.tier);
    let start = Instant::now();
    let mut text = String::new();
    let success = command::lines(&mut command, |line| {
        if line.starts_with("test ") {
            eprintln!("  {line}");
        }
        text.push_str(line);
        text.push('\n');
    })?;
    let took = start.elapsed();
    let mut outcome = libtest::parse(&text, success);
    if outcome.failed > 0 {
        eprintln!("{}", failing_part(&text));
    }
    outcome.require(required);
    Ok(Line { suite: suite.clone(), outcome, took })
}

fn prepare(workspace: &Workspace, suite: &Suite, variables: &[(OsString, OsString)]) -> Command {
    let Some(program) = &suite.program else {
        let mut cargo = workspace.cargo();
        cargo.envs(variables.iter().map(|(name, value)| (name, value)));
        cargo.args(["test", "--doc", "--package", &suite.package, "--"]);
        return cargo;
    };
    let mut variables = variables.to_vec();
    variables.push(("CARGO_MANIFEST_DIR".into(), suite.folder.clone().into()));
    let lab = suite.package == LAB_PACKAGE;
    let timeout = OsStr::new("timeout");
    let mut command = if lab { privilege::as_root(timeout, &variables) } else { privilege::as_is(timeout, &variables) };
    // In the background of a terminal, an interrupt from the keyboard would not reach the tests.
    command.args(stdin().is_terminal().then_some("--foreground"));
    command.args(["--kill-after=10", &LIMIT_SECONDS.to_string()]).arg(program);
    // Tests of the lab share the kernel and measure time against one another.
    command.args(lab.then_some("--test-threads=1"));
    command
}

/// What the failed tests printed, or everything when the binary did not come that far.
fn failing_part(text: &str) -> &str {
    text.find("\nfailures:\n").map_or(text, |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::failing_part;

    #[test]
    fn the_failing_part() {
        let rows = [
            (
                "failed",
                "test a ... ok\n\nfailures:\n\n---- a ----\n\nfailures:\n    a\n",
                "\nfailures:\n\n---- a ----\n\nfailures:\n    a\n",
            ),
            ("killed", "test a ... ", "test a ... "),
        ];
        for (name, text, expected) in rows {
            assert_eq!(failing_part(text), expected, "{name}");
        }
    }
}
