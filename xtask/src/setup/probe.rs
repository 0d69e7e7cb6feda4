//! The proof that a toolchain works: a BPF program small enough to build in a second, built like the real one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::findings::TARGET;
use super::toolchain::{Toolchain, with_libraries};
use crate::command;
use crate::progress::Step;
use crate::workspace::Workspace;

const MANIFEST: &str = r#"[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[workspace]

[profile.release]
debug = 2
codegen-units = 1
panic = "abort"
"#;

const PROGRAM: &str = r##"#![no_std]
#![no_main]

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn probe(context: *const u32) -> u32 {
    // Calls into the core library, so that a missing or foreign one shows.
    if core::hint::black_box(context).is_null() { 1 } else { 2_u32.leading_zeros().min(2) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
"##;

/// Builds the program with exactly the recorded fields.
///
/// # Errors
/// The compiler or linker fails, or the object is not for the BPF machine.
pub(crate) fn check(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let step = Step::begin("checking the BPF toolchain with a small program");
    let folder = workspace.setup.join("tmp/probe");
    fs::create_dir_all(folder.join("src"))
        .and_then(|()| fs::write(folder.join("Cargo.toml"), MANIFEST))
        .and_then(|()| fs::write(folder.join("src/main.rs"), PROGRAM))
        .with_context(|| format!("cannot write a test program in {}", folder.display()))?;
    compile(workspace, toolchain, &folder)?;
    let object = folder.join("target").join(TARGET).join("release/probe");
    let bytes = fs::read(&object).with_context(|| format!("no object at {}", object.display()))?;
    if !is_bpf(&bytes) {
        bail!("{} made something that is not a BPF object", toolchain.bpf_linker.display());
    }
    step.done("works");
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

fn compile(workspace: &Workspace, toolchain: &Toolchain, folder: &Path) -> Result<()> {
    let flags = [
        format!("-Clinker={}", toolchain.bpf_linker.display()),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
    ];
    let mut cargo = workspace.cargo();
    with_libraries(&mut cargo, &toolchain.library_path)
        .current_dir(folder)
        .args(["build", "--release", "--offline", "--target", TARGET])
        .args(toolchain.build_std.then_some("-Zbuild-std=core"))
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTFLAGS");
    command::watch(&mut cargo, |_| {})
        .with_context(|| format!("{} cannot compile for {TARGET}", toolchain.rustc.display()))
}

/// A 64-bit little-endian ELF file for machine 247 (`EM_BPF`, elf.h).
fn is_bpf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF\x02\x01") && bytes.get(18..20) == Some(&[247, 0])
}

#[cfg(test)]
mod tests {
    use super::is_bpf;

    #[test]
    fn objects() {
        let mut bpf = b"\x7fELF\x02\x01\x01".to_vec();
        bpf.resize(18, 0);
        bpf.extend([247, 0]);
        let mut host = bpf.clone();
        host[18] = 62;
        let rows = [("bpf", bpf.clone(), true), ("host", host, false), ("cut", bpf[..19].to_vec(), false)];
        for (name, bytes, expected) in rows {
            assert_eq!(is_bpf(&bytes), expected, "{name}");
        }
    }
}
