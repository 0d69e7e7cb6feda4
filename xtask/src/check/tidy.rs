//! House rules that no other tool checks, over every file git knows.
//! Pure but for the list of files: a rule is a function of a path and its text.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// The most lines a source file may have.
const LINES_MAX: usize = 400;
/// Text files the rules are for; other kinds (captures, keys, locks) are data.
const KINDS: [&str; 12] = ["rs", "toml", "md", "sh", "py", "js", "json", "yml", "yaml", "service", "conf", "txt"];
/// Words and paths are put together here, so that this file passes its own rules.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX:")];
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Prints every problem; true when there is none.
///
/// # Errors
/// Not a git checkout, or a file cannot be read.
pub(super) fn check(root: &Path) -> Result<bool> {
    let mut git = Command::new("git");
    // A checkout of another user's is only listed here, nothing in it is run by git.
    git.current_dir(root).args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed =
        command::stdout(&mut git).context("the house rules go over the files git knows; is this a checkout?")?;
    let mut clean = true;
    for path in listed.split('\0').filter(|path| is_text(path)) {
        let file = root.join(path);
        // Deleted but not yet committed as such, or a link.
        if !file.symlink_metadata().is_ok_and(|data| data.is_file()) {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for (line, problem) in problems(path, &String::from_utf8_lossy(&bytes)) {
            eprintln!("{path}:{line}: {problem}");
            clean = false;
        }
    }
    Ok(clean)
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((_, kind)) => KINDS.contains(&kind),
        None => path.starts_with(".ci/"),
    }
}

/// Problems of one file with their line numbers.
fn problems(path: &str, text: &str) -> Vec<(usize, String)> {
    let rust = path.ends_with(".rs");
    let mut found = Vec::new();
    let lines = text.split('\n').count().saturating_sub(usize::from(text.ends_with('\n')));
    if rust && lines > LINES_MAX {
        found.push((lines, format!("{lines} lines, more than {LINES_MAX}: split it by what it owns")));
    }
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    if rust && !first.is_some_and(|line| line.starts_with("//!")) {
        found.push((1, "no `//!` header that says what the file owns and refuses".to_owned()));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        found.push((lines, "no newline at the end".to_owned()));
    }
    for (index, line) in text.split('\n').enumerate() {
        let problem = line_problem(line, rust);
        found.extend(problem.map(|problem| (index + 1, problem)));
    }
    found
}

fn line_problem(line: &str, rust: bool) -> Option<String> {
    if line.ends_with('\r') {
        return Some("carriage return at the end of the line".to_owned());
    }
    if line.ends_with([' ', '\t']) {
        return Some("white space at the end of the line".to_owned());
    }
    if let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
        return Some(format!("{word}: finish it, or file an issue"));
    }
    if let Some(path) = MACHINE_PATHS.iter().find(|path| has_path(line, path)) {
        return Some(format!("{path} is a path of one machine"));
    }
    if rust && is_allow(line) {
        return Some("`allow` hides a lint for ever: use `expect(lint, reason = \"...\")`".to_owned());
    }
    None
}

/// An attribute that allows a lint, also inside `cfg_attr`.
fn is_allow(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("#[") || line.starts_with("#![")) && (line.contains("[allow(") || line.contains(", allow("))
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(|next| next.is_alphanumeric() || next == '_')
    })
}

/// The path from its root, not as the middle of a longer one.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || "_-.}".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_PATHS, UNFINISHED, is_text, problems};

    #[test]
    fn files() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(400));
        let full = format!("//! Full.\n{}", "fn f() {}\n".repeat(399));
        let unfinished = format!("//! A.\n// {}: later\n", UNFINISHED[0]);
        let machine = format!("see `{}x`\n", MACHINE_PATHS[0]);
        let inside = format!("see target{}x\n", MACHINE_PATHS[0]);
        let rows: [(&str, &str, &str, &[&str]); 16] = [
            ("fine", "a.rs", "//! A.\nfn f() {}\n", &[]),
            ("at the limit", "a.rs", &full, &[]),
            ("over the limit", "a.rs", &long, &["401 lines"]),
            ("no header", "a.rs", "fn f() {}\n", &["`//!`"]),
            ("header after attributes", "a.rs", "#![no_std]\n#![no_main]\n\n//! A.\n", &[]),
            ("header is for Rust", "a.md", "# A\n", &[]),
            ("allow", "a.rs", "//! A.\n    #[allow(dead_code)]\n", &["`allow`"]),
            ("allow for the crate", "a.rs", "//! A.\n#![allow(dead_code)]\n", &["`allow`"]),
            ("allow on a condition", "a.rs", "//! A.\n#[cfg_attr(test, allow(dead_code))]\n", &["`allow`"]),
            ("allow in words", "a.rs", "//! A.\nlet rule = allow(prefix);\n", &[]),
            ("unfinished", "a.rs", &unfinished, &["finish it"]),
            ("machine path", "a.md", &machine, &["one machine"]),
            ("part of a longer path", "a.md", &inside, &[]),
            ("carriage return", "a.md", "a\r\nb\n", &["carriage return"]),
            ("trailing space", "a.toml", "a = 1 \n", &["white space"]),
            ("no last newline", "a.toml", "a = 1", &["no newline"]),
        ];
        for (name, path, text, expected) in rows {
            let found: Vec<String> = problems(path, text).into_iter().map(|(_, problem)| problem).collect();
            assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{name}: {found}");
            }
        }
    }

    #[test]
    fn kinds() {
        let rows = [("a/b.rs", true), (".ci/run", true), ("x.pcap", false), ("Cargo.lock", false), ("LICENSE", false)];
        for (path, expected) in rows {
            assert_eq!(is_text(path), expected, "{path}");
        }
    }
}
