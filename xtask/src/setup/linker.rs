//! bpf-linker, built once for the LLVM of the chosen compiler, into `target/setup/bin`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::choice::LINKER_LLVM_MAJORS;
use super::debian::Store;
use super::toolchain::{linker_version, with_libraries};
use crate::command;
use crate::progress::Step;
use crate::workspace::Workspace;

/// The version everything was measured with.
const VERSION: &str = "0.13.0";

/// The LLVM to build against.
pub(crate) struct Llvm<'a> {
    pub(crate) major: u32,
    pub(crate) prefix: &'a Path,
    /// `LD_LIBRARY_PATH` it needs, empty when none.
    pub(crate) library_path: &'a str,
}

/// The linker's path; builds it unless the one there was made for the same LLVM and still runs.
pub(crate) fn ensure(workspace: &Workspace, store: &Store, llvm: &Llvm<'_>) -> Result<PathBuf> {
    let linker = workspace.setup.join("bin/bpf-linker");
    let mark = workspace.setup.join(format!("bin/.bpf-linker-{VERSION}-llvm-{}", llvm.major));
    let answers = || linker_version(&linker, llvm.library_path).is_ok_and(|text| text.ends_with(VERSION));
    if mark.exists() && answers() {
        return Ok(linker);
    }
    if !LINKER_LLVM_MAJORS.contains(&llvm.major) {
        bail!(
            "the compiler found is built on LLVM {}, and bpf-linker {VERSION} knows only {LINKER_LLVM_MAJORS:?}: on \
             Debian 12, enable the suite bookworm-security in /etc/apt/sources.list and run `cargo xtask setup` again",
            llvm.major
        );
    }
    let step = Step::begin(format!("building bpf-linker {VERSION} for LLVM {} (about a minute)", llvm.major));
    build(workspace, store, llvm, &step)?;
    if !answers() {
        bail!("{} was built but does not run; remove target/setup/bin and try again", linker.display());
    }
    fs::write(&mark, "").with_context(|| format!("cannot write {}", mark.display()))?;
    step.done(&linker.display().to_string());
    Ok(linker)
}

fn build(workspace: &Workspace, store: &Store, llvm: &Llvm<'_>, step: &Step) -> Result<()> {
    let scratch = workspace.setup.join("tmp/linker");
    let libraries = [llvm.prefix.join("lib"), store.root().join(Store::library_folder())];
    let flags = libraries.map(|folder| format!("-Lnative={}", folder.display())).join("\u{1f}");
    let mut cargo = workspace.cargo();
    with_libraries(&mut cargo, llvm.library_path)
        .args(["install", "bpf-linker", "--version", VERSION, "--force", "--no-default-features", "--features"])
        .arg(format!("llvm-{}", llvm.major))
        .arg("--root")
        .arg(&workspace.setup)
        .env("CARGO_TARGET_DIR", &scratch)
        .env("LLVM_PREFIX", llvm.prefix)
        // Separated by a byte no path holds, so that a checkout with spaces in its path works.
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTC")
        .env_remove("RUSTFLAGS");
    command::watch(&mut cargo, |line| step.detail(line.trim())).context(
        "cannot build bpf-linker: it needs a C compiler (Debian: `sudo apt-get install gcc libc6-dev`) and crates.io",
    )?;
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))
}
