//! The small script through which an unpacked program is started: it says where the program finds its libraries and
//! files when it is not where its package wanted it. The program replaces the script, so signals reach it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::setup::debian::Store;

/// How an unpacked program finds files of its own.
#[derive(Clone, Copy)]
pub(super) enum Files {
    /// By its own path, or it has none.
    Itself,
    /// A variable names the folder, which is relative to the library folder of the root.
    Variable(&'static str, &'static str),
    /// It has libraries of its own in this folder, relative to the library folder of the root.
    Libraries(&'static str),
    /// Python's: the program may be the system's, and some modules unpacked.
    Modules,
    /// By paths below `/usr/share` that are compiled in: it gets the unpacked folder there, in a mount namespace of
    /// its own.
    Share,
}

/// Comes before the program in the script, so that it can be read back.
const PROGRAM: &str = "# program: ";

/// Writes the script for `program`.
pub(super) fn write(path: &Path, files: Files, program: &Path, store: &Store) -> Result<()> {
    fs::write(path, text(files, program, store))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The program a script starts.
pub(super) fn program(path: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(PROGRAM));
    line.map(PathBuf::from).with_context(|| format!("{} names no program", path.display()))
}

fn text(files: Files, program: &Path, store: &Store) -> String {
    let word = |path: &Path| quoted(&path.display().to_string());
    let root = store.root();
    let folder = |name: &str| root.join(Store::library_folder()).join(name);
    let mut text = format!("#!/bin/sh\n{PROGRAM}{}\n", program.display());
    // The system's programs have the system's libraries.
    if program.starts_with(&root) {
        let mut libraries = store.library_path();
        if let Files::Libraries(own) = files {
            libraries = format!("{}:{libraries}", folder(own).display());
        }
        text += &format!("export LD_LIBRARY_PATH={}\n", quoted(&libraries));
    }
    let program = word(program);
    text += &match files {
        Files::Itself | Files::Libraries(_) => format!("exec {program} \"$@\"\n"),
        Files::Variable(name, own) => format!("export {name}={}\nexec {program} \"$@\"\n", word(&folder(own))),
        Files::Modules => {
            let modules = word(&root.join("usr/lib/python3/dist-packages"));
            format!("export PYTHONPATH={modules}${{PYTHONPATH:+:$PYTHONPATH}}\nexec {program} \"$@\"\n")
        }
        Files::Share => {
            let share = word(&root.join("usr/share"));
            // As a user, the mount needs a user namespace; root stays root, in whatever network namespace it is.
            format!(
                "map=\n\
                 [ \"$(id -u)\" = 0 ] || map=--map-root-user\n\
                 exec unshare --mount $map sh -c 'mount --bind \"$0\" /usr/share && exec \"$@\"' {share} {program} \"$@\"\n"
            )
        }
    };
    text
}

/// One word for the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Files, program, quoted, text, write};
    use crate::command;
    use crate::setup::debian::Store;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for text in ["/plain", "/with space", "/it's", "/$HOME/`x`\"\\"] {
            let line = format!("printf %s {}", quoted(text));
            assert_eq!(command::stdout(Command::new("sh").args(["-c", &line])).expect("sh runs"), text);
        }
    }

    #[test]
    fn a_script_starts_its_program_and_names_it() {
        let setup = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(setup.path()).expect("it is empty");
        let printenv = Path::new("/usr/bin/printenv");
        let script = setup.path().join("script");
        for (files, variable, ends) in [
            (Files::Variable("SOME_PATH", "own"), "SOME_PATH", "-linux-gnu/own"),
            (Files::Modules, "PYTHONPATH", "python3/dist-packages"),
        ] {
            write(&script, files, printenv, &store).expect("it is written");
            let mut command = Command::new(&script);
            let said = command::stdout(command.arg(variable).env_remove("PYTHONPATH")).expect("it runs");
            assert!(said.trim_end().ends_with(ends) && said.contains("root/usr/lib/"), "{said}");
            assert_eq!(program(&script).expect("it is named"), printenv);
        }
    }

    #[test]
    fn libraries_are_for_unpacked_programs_only() {
        let setup = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(setup.path()).expect("it is empty");
        let unpacked = text(Files::Libraries("own"), &store.root().join("usr/bin/it"), &store);
        let libraries = unpacked.lines().find(|line| line.starts_with("export LD_LIBRARY_PATH="));
        let first = libraries.and_then(|line| line.split(':').next());
        assert!(first.is_some_and(|first| first.ends_with("-linux-gnu/own")), "{unpacked}");
        assert!(!text(Files::Libraries("own"), Path::new("/usr/bin/it"), &store).contains("LD_LIBRARY_PATH"));
    }
}
