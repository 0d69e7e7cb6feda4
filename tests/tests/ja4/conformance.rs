//! Published expectations, where the folder with other projects' captures lies beside the checkout: JA4 of TLS, QUIC
//! and DTLS clients as Arkime, Suricata and huginn-net give them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sensor::capture_file::{Found, Options, replay};

const FOLDER: &str = "../shared/data/ja4-conformance";

fn folder() -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    // A checkout may be a worktree, one level deeper.
    let places = [checkout.join(FOLDER), checkout.join("..").join(FOLDER)];
    let found = places.into_iter().find(|place| place.is_dir());
    if found.is_none() {
        println!("SKIP conformance: {FOLDER} is not there");
    }
    found
}

/// Client port, JA4 and its unhashed form of every hello in a capture.
fn names(path: &Path) -> Vec<(u16, String, String)> {
    let mut names = Vec::new();
    let mut take = |found: Found| match found {
        Found::Connection { key, ja4: Some(ja4), .. } | Found::Hello { key, ja4, .. } => {
            names.push((key.client_port, ja4.to_string(), ja4.raw()));
        }
        Found::Connection { ja4: None, .. } => {}
    };
    let summary = replay(path, &Options::default(), &mut take).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(summary.class_conflicts, 0, "{}", path.display());
    names
}

/// Rows of a table by column; a comma inside quotes belongs to its cell.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cells = |line: &str| -> Vec<String> {
        let mut quoted = false;
        let parts = line.split(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        parts.map(|cell| cell.trim_matches('"').to_owned()).collect()
    };
    let mut lines = text.lines();
    let names = cells(lines.next().expect("a header"));
    lines.map(|line| names.iter().cloned().zip(cells(line)).collect()).collect()
}

#[test]
fn every_published_expectation_comes_out() {
    let Some(folder) = folder() else { return };
    let (mut passed, mut total) = (0, 0);
    for row in rows(&folder.join("expected_ja4_arkime.csv")) {
        let found = names(&folder.join("pcap").join(&row["pcap"]));
        let port: u16 = row["src_port"].parse().expect("a port");
        total += 1;
        let expected = (port, row["ja4"].clone(), row["ja4_r"].clone());
        assert!(found.contains(&expected), "{}: {expected:?} is not in {found:?}", row["pcap"]);
        passed += 1;
    }
    for row in rows(&folder.join("expected_ja4_other.csv")) {
        let found = names(&folder.join("pcap").join(&row["pcap"]));
        total += 1;
        let times = found.iter().filter(|(_, ja4, _)| *ja4 == row["ja4"]).count();
        assert_eq!(times.to_string(), row["event_count"], "{}: {found:?}", row["pcap"]);
        passed += 1;
    }
    println!("{passed} of {total} expectations");
    assert!(total >= 30, "{total} expectations: the tables were not read");
}
