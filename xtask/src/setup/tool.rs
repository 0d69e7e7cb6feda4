//! The outside programs of tests and demo, gathered in `target/setup/tools`, one name each.
//! What the system has is linked to; what it lacks is unpacked and started through a small script.
//! Every entry has been run once before it gets its name.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::debian::Store;
use crate::command;
use crate::progress::Step;
use crate::workspace::Workspace;

/// One program: where to get it and how to see that it runs.
struct Tool {
    name: &'static str,
    /// Debian package.
    package: &'static str,
    /// Harmless arguments, and words only a working program answers with.
    ask: &'static [&'static str],
    answer: &'static str,
    /// Arguments that print the path of the real program where the one on `PATH` may be a version switcher.
    real: Option<&'static [&'static str]>,
    /// What it needs to find its own files when it is not where its package wanted it.
    files: Files,
}

/// How an unpacked program finds files of its own.
#[derive(Clone, Copy)]
enum Files {
    /// By its own path, or it has none.
    Itself,
    /// A variable names the folder, which is relative to the library folder of the root.
    Variable(&'static str, &'static str),
    /// By paths below `/usr/share` that are compiled in: it gets the unpacked folder there, in a mount namespace of
    /// its own.
    Share,
}

/// A plain program whose name is that of its package.
const PLAIN: Tool = Tool { name: "", package: "", ask: &["--version"], answer: "", real: None, files: Files::Itself };

const PYTHON_ASK: &[&str] =
    &["-c", "import asyncio, http.client, json, socket, ssl, urllib.request; print('all there')"];
const NODE_ASK: &[&str] = &["-e", "require('https'); require('http2'); require('tls'); console.log('all there')"];

const TOOLS: [Tool; 12] = [
    Tool { name: "curl", package: "curl", answer: "libcurl/", ..PLAIN },
    Tool { name: "ethtool", package: "ethtool", answer: "ethtool version", ..PLAIN },
    Tool { name: "ip", package: "iproute2", ask: &["-V"], answer: "iproute2", ..PLAIN },
    Tool { name: "microsocks", package: "microsocks", ask: &["-h"], answer: "SOCKS5", ..PLAIN },
    Tool { name: "nft", package: "nftables", answer: "nftables v", ..PLAIN },
    Tool { name: "nginx", package: "nginx", ask: &["-v"], answer: "nginx version", ..PLAIN },
    Tool {
        name: "node",
        package: "nodejs",

        ask: NODE_ASK,
        answer: "all there",
        real: Some(&["-p", "process.execPath"]),
        files: Files::Share,
    },
    Tool { name: "prometheus", package: "prometheus", answer: "prometheus, version", ..PLAIN },
    Tool { name: "promtool", package: "prometheus", answer: "promtool, version", ..PLAIN },
    Tool {
        name: "python3",
        package: "python3",

        ask: PYTHON_ASK,
        answer: "all there",
        real: Some(&["-c", "import sys; print(sys.executable)"]),
        ..PLAIN
    },
    Tool { name: "tinyproxy", package: "tinyproxy", ask: &["-v"], answer: "tinyproxy 1", ..PLAIN },
    Tool {
        name: "xdp-filter",
        package: "xdp-tools",

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
                eprintln!("setup: tests that use it will skip; `sudo apt-get install {}` gives it too", tool.package);
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
        return fs::read_link(path).or_else(|_| in_root(tool, store));
    }
    let fresh = path.with_extension("new");
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    }
    let program = if let Some(program) = on_system(tool, &workspace.setup) {
        symlink(&program, &fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
        program
    } else {
        let step = Step::begin(format!("unpacking {}", tool.name));
        let count = store.unpack(&[tool.package], &step)?;
        let program = in_root(tool, store)?;
        write_script(&fresh, &script(tool, &program, store))?;
        step.done(&format!("{count} packages"));
        program
    };
    runs(tool, &fresh).with_context(|| format!("{} does not work", program.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("cannot rename {}", fresh.display()))?;
    Ok(program)
}

/// The program in the unpacked tree; `/sbin` and `/bin` are for releases before the merged `/usr`.
fn in_root(tool: &Tool, store: &Store) -> Result<PathBuf> {
    let folders = ["usr/bin", "usr/sbin", "bin", "sbin"];
    let programs = folders.map(|folder| store.root().join(folder).join(tool.name));
    let found = programs.into_iter().find(|program| program.exists());
    found.with_context(|| format!("the package {} brought no program {}", tool.package, tool.name))
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

/// The first working program on `PATH` or in the system folders a user's `PATH` may lack.
fn on_system(tool: &Tool, setup: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let always = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    let folders =
        env::split_paths(&path).chain(always).filter(|folder| folder.is_absolute() && !folder.starts_with(setup));
    folders
        .map(|folder| folder.join(tool.name))
        .find(|program| runs(tool, program).is_ok())
        .map(|found| real(tool, found))
}

fn real(tool: &Tool, found: PathBuf) -> PathBuf {
    let ask = |arguments| command::stdout(Command::new(&found).args(arguments)).ok();
    let told = tool.real.and_then(ask).map(|text| PathBuf::from(text.trim()));
    told.filter(|program| program.is_absolute() && runs(tool, program).is_ok()).unwrap_or(found)
}

fn script(tool: &Tool, program: &Path, store: &Store) -> String {
    let word = |path: &Path| quoted(&path.display().to_string());
    let program = word(program);
    let head = format!("#!/bin/sh\nexport LD_LIBRARY_PATH={}\n", quoted(&store.library_path()));
    match tool.files {
        Files::Itself => format!("{head}exec {program} \"$@\"\n"),
        Files::Variable(name, folder) => {
            let value = word(&store.root().join(Store::library_folder()).join(folder));
            format!("{head}export {name}={value}\nexec {program} \"$@\"\n")
        }
        Files::Share => {
            let share = word(&store.root().join("usr/share"));
            // As a user, the mount needs a user namespace; root stays root, in whatever network namespace it is.
            format!(
                "{head}map=\n\
                 [ \"$(id -u)\" = 0 ] || map=--map-root-user\n\
                 exec unshare --mount $map sh -c 'mount --bind \"$0\" /usr/share && exec \"$@\"' {share} {program} \"$@\"\n"
            )
        }
    }
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// One word for the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, TOOLS, Tool, answered, quoted};
    use crate::command;
    use std::process::Command;

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
            assert!(!tool.package.is_empty() && !tool.answer.is_empty(), "{}", tool.name);
        }
    }

    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for text in ["/plain", "/with space", "/it's", "/$HOME/`x`\"\\"] {
            let line = format!("printf %s {}", quoted(text));
            assert_eq!(command::stdout(Command::new("sh").args(["-c", &line])).expect("sh runs"), text);
        }
    }
}
