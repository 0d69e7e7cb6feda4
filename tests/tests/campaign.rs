//! The main job, with the shipped binary and nothing told to it: a hydra of relays is found and stopped while benign
//! users of several kinds are served; a flash crowd of as many new users with the same software is left alone.

use std::sync::{Mutex, PoisonError};

use sensor_tests::demo::summary::Summary;
use sensor_tests::demo::{DemoOptions, Screen, play};
use sensor_tests::require::{Tier, require, require_program};

/// One lab at a time: starved clients look like distant ones.
static MACHINE: Mutex<()> = Mutex::new(());

fn run(flash_crowd: bool, seed: u64) -> Option<Summary> {
    if !require(Tier::Bpf) || !require(Tier::Net) || !require_program(Tier::Net, "python3") {
        return None;
    }
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = DemoOptions { seed, relays: 150, duration: 80, flash_crowd, ..DemoOptions::default() };
    let summary = play(&options, &mut Screen::silent()).expect("the scenario can be played");
    assert!(summary.passed, "{}", serde_json::to_string_pretty(&summary).expect("plain data"));
    assert_eq!(summary.xdp_mode, "native");
    assert_eq!(summary.line_drops, 0, "the lab was overloaded");
    assert_eq!(summary.packets_counted, summary.packets_sent, "each packet is counted once");
    Some(summary)
}

#[test]
fn a_hydra_is_found_and_stopped_and_nobody_else_is_harmed() {
    let Some(summary) = run(false, 11) else { return };
    assert!(summary.why.iter().any(|why| !why.is_empty()), "an alarm says why");
    assert!(summary.rules.iter().any(|rule| rule.starts_with("class ")), "{:?}", summary.rules);
}

#[test]
fn a_flash_crowd_is_left_alone() {
    let Some(summary) = run(true, 12) else { return };
    assert_eq!(summary.dropped.values().sum::<u64>(), 0, "{:?}", summary.dropped);
}
