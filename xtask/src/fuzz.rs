//! `cargo xtask fuzz`: runs every target of `fuzz/` for a bounded time, on the stable compiler.
//!
//! Coverage comes from LLVM's sanitizer pass, which the compiler takes as a code-generation option, and the search from
//! libFuzzer; overflow and debug assertions are on. What breaks a target is kept in `tests/regressions` and run by the
//! ordinary tests from then on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// Options of the compiler that make code report what it covers and compares.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg=fuzzing",
];
/// The longest that one input may take, seconds.
const INPUT_S: u32 = 10;
/// The most memory that a target may take, MiB.
const MEMORY_MIB: u32 = 2_048;

/// Fuzz everything that reads hostile bytes, for a bounded time
#[derive(clap::Args)]
#[command(
    long_about = "Fuzzes everything that reads hostile bytes, each target for a bounded time; needs a C++ compiler for \
        libFuzzer.\nInputs found on the way are kept in target/fuzz; one that breaks a target goes to tests/regressions, \
        where `cargo xtask test` runs it again.",
    after_help = "Examples:\n  cargo xtask fuzz --seconds 60\n  cargo xtask fuzz --target stream --target frames --seconds 3600"
)]
pub(crate) struct Args {
    /// Time for each target
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only this target; may be repeated
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    setup::ensure(&workspace)?;
    let names = chosen(&workspace.root, &args.targets)?;
    eprintln!("fuzz: building the targets");
    let program = build(&workspace)?;
    let mut broken = Vec::new();
    for name in &names {
        let (passed, line) = target(&workspace.root, &program, name, args.seconds)?;
        println!("{name:<14} {line}");
        broken.extend((!passed).then_some(name));
    }
    if broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "fuzz: what broke a target is in tests/regressions; mend it, give the file the name of its cause, commit both"
    );
    Ok(ExitCode::FAILURE)
}

/// The targets that are wanted: each has a folder in the corpus.
fn chosen(root: &Path, wanted: &[String]) -> Result<BTreeSet<String>> {
    let corpus = root.join("fuzz/corpus");
    let entries = fs::read_dir(&corpus).with_context(|| format!("cannot list {}", corpus.display()))?;
    let known: BTreeSet<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    if let Some(stranger) = wanted.iter().find(|name| !known.contains(*name)) {
        bail!("no target {stranger:?}; there are: {}", known.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(if wanted.is_empty() { known } else { wanted.iter().cloned().collect() })
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    if command::output(Command::new("c++").arg("--version")).is_err() {
        bail!("libFuzzer is built by a C++ compiler, and there is no `c++`: install g++ or clang");
    }
    let host = host()?;
    let target = workspace.root.join("target/fuzz-build");
    let mut cargo = workspace.cargo();
    // A target of its own, so that build scripts are not instrumented.
    cargo
        .args(["build", "--release", "--package", "sensor-fuzz", "--features", "libfuzzer", "--target", &host])
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    command::watch(&mut cargo, |_| {})?;
    Ok(target.join(host).join("release/sensor-fuzz"))
}

/// The compiler's own platform.
fn host() -> Result<String> {
    let text = command::stdout(Command::new("rustc").arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("`rustc -vV` does not name its host")
}

/// Fuzzes one target; whether nothing broke, and what to say.
fn target(root: &Path, program: &Path, name: &str, seconds: u32) -> Result<(bool, String)> {
    let found = root.join("target/fuzz").join(name);
    let regressions = root.join("tests/regressions").join(name);
    for folder in [&found, &regressions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let before = files(&regressions)?;
    let mut fuzzer = Command::new(program);
    fuzzer
        .env("SENSOR_FUZZ_TARGET", name)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_S}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", regressions.display()))
        .args(["-print_final_stats=1", "-use_value_profile=1", "-max_len=16384"])
        .arg(&found)
        .arg(root.join("fuzz/corpus").join(name))
        .arg(&regressions);
    let (mut covered, mut runs, mut last) = (String::new(), String::new(), Vec::new());
    let passed = command::lines(&mut fuzzer, |line| {
        if let Some((_, rest)) = line.split_once(" cov: ") {
            covered = rest.split_whitespace().next().unwrap_or_default().to_owned();
        }
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            runs = count.trim().to_owned();
        }
        if line.contains("panicked at") || line.contains("ERROR: libFuzzer") {
            last.push(line.to_owned());
        }
    })?;
    let fresh: Vec<String> = files(&regressions)?.difference(&before).cloned().collect();
    // An empty folder is no regression.
    let _ = fs::remove_dir(&regressions);
    if passed {
        return Ok((true, format!("{runs} runs, {covered} places covered, nothing broke")));
    }
    Ok((false, format!("BROKEN {}: {}", fresh.join(", "), last.join("; "))))
}

fn files(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}
