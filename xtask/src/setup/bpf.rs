//! Getting a BPF toolchain: carries out what `choice` decides, proves it, records it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::choice::{Choice, advice, choose};
use super::debian::Store;
use super::findings::{COMPILER_PACKAGES, Machine, look, nightly_rustc};
use super::linker::{self, Llvm};
use super::probe;
use super::toolchain::{Kind, Toolchain, Versions, compiler_version, linker_version};
use crate::command;
use crate::progress::Step;
use crate::workspace::Workspace;

/// The recorded toolchain if it still works, otherwise a new one.
pub(crate) fn ensure(workspace: &Workspace, store: &mut Store) -> Result<Toolchain> {
    if let Some(toolchain) = Toolchain::load_working(&workspace.setup) {
        return Ok(toolchain);
    }
    let step = Step::begin("looking for a BPF toolchain");
    let machine = look(store);
    let choice = choose(&machine.findings);
    step.done(match choice {
        Choice::UseNightly => "rustup's nightly with rust-src, and an LLVM to match",
        Choice::UseSystem => "Debian's rustc-web is installed",
        Choice::Unpack => "Debian's rustc-web can be unpacked",
        Choice::AddRustSrc => "rustup's nightly, rust-src to be added",
        Choice::InstallNightly => "rustup can bring a nightly",
        Choice::Stop => "none, and no way to one from here",
    });
    let (kind, rustc) = match choice {
        Choice::UseNightly => (Kind::RustupNightly, nightly_rustc().context("the nightly compiler is gone")?),
        Choice::UseSystem => (Kind::DebianSystem, PathBuf::from("/usr/bin/rustc")),
        Choice::Unpack => (Kind::DebianUnpacked, unpack_compiler(store)?),
        Choice::AddRustSrc => {
            (Kind::RustupNightly, rustup(&["component", "add", "rust-src", "--toolchain", "nightly"])?)
        }
        Choice::InstallNightly => {
            let install = ["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"];
            (Kind::RustupNightly, rustup(&install)?)
        }
        Choice::Stop => bail!(advice(&machine.findings)),
    };
    let toolchain = complete(workspace, store, &machine, kind, rustc)?;
    probe::check(workspace, &toolchain)?;
    toolchain.save(&workspace.setup)?;
    Ok(toolchain)
}

fn unpack_compiler(store: &mut Store) -> Result<PathBuf> {
    let step = Step::begin("unpacking Debian's compiler for BPF (120 MB to download the first time)");
    let count = store.unpack(&COMPILER_PACKAGES, &step)?;
    step.done(&format!("{count} packages"));
    Ok(store.root().join("usr/bin/rustc"))
}

fn rustup(arguments: &[&str]) -> Result<PathBuf> {
    let step = Step::begin(format!("rustup {}", arguments.join(" ")));
    command::watch(Command::new("rustup").args(arguments), |line| step.detail(line))?;
    step.done("done");
    nightly_rustc().context("rustup reports success but there is no nightly compiler")
}

/// Adds LLVM and linker to a compiler.
fn complete(
    workspace: &Workspace,
    store: &mut Store,
    machine: &Machine,
    kind: Kind,
    rustc: PathBuf,
) -> Result<Toolchain> {
    let compiler_libraries = if kind == Kind::DebianUnpacked { store.library_path() } else { String::new() };
    let compiler = compiler_version(&rustc, &compiler_libraries)?;
    let major = compiler.llvm_major;
    let (prefix, llvm_libraries) = match machine.llvm_prefixes.get(&major) {
        Some(prefix) => (prefix.clone(), String::new()),
        None => unpack_llvm(store, major)?,
    };
    let both = [compiler_libraries, llvm_libraries];
    // The longer one holds the shorter: both come from the same unpacked tree.
    let library_path = both.into_iter().max_by_key(String::len).unwrap_or_default();
    let llvm = Llvm { major, prefix: &prefix, library_path: &library_path };
    let bpf_linker = linker::ensure(workspace, store, &llvm)?;
    let versions = Versions {
        rustc: compiler.rustc,
        llvm: compiler.llvm,
        bpf_linker: linker_version(&bpf_linker, &library_path)?,
    };
    let build_std = kind == Kind::RustupNightly;
    Ok(Toolchain { kind, rustc, bpf_linker, library_path, build_std, versions })
}

fn unpack_llvm(store: &mut Store, major: u32) -> Result<(PathBuf, String)> {
    let step = Step::begin(format!("unpacking Debian's LLVM {major} (120 MB to download the first time)"));
    let versioned = [format!("llvm-{major}-dev"), format!("lld-{major}"), format!("libpolly-{major}-dev")];
    let names: Vec<&str> = versioned.iter().map(String::as_str).chain(["zlib1g-dev", "libzstd-dev"]).collect();
    let count = store.unpack(&names, &step)?;
    let prefix = store.root().join(format!("usr/lib/llvm-{major}"));
    let library_path = format!("{}:{}", store.library_path(), prefix.join("lib").display());
    let header = prefix.join("include/llvm-c/Core.h");
    if !header.exists() {
        bail!("{} is missing after unpacking LLVM {major}; remove target/setup and try again", header.display());
    }
    step.done(&format!("{count} packages"));
    Ok((prefix, library_path))
}
