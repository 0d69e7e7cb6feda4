//! The fuzzer's corpus, and every input that once broke a target: none breaks one now.

use std::path::{Path, PathBuf};

use sensor_fuzz::{TARGETS, corpus};

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    all.sort();
    all
}

#[test]
fn corpus_and_regressions() {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for target in TARGETS {
        let seeds = inputs(&corpus(target.name));
        assert!(seeds.len() >= 2, "{} has {} inputs to begin with", target.name, seeds.len());
        for path in seeds.iter().chain(&inputs(&regressions.join(target.name))) {
            let input = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(input.len() <= target.most_bytes.max(16_384), "{} is too long", path.display());
            println!("{}", path.display());
            (target.run)(&input);
        }
    }
}

#[test]
fn every_folder_belongs_to_a_target() {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let all = corpus("");
    for folder in inputs(&all).into_iter().chain(inputs(&regressions)).filter(|path| path.is_dir()) {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|target| target.name == name), "{} is no target's", folder.display());
    }
}
