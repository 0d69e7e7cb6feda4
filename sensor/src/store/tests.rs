//! The store over restarts, damage and refusal.

use std::fs;

use sensor_common::address::Address;
use tempfile::TempDir;

use super::standing::{StandingRow, StandingRows};
use super::writer::{Batch, Wants, Writer};
use super::{FILE, Opened, open};
use crate::engine::network::Network;
use crate::engine::state::{Rows, State};
use crate::engine::time::{Span, Time};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn batch() -> Batch {
    let network = Network { first_seen: Time(5), last_seen: Time(9), sampled: true, suspect: true };
    let mut state = State::default();
    state.meta.calm = Span::seconds(77);
    state.networks = Rows { put: vec![(Address::v4([192, 0, 2, 0]).octets, network)], ..Rows::default() };
    let standing =
        StandingRow { allow: true, address: [1; 16], bits: 128, expires: Some(Time(99)), reason: "office".to_owned() };
    Batch { state, standing: Some(StandingRows { put: vec![standing], gone: Vec::new(), whole: true }), seed: None }
}

async fn written(opened: Opened, batch: Batch) {
    let writer = Writer::start(opened.store.expect("a store"));
    assert_eq!(writer.wants(), Wants::Changes);
    writer.finish(batch).await.expect("the folder can be written");
}

/// Opens a store once the writer's thread has let go of it.
fn reopened(folder: &TempDir) -> Opened {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match open(folder.path()) {
            Ok(opened) => return opened,
            Err(failure) if std::time::Instant::now() > deadline => panic!("{failure}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = folder();
    let opened = open(folder.path()).expect("nobody else has it");
    assert_eq!(opened.warnings, [""; 0]);
    let seed = opened.stored.seed;
    assert_ne!(seed, 0);
    written(opened, batch()).await;
    let again = reopened(&folder);
    assert_eq!(again.stored.seed, seed, "the seed is made once");
    assert_eq!(again.stored.state.meta.calm, Span::seconds(77));
    assert_eq!(again.stored.state.networks.put, batch().state.networks.put);
    assert_eq!(Some(again.stored.standing), batch().standing.map(|rows| rows.put));
}

#[tokio::test]
async fn changed_rows_replace_and_delete_and_whole_tables_clear() {
    let folder = folder();
    written(open(folder.path()).expect("fresh"), batch()).await;
    let mut change = Batch::default();
    change.state.networks.gone.push(Address::v4([192, 0, 2, 0]).octets);
    written(reopened(&folder), change).await;
    let opened = reopened(&folder);
    assert!(opened.stored.state.networks.put.is_empty(), "deleted");
    assert_eq!(opened.stored.standing.len(), 1, "not touched by a batch that does not name it");
    let mut whole = batch();
    whole.state.networks.whole = true;
    whole.state.networks.put[0].0 = [7; 16];
    written(opened, whole).await;
    let keys: Vec<_> = reopened(&folder).stored.state.networks.put.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [[7; 16]]);
}

#[test]
fn a_damaged_store_is_moved_aside_and_the_start_goes_on() {
    for (description, content) in [
        ("rubbish", b"not a database".repeat(1000)),
        ("empty magic", vec![0; 8192]),
        ("cut short", Vec::from(*b"redb")),
    ] {
        let folder = folder();
        let path = folder.path().join(FILE);
        fs::write(&path, &content).expect("written");
        let opened = open(folder.path()).expect("the start goes on");
        assert!(opened.store.is_some(), "{description}: a fresh store is in its place");
        let aside: Vec<_> = fs::read_dir(folder.path())
            .expect("readable")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.to_string_lossy().contains(".damaged-"))
            .collect();
        assert_eq!(aside.len(), 1, "{description}");
        assert_eq!(fs::read(&aside[0]).expect("readable"), content, "{description}: kept as it was");
        assert!(opened.warnings[0].contains("moved to"), "{description}: {:?}", opened.warnings);
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_found_too() {
    let folder = folder();
    written(open(folder.path()).expect("fresh"), batch()).await;
    drop(reopened(&folder));
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).expect("readable");
    let end = bytes.len();
    bytes[4096..end].fill(0xa5);
    fs::write(&path, bytes).expect("written");
    let opened = open(folder.path()).expect("the start goes on");
    assert!(opened.warnings.iter().any(|warning| warning.contains("moved to")), "{:?}", opened.warnings);
}

#[test]
fn a_store_in_use_is_left_alone() {
    let folder = folder();
    let _held = open(folder.path()).expect("fresh");
    let failure = open(folder.path()).expect_err("somebody has it");
    assert_eq!(failure.code, crate::exit::Code::Busy);
}

#[test]
fn without_a_folder_the_daemon_goes_on_and_says_so() {
    let folder = folder();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").expect("written");
    let opened = open(&blocked.join("state")).expect("the start goes on");
    assert!(opened.store.is_none());
    assert_ne!(opened.stored.seed, 0);
    assert!(opened.warnings.iter().any(|warning| warning.contains("nothing will be kept")), "{:?}", opened.warnings);
}
