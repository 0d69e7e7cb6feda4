//! `sensor replay`: every form of capture gives the same evidence, broken ones end with a clear error, and what the
//! host makes of a capture is what the kernel makes of it.

mod broken;
mod form;
mod kernel;
mod write;

use std::path::PathBuf;

use sensor::capture_file::{Broken, Found, Options, Summary, open, replay};
use sensor::evidence::Evidence;
use sensor_tests::executor::SIZES;

/// A capture of this repository, by the number its name begins with.
fn capture(number: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
    let all = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(number));
    all.into_iter().find(is_it).unwrap_or_else(|| panic!("no capture {number}"))
}

/// Its frames: time in nanoseconds since 1970, and bytes from the Ethernet header on.
fn frames(number: &str) -> Vec<(u64, Vec<u8>)> {
    let frames = open(&capture(number)).expect("it opens");
    frames.map(|frame| frame.expect("it is sound")).map(|frame| (frame.at_ns, frame.bytes)).collect()
}

/// What a file gives, as it stands in a temporary folder.
fn given(bytes: &[u8], options: &Options) -> (Vec<Evidence>, Result<Summary, Broken>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("it can be written");
    let mut all = Vec::new();
    let options = &Options { sizes: Some(SIZES), ..options.clone() };
    let summary = replay(file.path(), options, &mut |found| match found {
        Found::Connection { evidence, .. } | Found::Hello { evidence, .. } => all.push(*evidence),
    });
    (all, summary)
}
