//! Changes in the running daemon: tunables at once and on both sides of the kernel boundary, the configuration by SIGHUP.

use std::fs;

use nix::sys::signal::Signal;
use sensor_tests::lab::wait_until;
use sensor_tests::live::{DEADLINE, Live, possible};
use serde_json::Value;

fn value(live: &Live) -> u64 {
    let answer = live.ask(&["get", "relay_gap_ms"]).expect("the sensor answers");
    answer["tunables"][0]["value"].as_u64().expect("a number")
}

fn in_kernel(live: &Live) -> u32 {
    live.settings().expect("the settings are pinned").relay_gap_us
}

#[test]
fn set_takes_effect_at_once_in_the_kernel_and_not_at_all_when_out_of_range() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let tunable = live.ask(&["get", "relay_gap_ms"]).expect("the sensor answers")["tunables"][0].clone();
    let (low, high) = (tunable["low"].as_u64().expect("a number"), tunable["high"].as_u64().expect("a number"));
    assert!(["unit", "help"].iter().all(|key| tunable[key].as_str().is_some_and(|text| !text.is_empty())), "{tunable}");
    assert_eq!(tunable["value"], tunable["default"]);
    for new in [low, high, 33] {
        live.command(&["set", "relay_gap_ms", &new.to_string()]).expect("it is in range");
        // The answer comes after the kernel has it: nothing to wait for.
        assert_eq!(u64::from(in_kernel(&live)), new * 1000);
        assert_eq!(value(&live), new);
    }
    for bad in [low.wrapping_sub(1), high + 1, u64::MAX] {
        let output = live.sensor.cli(&live.lab, &["set", "relay_gap_ms", &bad.to_string()]).expect("the sensor starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("relay_gap_ms") && text.contains(&high.to_string()), "{text}");
        assert_eq!((in_kernel(&live), value(&live)), (33_000, 33));
    }
}

#[test]
fn sighup_takes_a_good_configuration_and_keeps_the_old_one_from_a_bad() {
    if !possible(&[]) {
        return;
    }
    let mut live = Live::start().expect("the lab starts");
    let default = value(&live);
    let good = "allow = [\"203.0.113.0/24\"]\n[tunables]\nrelay_gap_ms = 44\n";
    for (bad, word) in
        [("[tunables]\nrelay_gap_ms = 0\n", "relay_gap_ms"), ("relay_gap = 5\n", "relay_gap"), ("[tunables\n", ":1:")]
    {
        let status = reload(&mut live, bad, |error| !error.is_null());
        assert!(status["config_error"].as_str().is_some_and(|text| text.contains(word)), "{status}");
        assert!(status["warnings"].to_string().contains("the last reload was refused"), "{status}");
        assert_eq!(value(&live), default, "the old configuration does not stay in force");
        assert_eq!(u64::from(in_kernel(&live)), default * 1000);

        let status = reload(&mut live, good, Value::is_null);
        assert_eq!((in_kernel(&live), value(&live)), (44_000, 44), "{status}");
        let allowed = live.rules("allow").expect("the sensor answers");
        assert!(allowed.iter().any(|rule| rule["subject"] == "203.0.113.0/24"), "{allowed:?}");

        let status = reload(&mut live, bad, |error| !error.is_null());
        assert_eq!((in_kernel(&live), value(&live)), (44_000, 44), "{status}");
        reload(&mut live, "", Value::is_null);
        assert_eq!(value(&live), default);
    }
}

/// Writes the configuration, sends SIGHUP, and waits until `status` says what is wanted of `config_error`.
fn reload(live: &mut Live, text: &str, wanted: fn(&Value) -> bool) -> Value {
    fs::write(&live.sensor.paths().config, text).expect("the lab's folder is ours");
    live.sensor.process().signal(Signal::SIGHUP).expect("it runs");
    let mut status = Value::Null;
    let came = wait_until(DEADLINE, || {
        status = live.ask(&["status"]).expect("the daemon goes on");
        wanted(&status["config_error"])
    });
    assert!(came, "{status}");
    status
}
