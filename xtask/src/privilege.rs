//! Running a program as root, with the tools of the set-up on its `PATH`.
//! The kernel part of tests and demo needs root; building never does.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::command;
use crate::workspace::Workspace;

/// Variables every program of the lab and every test gets.
pub(crate) fn variables(workspace: &Workspace) -> Result<Vec<(OsString, OsString)>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let always = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    let folders = std::iter::once(workspace.tools()).chain(env::split_paths(&path)).chain(always);
    let path = env::join_paths(folders).context("the path of the checkout must not hold a colon")?;
    Ok(vec![("PATH".into(), path), ("SENSOR_SETUP".into(), workspace.setup.clone().into())])
}

/// Fails early where root will be needed and cannot be had; long builds come in between.
///
/// # Errors
/// Not root, and sudo is absent or would have to ask while nobody can answer.
pub(crate) fn expect_root(what: &str) -> Result<()> {
    let allowed = || command::output(Command::new("sudo").args(["-n", "true"])).is_ok_and(|(ok, _)| ok);
    let present = || command::output(Command::new("sudo").arg("--version")).is_ok();
    if geteuid().is_root() || allowed() || stdin().is_terminal() && present() {
        return Ok(());
    }
    bail!(
        "{what} needs root for network namespaces and bpf(), and sudo is absent or wants a password: \
         run this as root, or from a terminal as a user with sudo"
    )
}

/// A command that will run `program` as root, through sudo when we are not root.
pub(crate) fn as_root(program: &OsStr, variables: &[(OsString, OsString)]) -> Command {
    if geteuid().is_root() {
        return with(Command::new(program), variables);
    }
    let mut command = Command::new("sudo");
    // sudo replaces PATH whatever -E says, so the variables travel as arguments of env.
    command.args((!stdin().is_terminal()).then_some("-n")).args(["-E", "env"]);
    for (name, value) in variables {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        command.arg(pair);
    }
    command.arg(program);
    command
}

/// A command that runs as we are, with the same variables.
pub(crate) fn as_is(program: &OsStr, variables: &[(OsString, OsString)]) -> Command {
    with(Command::new(program), variables)
}

fn with(mut command: Command, variables: &[(OsString, OsString)]) -> Command {
    // `cargo run` puts the compiler's libraries here; they are not for programs of the system.
    command.env_remove("LD_LIBRARY_PATH").envs(variables.iter().map(|(name, value)| (name, value)));
    command
}
