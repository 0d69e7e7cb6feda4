//! The outside programs of tests and demo, gathered in `target/setup/tools`, one name each.
//! What the system has is linked to; what it lacks is unpacked and started through a small script.
//! Every entry has been run once before it gets its name.

mod script;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use self::script::Files;
use super::debian::Store;
use crate::command;
use crate::progress::Step;
use crate::workspace::Workspace;

/// One program: where to get it and how to see that it runs.
struct Tool {
    name: &'static str,
    /// Debian packages: the one with the program, and what it must have beside it.
    packages: &'static [&'static str],
    /// Harmless arguments, and words only a working program answers with.
    ask: &'static [&'static str],
    answer: &'static str,
    /// Arguments that print the path of the real program where the one on `PATH` may be a version switcher.
    real: Option<&'static [&'static str]>,
    /// What it needs to find its own files when it is not where its package wanted it.
    files: Files,
}

/// A plain program whose name is that of its package.
const PLAIN: Tool = Tool { name: "", packages: &[], ask: &["--version"], answer: "", real: None, files: Files::Itself };

const PYTHON_ASK: &[&str] = &[
    "-c",
    "import asyncio, http.client, json, prometheus_client.openmetrics, socket, ssl, urllib.request; print('all there')",
];
const NODE_ASK: &[&str] = &["-e", "require('https'); require('http2'); require('tls'); console.log('all there')"];

const TOOLS: [Tool; 19] = [
    Tool { name: "curl", packages: &["curl"], answer: "libcurl/", ..PLAIN },
    Tool { name: "danted", packages: &["dante-server"], ask: &["-v"], answer: "Dante v", ..PLAIN },
    Tool { name: "ethtool", packages: &["ethtool"], answer: "ethtool version", ..PLAIN },
    Tool { name: "h2load", packages: &["nghttp2-client"], answer: "h2load nghttp2", ..PLAIN },
    Tool { name: "haproxy", packages: &["haproxy"], ask: &["-v"], answer: "HAProxy version", ..PLAIN },
    Tool { name: "ip", packages: &["iproute2"], ask: &["-V"], answer: "iproute2", ..PLAIN },
    Tool { name: "microsocks", packages: &["microsocks"], ask: &["-h"], answer: "SOCKS5", ..PLAIN },
    Tool { name: "nft", packages: &["nftables"], answer: "nftables v", ..PLAIN },
    Tool { name: "nginx", packages: &["nginx"], ask: &["-v"], answer: "nginx version", ..PLAIN },
    Tool {
        name: "node",
        packages: &["nodejs"],
        ask: NODE_ASK,
        answer: "all there",
        real: Some(&["-p", "process.execPath"]),
        files: Files::Share,
    },
    Tool { name: "prometheus", packages: &["prometheus"], answer: "prometheus, version", ..PLAIN },
    Tool { name: "promtool", packages: &["prometheus"], answer: "promtool, version", ..PLAIN },
    Tool {
        name: "python3",
        packages: &["python3", "python3-prometheus-client"],
        ask: PYTHON_ASK,
        answer: "all there",
        real: Some(&["-c", "import sys; print(sys.executable)"]),
        files: Files::Modules,
    },
    Tool { name: "socat", packages: &["socat"], ask: &["-V"], answer: "socat version", ..PLAIN },
    Tool { name: "squid", packages: &["squid"], ask: &["-v"], answer: "Squid Cache: Version", ..PLAIN },
    Tool {
        name: "systemd-analyze",
        packages: &["systemd"],
        answer: "systemd 2",
        files: Files::Libraries("systemd"),
        ..PLAIN
    },
    Tool { name: "tinyproxy", packages: &["tinyproxy"], ask: &["-v"], answer: "tinyproxy 1", ..PLAIN },
    Tool { name: "wrk", packages: &["wrk"], ask: &["-v"], answer: "Will Glozer", ..PLAIN },
    Tool {
        name: "xdp-filter",
        packages: &["xdp-tools"],
        ask: &["help"],
        answer: "load xdp-filter",
        files: Files::Variable("LIBXDP_OBJECT_PATH", "bpf"),
        ..PLAIN
    },
];

/// One line of the result.
#[derive(Serialize)]
pub(crate) struct Installed {
    name: &'static str,
    /// `target/setup/tools/NAME`.
    path: PathBuf,
    /// The program behind it; absent when it could not be had.
    program: Option<PathBuf>,
    /// Why it could not be had.
    missing_because: Option<String>,
}

/// Makes every program available. One that cannot be had is reported, and the tests that use it say so when
/// they skip; it does not stop the others.
pub(crate) fn ensure(workspace: &Workspace, store: &mut Store) -> Result<Vec<Installed>> {
    let folder = workspace.tools();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut installed = Vec::new();
    for tool in &TOOLS {
        let path = folder.join(tool.name);
        let (program, missing_because) = match one(tool, &path, workspace, store) {
            Ok(program) => (Some(program), None),
            Err(error) => {
                eprintln!("setup: warning: {} is not available: {error:#}", tool.name);
                let packages = tool.packages.join(" ");
                eprintln!("setup: tests that use it will skip; `sudo apt-get install {packages}` gives it too");
                (None, Some(format!("{error:#}")))
            }
        };
        installed.push(Installed { name: tool.name, path, program, missing_because });
    }
    Ok(installed)
}

/// The program behind the entry, which is made anew unless it works.
fn one(tool: &Tool, path: &Path, workspace: &Workspace, store: &mut Store) -> Result<PathBuf> {
    if runs(tool, path).is_ok() {
        return Ok(fs::read_link(path).or_else(|_| script::program(path)).unwrap_or_else(|_| path.to_owned()));
    }
    let fresh = path.with_extension("new");
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    }
    let working = present(tool, &workspace.setup).find(|program| runs(tool, program).is_ok());
    let program = if let Some(found) = working {
        let program = real(tool, found);
        symlink(&program, &fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
        runs(tool, &fresh).with_context(|| format!("{} does not work", program.display()))?;
        program
    } else {
        let step = Step::begin(format!("unpacking {}", tool.name));
        let count = store.unpack(tool.packages, &step)?;
        let program = start_through_script(tool, &fresh, workspace, store)?;
        step.done(&format!("{count} packages"));
        program
    };
    fs::rename(&fresh, path).with_context(|| format!("cannot rename {}", fresh.display()))?;
    Ok(program)
}

/// The first program that works with what was unpacked. Where only its company was missing, such as a module, apt
/// brought no second copy of the program itself: it is then one of the system's.
fn start_through_script(tool: &Tool, fresh: &Path, workspace: &Workspace, store: &Store) -> Result<PathBuf> {
    let mut failure = None;
    for program in in_root(tool, store).into_iter().chain(present(tool, &workspace.setup)) {
        script::write(fresh, tool.files, &program, store)?;
        match runs(tool, fresh) {
            Ok(()) => return Ok(program),
            Err(error) => failure = failure.or(Some((program, error))),
        }
    }
    let packages = tool.packages.join(" ");
    let Some((program, error)) = failure else { bail!("`{packages}` brought no program {}", tool.name) };
    Err(error).with_context(|| format!("{} does not work with `{packages}` unpacked", program.display()))
}

/// The program in the unpacked tree; `/sbin` and `/bin` are for releases before the merged `/usr`.
fn in_root(tool: &Tool, store: &Store) -> Option<PathBuf> {
    let folders = ["usr/bin", "usr/sbin", "bin", "sbin"];
    folders.map(|folder| store.root().join(folder).join(tool.name)).into_iter().find(|program| program.exists())
}

/// Some programs answer with a non-zero status when asked for help: the words decide.
fn runs(tool: &Tool, program: &Path) -> Result<()> {
    let (_, text) = command::output(Command::new(program).args(tool.ask).env_remove("LD_LIBRARY_PATH"))?;
    if !answered(tool, &text) {
        bail!("asked {:?}, it says: {}", tool.ask, text.lines().last().unwrap_or("nothing"));
    }
    Ok(())
}

fn answered(tool: &Tool, text: &str) -> bool {
    text.contains(tool.answer) && !text.contains("error while loading shared libraries")
}

/// Programs of this name on `PATH` and in the system folders a user's `PATH` may lack.
fn present(tool: &Tool, setup: &Path) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let always = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    let folders: Vec<PathBuf> = env::split_paths(&path)
        .chain(always)
        .filter(|folder| folder.is_absolute() && !folder.starts_with(setup))
        .collect();
    folders.into_iter().map(|folder| folder.join(tool.name)).filter(|program| program.is_file())
}

fn real(tool: &Tool, found: PathBuf) -> PathBuf {
    let ask = |arguments| command::stdout(Command::new(&found).args(arguments)).ok();
    let told = tool.real.and_then(ask).map(|text| PathBuf::from(text.trim()));
    told.filter(|program| program.is_absolute() && runs(tool, program).is_ok()).unwrap_or(found)
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, TOOLS, Tool, answered};

    #[test]
    fn answers() {
        let nginx = Tool { name: "nginx", answer: "nginx version", ..PLAIN };
        let rows = [
            ("works", "nginx version: nginx/1.22.1", true),
            ("library missing", "nginx: error while loading shared libraries: libnginx version.so", false),
            ("something else", "usage: foo", false),
        ];
        for (name, text, expected) in rows {
            assert_eq!(answered(&nginx, text), expected, "{name}");
        }
    }

    #[test]
    fn every_row_is_complete_and_in_order() {
        assert!(TOOLS.is_sorted_by_key(|tool| tool.name));
        for tool in &TOOLS {
            assert!(!tool.packages.is_empty() && !tool.answer.is_empty(), "{}", tool.name);
        }
    }
}
