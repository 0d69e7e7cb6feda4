//! Looking at the machine for compilers and LLVM; reads only.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::choice::{Findings, Nightly};
use super::debian::Store;
use super::toolchain::{CompilerVersion, compiler_version};
use crate::command;

/// The target of the kernel program.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// Debian's compiler and its prebuilt core library for the target.
pub(crate) const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// Facts with the paths behind them.
pub(crate) struct Machine {
    pub(crate) findings: Findings,
    pub(crate) llvm_prefixes: BTreeMap<u32, PathBuf>,
}

/// Looks at everything.
pub(crate) fn look(store: &mut Store) -> Machine {
    let llvm_prefixes = llvm_prefixes();
    let system = PathBuf::from("/usr/bin/rustc");
    let system = has_core(Path::new("/usr")).then(|| compiler_version(&system, "").ok()).flatten();
    let findings = Findings {
        nightly: nightly(),
        llvm_majors: llvm_prefixes.keys().copied().collect(),
        system_llvm_major: system.map(|version| version.llvm_major),
        debian_packages: store.offers(&COMPILER_PACKAGES),
        rustup: rustup(&["--version"]).is_some(),
    };
    Machine { findings, llvm_prefixes }
}

/// Whether the compiler under this prefix has a prebuilt core library for the target.
pub(crate) fn has_core(prefix: &Path) -> bool {
    let folder = prefix.join("lib/rustlib").join(TARGET).join("lib");
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_core)))
    })
}

/// The nightly compiler itself, not rustup's proxy.
pub(crate) fn nightly_rustc() -> Option<PathBuf> {
    let sysroot = rustup(&["run", "nightly", "rustc", "--print", "sysroot"])?;
    Some(Path::new(sysroot.trim()).join("bin/rustc")).filter(|rustc| rustc.exists())
}

fn nightly() -> Option<Nightly> {
    let rustc = nightly_rustc()?;
    let CompilerVersion { llvm_major, .. } = compiler_version(&rustc, "").ok()?;
    let sysroot = rustc.parent()?.parent()?;
    let rust_src = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists();
    Some(Nightly { llvm_major, rust_src })
}

/// Runs rustup; a missing toolchain must not make it download one.
fn rustup(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("rustup");
    command
        .args(arguments)
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("RUSTUP_TOOLCHAIN");
    command::stdout(&mut command).ok()
}

/// LLVM development files on the system, by major version; `LLVM_PREFIX` wins over the usual places.
fn llvm_prefixes() -> BTreeMap<u32, PathBuf> {
    let versioned = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let versioned =
        versioned.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm")));
    let candidates = [PathBuf::from("/usr"), PathBuf::from("/usr/local")].into_iter().chain(versioned);
    candidates.chain(env::var_os("LLVM_PREFIX").map(PathBuf::from)).filter_map(|p| Some((llvm_major(&p)?, p))).collect()
}

/// Major version of the LLVM under a prefix, if what the linker's build needs is there.
fn llvm_major(prefix: &Path) -> Option<u32> {
    let config = prefix.join("bin/llvm-config");
    let text = command::stdout(Command::new(config).arg("--version").env_remove("LD_LIBRARY_PATH")).ok()?;
    let headers = command::stdout(Command::new(prefix.join("bin/llvm-config")).arg("--includedir")).ok()?;
    Path::new(headers.trim()).join("llvm-c/Core.h").exists().then(|| text.split('.').next()?.parse().ok())?
}
