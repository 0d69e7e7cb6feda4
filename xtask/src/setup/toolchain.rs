//! The record of the BPF toolchain, `target/setup/bpf-toolchain.json`, which `sensor/build.rs` reads.
//! Changing a field here means changing that reader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::command;

/// Where the compiler came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Debian packages in `target/setup/root`.
    DebianUnpacked,
    /// Debian packages installed on the system.
    DebianSystem,
    /// rustup's nightly with rust-src; the core library is built with the program.
    RustupNightly,
}

/// All that is needed to compile for `bpfel-unknown-none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Toolchain {
    pub(crate) kind: Kind,
    /// Absolute path of the compiler.
    pub(crate) rustc: PathBuf,
    /// Absolute path of the linker.
    pub(crate) bpf_linker: PathBuf,
    /// `LD_LIBRARY_PATH` for both, empty when not needed.
    pub(crate) library_path: String,
    /// Whether cargo must build the core library (`-Z build-std=core`).
    pub(crate) build_std: bool,
    pub(crate) versions: Versions,
}

/// What the programs say about themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) rustc: String,
    pub(crate) llvm: String,
    pub(crate) bpf_linker: String,
}

/// A compiler's answer to `-vV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompilerVersion {
    /// First line, such as `rustc 1.96.0 (ac68faa20 2026-05-25)`.
    pub(crate) rustc: String,
    /// Such as `22.1.8`.
    pub(crate) llvm: String,
    /// Such as 22.
    pub(crate) llvm_major: u32,
}

impl Toolchain {
    fn path(setup: &Path) -> PathBuf {
        setup.join("bpf-toolchain.json")
    }

    /// The recorded toolchain, if there is one and both programs still answer as recorded.
    pub(crate) fn load_working(setup: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(setup)).ok()?;
        let recorded: Self = serde_json::from_str(&text).ok()?;
        let compiler = compiler_version(&recorded.rustc, &recorded.library_path).ok()?;
        let linker = linker_version(&recorded.bpf_linker, &recorded.library_path).ok()?;
        let same = compiler.rustc == recorded.versions.rustc
            && compiler.llvm == recorded.versions.llvm
            && linker == recorded.versions.bpf_linker;
        same.then_some(recorded)
    }

    /// Records the toolchain; a reader sees the old file or the new one, never a part.
    pub(crate) fn save(&self, setup: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write the toolchain as JSON")?;
        let fresh = setup.join("bpf-toolchain.json.new");
        fs::write(&fresh, text + "\n")
            .and_then(|()| fs::rename(&fresh, Self::path(setup)))
            .with_context(|| format!("cannot write {}", Self::path(setup).display()))
    }
}

/// Asks a compiler for its version and that of its LLVM.
pub(crate) fn compiler_version(rustc: &Path, library_path: &str) -> Result<CompilerVersion> {
    let text = command::stdout(with_libraries(&mut Command::new(rustc), library_path).arg("-vV"))?;
    parse_compiler_version(&text).with_context(|| format!("{} gave no LLVM version:\n{text}", rustc.display()))
}

/// Asks a linker for its version line.
pub(crate) fn linker_version(linker: &Path, library_path: &str) -> Result<String> {
    let text = command::stdout(with_libraries(&mut Command::new(linker), library_path).arg("--version"))?;
    Ok(text.trim().to_owned())
}

/// Sets `LD_LIBRARY_PATH`, or clears what `cargo run` left there.
pub(crate) fn with_libraries<'a>(command: &'a mut Command, library_path: &str) -> &'a mut Command {
    if library_path.is_empty() {
        command.env_remove("LD_LIBRARY_PATH")
    } else {
        command.env("LD_LIBRARY_PATH", library_path)
    }
}

fn parse_compiler_version(text: &str) -> Option<CompilerVersion> {
    let rustc = text.lines().next()?.trim().to_owned();
    let llvm = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.trim().to_owned();
    let llvm_major = llvm.split('.').next()?.parse().ok()?;
    Some(CompilerVersion { rustc, llvm, llvm_major })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Toolchain, Versions, parse_compiler_version};
    use std::fs;

    #[test]
    fn compiler_versions() {
        let rows = [
            (
                "debian",
                "rustc 1.96.0 (ac6 2026-05-25) (built from a source tarball)\nhost: x\nLLVM version: 22.1.8\n",
                Some(22),
            ),
            ("nightly", "rustc 1.97.0-nightly (e50 2026-05-19)\nLLVM version: 22.1.4", Some(22)),
            ("another back end", "rustc 1.97.0\nhost: x\n", None),
            ("nothing", "", None),
        ];
        for (name, text, major) in rows {
            assert_eq!(parse_compiler_version(text).map(|version| version.llvm_major), major, "{name}");
        }
    }

    #[test]
    fn a_record_of_programs_that_are_gone_is_not_trusted() {
        let setup = tempfile::tempdir().expect("a temporary folder");
        let versions = Versions { rustc: "rustc 1".into(), llvm: "22".into(), bpf_linker: "bpf-linker 0".into() };
        let record = Toolchain {
            kind: Kind::DebianUnpacked,
            rustc: setup.path().join("rustc"),
            bpf_linker: setup.path().join("bpf-linker"),
            library_path: String::new(),
            build_std: false,
            versions,
        };
        record.save(setup.path()).expect("it is written");
        let text = fs::read_to_string(setup.path().join("bpf-toolchain.json")).expect("it is there");
        assert!(text.contains(r#""kind": "debian-unpacked""#), "{text}");
        assert_eq!(Toolchain::load_working(setup.path()), None);
    }
}
