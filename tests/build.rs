//! Builds the kernel programs of the benchmark and embeds them in the lab.

use std::env;
use std::path::PathBuf;

#[path = "../sensor/build.rs"]
#[expect(dead_code, reason = "the sensor's build script has a `main` of its own")]
mod kernel;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = manifest.parent().expect("the crate lies in the workspace");
    let watched = [
        "target/setup/bpf-toolchain.json",
        "Cargo.toml",
        "sensor/build.rs",
        "bench-ebpf",
        "sensor-ebpf",
        "sensor-common",
    ];
    for watched in watched {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    let (tools, lru) = (out.join("tools.bpf.o"), out.join("lru.bpf.o"));
    kernel::objects(workspace, "bench-ebpf", &[("bench-tools", &tools), ("bench-lru", &lru)]);
}
