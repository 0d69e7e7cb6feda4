//! Building test binaries and programs, and reading from cargo's own messages where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;

/// The package whose tests and programs act on the kernel.
pub(crate) const LAB_PACKAGE: &str = "sensor-tests";

/// One thing to run: a test binary, or the documentation tests of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suite {
    /// `unit`, `doc`, or the name of an integration test binary.
    pub(crate) tier: String,
    pub(crate) package: String,
    /// Such as `lib sensor` or `test live`.
    pub(crate) target: String,
    /// Folder the tests start in.
    pub(crate) folder: PathBuf,
    /// Absent for documentation tests, which cargo runs.
    pub(crate) program: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    #[serde(default)]
    doctest: bool,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the programs with these flags; their paths by name.
pub(crate) fn programs(workspace: &Workspace, flags: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let arguments = [&["build", "--bins"], flags].concat();
    let messages = cargo(workspace, &arguments)?;
    let programs = messages.into_iter().filter_map(|message| Some((message.target?.name, message.executable?)));
    Ok(programs.collect())
}

/// Builds all tests; unit tests first, documentation tests last.
pub(crate) fn suites(workspace: &Workspace) -> Result<Vec<Suite>> {
    let found: BTreeSet<Suite> = cargo(workspace, &["test", "--no-run"])?
        .iter()
        .flat_map(|message| from_message(message, &workspace.root))
        .collect();
    let mut suites: Vec<Suite> = found.into_iter().collect();
    suites.sort_by_key(|suite| match suite.tier.as_str() {
        "unit" => 0,
        "doc" => 2,
        _ => 1,
    });
    Ok(suites)
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<Vec<Message>> {
    let mut command = workspace.cargo();
    command
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let done = command.output().context("cannot start cargo")?;
    if !done.status.success() {
        bail!("`cargo {}` failed; its messages are above", arguments.join(" "));
    }
    let text = String::from_utf8_lossy(&done.stdout);
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).context("cannot read a message of cargo"))
        .collect()
}

/// What one message of cargo means for us; a library gives documentation tests as well as a binary.
fn from_message(message: &Message, root: &Path) -> Vec<Suite> {
    let Message { reason, package_id: Some(id), manifest_path: Some(manifest), target: Some(target), .. } = message
    else {
        return Vec::new();
    };
    if reason != "compiler-artifact" || !manifest.starts_with(root) {
        return Vec::new();
    }
    let package = package_name(id);
    let folder = manifest.parent().unwrap_or(root).to_path_buf();
    let is_test = message.profile.as_ref().is_some_and(|profile| profile.test);
    let kind = target.kind.first().map_or("", String::as_str);
    let suite = |tier: &str, target: String, program| Suite {
        tier: tier.to_owned(),
        package: package.clone(),
        target,
        folder: folder.clone(),
        program,
    };
    match (is_test, kind, &message.executable) {
        (true, "test", Some(program)) => {
            vec![suite(&target.name, format!("test {}", target.name), Some(program.clone()))]
        }
        (true, _, Some(program)) => {
            let mut both = vec![suite("unit", format!("{kind} {}", target.name), Some(program.clone()))];
            both.extend((kind == "lib" && target.doctest).then(|| suite("doc", format!("doc {}", target.name), None)));
            both
        }
        _ => Vec::new(),
    }
}

/// The name in `path+file:///folder#name@version`, or the folder's where cargo leaves the name out.
fn package_name(id: &str) -> String {
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{from_message, package_name};
    use std::path::Path;

    #[test]
    fn names() {
        let rows = [
            ("path+file:///x/xtask#0.1.0", "xtask"),
            ("path+file:///x/tests#sensor-tests@0.1.0", "sensor-tests"),
            ("registry+https://github.com/rust-lang/crates.io-index#clap@4.6.7", "clap"),
        ];
        for (id, expected) in rows {
            assert_eq!(package_name(id), expected);
        }
    }

    #[test]
    fn messages() {
        let message = |kind: &str, test: bool, executable: &str, manifest: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///x/tests#sensor-tests@0.1.0",
                "manifest_path":"{manifest}","target":{{"kind":["{kind}"],"name":"live","doctest":true}},
                "profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        type Row = (&'static str, String, &'static [(&'static str, bool)]);
        let rows: [Row; 6] = [
            ("integration test", message("test", true, "\"/t/live\"", "/x/tests/Cargo.toml"), &[("live", true)]),
            ("library", message("lib", true, "\"/t/live\"", "/x/tests/Cargo.toml"), &[("unit", true), ("doc", false)]),
            ("program's tests", message("bin", true, "\"/t/live\"", "/x/tests/Cargo.toml"), &[("unit", true)]),
            ("program", message("bin", false, "\"/t/live\"", "/x/tests/Cargo.toml"), &[]),
            ("dependency", message("lib", true, "\"/t/live\"", "/elsewhere/Cargo.toml"), &[]),
            ("end", r#"{"reason":"build-finished","success":true}"#.to_owned(), &[]),
        ];
        for (name, text, expected) in rows {
            let message = serde_json::from_str(&text).expect("the row is JSON");
            let suites = from_message(&message, Path::new("/x"));
            let found: Vec<_> = suites.iter().map(|suite| (suite.tier.as_str(), suite.program.is_some())).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
