//! The shipped sensor under more than is usual: rules by the hundred thousand beside traffic, and two CPUs at one place
//! at once. What is real stays exact; what is lost is counted by name.

mod race;
mod rule;

use std::collections::BTreeMap;
use std::net::IpAddr;

use sensor::control::protocol::Source;
use sensor_common::address::Address;
use sensor_tests::flood::{Figures, Site};

/// The CPU that frames are sent from, and with them received on.
const GUN: usize = 0;

/// The sources with the most packets, by address, as the command line shows them.
fn sources(site: &Site, limit: usize) -> BTreeMap<Address, Source> {
    let answer = site.live.ask(&["sources", "--sort", "packets", "--limit", &limit.min(10_000).to_string()]);
    let answer = answer.expect("the sensor answers");
    let sources: Vec<Source> = serde_json::from_value(answer["sources"].clone()).expect("a list of sources");
    let address = |source: &Source| -> Address {
        let text = source.source.split('/').next().unwrap_or_default();
        Address::from(text.parse::<IpAddr>().expect("a source is a prefix")).source()
    };
    sources.into_iter().map(|source| (address(&source), source)).collect()
}

/// Fails unless these are all the kinds of loss that moved.
#[track_caller]
fn expect_losses(moved: &Figures, kinds: &[&str]) {
    let losses = moved.losses();
    assert!(losses.keys().all(|kind| kinds.contains(kind)), "{losses:?}, expected only {kinds:?}");
}
