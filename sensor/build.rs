//! Builds the eBPF object and embeds it in the `sensor` binary.
//!
//! The BPF toolchain is the one `cargo xtask setup` recorded in `target/setup/bpf-toolchain.json`. Nothing is
//! installed or looked for here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where `cargo xtask setup` leaves its findings, relative to the workspace.
const TOOLCHAIN: &str = "target/setup/bpf-toolchain.json";
const TARGET: &str = "bpfel-unknown-none";
const CRATE: &str = "sensor-ebpf";

/// Variables of the outer build that would leak into the inner one.
const OUTER: &[&str] = &[
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTUP_TOOLCHAIN",
    "CLIPPY_ARGS",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_UNSTABLE_BUILD_STD",
    "CARGO_PRIMARY_PACKAGE",
];

/// What `cargo xtask setup` found.
struct Toolchain {
    rustc: String,
    bpf_linker: String,
    library_path: String,
    build_std: bool,
}

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = manifest.parent().expect("the crate lies in the workspace");
    for watched in [TOOLCHAIN, "Cargo.toml", "sensor-ebpf", "sensor-common"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    objects(workspace, CRATE, &[(CRATE, &out.join("sensor.bpf.o"))]);
}

/// Builds a kernel crate and copies its programs, each to where it is wanted; a failure is cargo's to report.
pub(crate) fn objects(workspace: &Path, package: &str, wanted: &[(&str, &Path)]) {
    let copy = |folder: PathBuf| {
        wanted.iter().try_for_each(|(program, place)| {
            let object = folder.join(program);
            std::fs::copy(&object, place)
                .map(|_| ())
                .map_err(|error| format!("{} could not be copied: {error}", object.display()))
        })
    };
    let toolchain = read(&workspace.join(TOOLCHAIN));
    if let Err(error) = toolchain.and_then(|toolchain| build(workspace, package, &toolchain)).and_then(copy) {
        for line in error.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn read(path: &Path) -> Result<Toolchain, String> {
    let advice = "run `cargo xtask setup`: it finds or installs the BPF toolchain";
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("no BPF toolchain: {}: {error}\n{advice}", path.display()))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is not valid: {error}\n{advice}", path.display()))?;
    let text = |key: &str| {
        value[key].as_str().map(str::to_owned).ok_or_else(|| format!("{} lacks `{key}`\n{advice}", path.display()))
    };
    let toolchain = Toolchain {
        rustc: text("rustc")?,
        bpf_linker: text("bpf_linker")?,
        library_path: text("library_path").unwrap_or_default(),
        build_std: value["build_std"].as_bool().unwrap_or(false),
    };
    for tool in [&toolchain.rustc, &toolchain.bpf_linker] {
        if !Path::new(tool).exists() {
            return Err(format!("the BPF toolchain is gone: {tool} does not exist\n{advice}"));
        }
    }
    Ok(toolchain)
}

/// The folder with the built programs.
fn build(workspace: &Path, package: &str, toolchain: &Toolchain) -> Result<PathBuf, String> {
    // One folder for all profiles of the daemon: the object is the same in each.
    let target = workspace.join("target/bpf");
    let flags = [
        format!("-Clinker={}", toolchain.bpf_linker),
        "-Clink-arg=--btf".to_owned(),
        // Headers lie at odd offsets: without this every word of them is read byte by byte.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        "-Cdebuginfo=2".to_owned(),
    ];
    let mut command = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    command.current_dir(workspace).args([
        "build",
        "--release",
        "--package",
        package,
        "--target",
        TARGET,
        "--target-dir",
    ]);
    command.arg(&target);
    if toolchain.build_std {
        command.arg("-Zbuild-std=core");
    }
    for name in OUTER {
        command.env_remove(name);
    }
    command
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // The linker sees one module anyway, and thin objects would hide it from the linker.
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    if !toolchain.library_path.is_empty() {
        command.env("LD_LIBRARY_PATH", &toolchain.library_path);
    }
    let output = command.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the eBPF object could not be built ({}):\n{text}", output.status));
    }
    Ok(target.join(TARGET).join("release"))
}
