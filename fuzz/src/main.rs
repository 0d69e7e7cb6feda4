//! The fuzzer's runner: libFuzzer over the target that `SENSOR_FUZZ_TARGET` names. Started by `cargo xtask fuzz`.

#![no_main]

use std::sync::OnceLock;

use sensor_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var("SENSOR_FUZZ_TARGET").unwrap_or_default();
    sensor_fuzz::TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = sensor_fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("SENSOR_FUZZ_TARGET is {name:?}; there are {}", names.join(", "))
    })
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (TARGET.get_or_init(chosen).run)(input);
});
