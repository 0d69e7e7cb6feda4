//! Event files, `sensor replay` and `sensor tune`, as a user meets them.

mod stub;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use sensor::control::protocol::Request;
use sensor::engine::time::{Span, Time};
use sensor::replay::evidence::Evidence;
use sensor::replay::path::Fate;
use sensor::replay::read::Events;
use sensor::replay::write::{Form, Writer};
use sensor::replay::{LATE_MAX, OrderError, Replay};
use sensor::tunable::Tunables;
use sensor_common::address::Address;
use sensor_common::event::protocol;
use serde_json::Value;
use stub::Stub;

const START: Time = Time(1_795_305_600_000_000_000);

fn event(second: u64, client: [u8; 4], gap_ms: Option<u32>, label: Option<&'static str>) -> Evidence {
    Evidence {
        at: START + Span::seconds(second),
        client: Address::v4(client),
        service: 443,
        protocol: protocol::TLS,
        fingerprint: 0xc0ffee,
        rtt_us: 20_000,
        hello_gap_us: gap_ms.map(|ms| ms * 1_000),
        flight_gap_us: gap_ms.map(|ms| ms * 1_000),
        timestamps: true,
        requests: 1,
        label: label.map(Into::into),
    }
}

/// A calm hour of newcomers, then ten minutes of a rotation over 300 exits.
fn hydra() -> Vec<Evidence> {
    let mut events = Vec::new();
    for second in 0..4_200_u64 {
        let [.., b, c] = second.to_be_bytes();
        events.push(event(second, [20, b, c, 1], Some(2), Some("tenant")));
        if second >= 3_600 {
            let [.., b, c] = (second % 300).to_be_bytes();
            events.push(event(second, [100, b, c, 1], Some(80), Some("attack")));
        }
    }
    events
}

fn written(events: &[Evidence], form: Form) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), form).expect("memory takes it");
    for event in events {
        writer.write(event).expect("memory takes it");
    }
    writer.finish().expect("memory takes it")
}

fn read(bytes: &[u8]) -> Result<Vec<Evidence>, String> {
    let events = Events::new(bytes).map_err(|error| error.to_string())?;
    events.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let gaps = (any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>(), any::<u32>());
    let what = (1..=u16::MAX, 0_u8..4, any::<u64>(), any::<u32>(), prop::option::of("[^\\p{Cc}]{1,24}"));
    (0..u64::MAX / 2, any::<u32>(), any::<[u8; 16]>(), any::<bool>(), gaps, what).prop_map(
        |(
            at,
            v4,
            v6,
            is_v4,
            (hello, flight, timestamps, rtt_us),
            (service, protocol, fingerprint, requests, label),
        )| {
            Evidence {
                at: Time(at),
                client: if is_v4 { Address::v4(v4.to_be_bytes()) } else { Address::v6(v6) },
                service,
                protocol,
                fingerprint,
                rtt_us,
                hello_gap_us: hello,
                flight_gap_us: flight,
                timestamps,
                requests,
                // White space at the ends of a CSV field is not kept, an empty one is none.
                label: label.map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).map(Into::into),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(events in prop::collection::vec(evidence(), 1..20)) {
        for form in [Form::JsonLines, Form::Csv] {
            prop_assert_eq!(read(&written(&events, form)), Ok(events.clone()), "{:?}", form);
        }
    }

    #[test]
    fn no_file_is_too_hostile(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0_usize..400) {
        let _ = read(&bytes);
        // A good file with something in its middle.
        for form in [Form::JsonLines, Form::Csv] {
            let mut file = written(&[event(0, [20, 0, 0, 1], None, None), event(1, [20, 0, 1, 1], Some(2), Some("x"))], form);
            let at = cut.min(file.len());
            file.splice(at..at, bytes.iter().copied());
            let _ = read(&file);
        }
    }

    #[test]
    fn no_time_is_too_strange(times in prop::collection::vec(0_u64..u64::MAX / 2, 1..12)) {
        let mut replay = Replay::new(&Tunables::default());
        let mut last = None;
        for time in times {
            let event = Evidence { at: Time(time), ..event(0, [20, 0, 0, 1], Some(2), None) };
            let is_early = last.is_some_and(|last: Time| Time(time) + LATE_MAX < last);
            match replay.feed(&event) {
                Ok(_) => last = last.max(Some(Time(time))),
                Err(OrderError::Late(_)) => prop_assert!(is_early),
                Err(OrderError::Silent(_)) => prop_assert!(!is_early),
            }
        }
        replay.finish();
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let good = r#"{"at_ns":1,"client":"192.0.2.1","service":443}"#;
    let head = "at_ns,client,service";
    for (file, said) in [
        (String::new(), "no events"),
        ("at,client\n".to_owned(), "line 1: column `at` is unknown"),
        ("at_ns,client\n1,192.0.2.1\n".to_owned(), "line 1: column `service` is missing"),
        ("at_ns,client,service,client\n".to_owned(), "line 1: a column is named twice"),
        (format!("{head}\n1,192.0.2.1\n"), "line 2: it has 2 fields, the header 3"),
        (format!("{head}\n\n1,192.0.2.1,70000\n"), "line 3: service is `70000`: give a port"),
        (format!("{head}\n,192.0.2.1,443\n"), "line 2: at_ns is empty"),
        (format!("{head}\n1.5,192.0.2.1,443\n"), "line 2: at_ns is `1.5`: give whole nanoseconds"),
        (format!("{head},timestamps\n1,192.0.2.1,443,yes\n"), "give true or false"),
        (format!("{good}\n{{\"at_ns\":1}}\n"), "line 2: missing field `client`"),
        (format!("{good}\n{{\"colour\":1}}\n"), "line 2: unknown field `colour`"),
        (format!("{good}\nnonsense\n"), "line 2: expected"),
        (good.replace("443", "0"), "line 1: service is 0"),
        (good.replace("}", r#","protocol":"smtp"}"#), "line 1: protocol `smtp` is unknown"),
        (good.replace("at_ns\":1", "at_ns\":18446744073709551615"), "beyond the year 2262"),
        (format!("{good}\n{}\n", " ".repeat(5_000)), "line 2: it is longer than 4096 bytes"),
    ] {
        let error = read(file.as_bytes()).expect_err(&file);
        assert!(error.contains(said), "`{file}`: {error}");
    }
}

#[test]
fn a_fingerprint_is_a_number_or_any_text() {
    let of = |text: &str| {
        let line = format!(r#"{{"at_ns":1,"client":"2001:db8::1","service":443,"fingerprint":"{text}"}}"#);
        read(line.as_bytes()).expect("it is good")[0].fingerprint
    };
    assert_eq!(of("00000000c0ffee00"), 0xc0ff_ee00);
    assert_eq!(of(""), 0);
    let ja4 = of("t13d1516h2_8daaf6152771_02713d6af862");
    assert!(
        ja4 != 0
            && ja4 == of("t13d1516h2_8daaf6152771_02713d6af862")
            && ja4 != of("t13d1516h2_8daaf6152771_02713d6af863")
    );
}

#[test]
fn a_hydra_is_found_and_its_connections_would_be_refused() {
    let mut replay = Replay::new(&Tunables { learn_s: 1_800, ..Tunables::default() });
    let mut refused = 0;
    for event in hydra() {
        let fate = replay.feed(&event).expect("they are in order");
        assert!(fate == Fate::Served || event.label.as_deref() == Some("attack"), "{event:?}: {fate:?}");
        refused += u32::from(fate != Fate::Served);
    }
    replay.finish();
    assert_eq!(replay.verdicts.iter().map(|verdict| verdict.is_true).collect::<Vec<_>>(), [true]);
    // In the second round a guard may hold back: here every ordinary connection is a newcomer's.
    assert!(refused > 250, "{refused} of 600 would be refused");
    assert_eq!(replay.labels["attack"].connections, 600);
}

fn sensor(socket: &std::path::Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command
        .arg("--socket")
        .arg(socket)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    // A command that ends early closes its input: that is its right.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn shown(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

#[test]
fn replay_prints_alarms_plans_and_a_summary() {
    let file = written(&hydra(), Form::JsonLines);
    let nowhere = std::path::Path::new("/nonexistent");
    let text = shown(&sensor(nowhere, &["replay", "--events", "-", "--set", "learn_s=1800"], &file));
    for line in ["campaign_opened #1: ", "class_rule #1: ", "4800 connections in 1h 9m", "1 true and 0 false campaigns"]
    {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
    let csv = written(&hydra(), Form::Csv);
    let json = shown(&sensor(nowhere, &["replay", "--events", "-", "--json", "--set", "learn_s=1800"], &csv));
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(json["summary"]["truth"]["true_campaigns"], 1);
    assert_eq!(json["labels"]["tenant"]["class"], 0);
    assert!(json["notices"].as_array().is_some_and(|notices| notices.iter().any(|n| n["kind"] == "class_rule")));
}

#[test]
fn wrong_usage_ends_with_2_and_advice() {
    let nowhere = std::path::Path::new("/nonexistent");
    for (arguments, input, said) in [
        (&["replay", "--events", "/nonexistent"][..], "", "docs/events.md"),
        (&["replay", "--events", "-"], "nonsense\n", "line 1: column `nonsense` is unknown"),
        (&["replay", "--events", "-", "--set", "colour=3"], "", "no tunable is called `colour`"),
        (&["tune", "--replay", "-", "--try", "rotation_alarm=1"], "", "out of range"),
        (&["tune", "--replay", "-"], "", "no events"),
        (&["replay"], "", "<FILE>"),
    ] {
        let output = sensor(nowhere, arguments, input.as_bytes());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(said) && output.stdout.is_empty(), "{arguments:?}: {errors}");
    }
}

#[test]
fn tune_recommends_with_a_reason_and_applies() {
    let stub = Stub::start();
    let file = written(&hydra(), Form::JsonLines);
    let tune = |more: &[&str]| {
        let arguments = [&["tune", "--replay", "-", "--set", "learn_s=1800"], more].concat();
        shown(&sensor(&stub.socket(), &arguments, &file))
    };
    // What stands finds it; an hour shows nothing about false alarms.
    let text = tune(&["--try", "rotation_alarm=8,100"]);
    assert!(text.contains("rotation_alarm = 100") && text.contains("recommended: nothing yet: "), "{text}");
    // Called calm, the rotation is a false alarm, and a threshold that is out of reach is better.
    let text = tune(&["--calm", "--try", "rotation_networks_min=100000", "--apply"]);
    assert!(
        text.contains("recommended: sensor set rotation_networks_min 100000: 0 false campaigns instead of 1"),
        "{text}"
    );
    assert!(text.contains("applied: rotation_networks_min = 100000"), "{text}");
    let set = Request::Set { name: "rotation_networks_min".to_owned(), value: 100_000 };
    assert!(stub.asked().contains(&set), "the daemon was not asked");
    // Without labels nobody knows.
    let bare: Vec<Evidence> = hydra().into_iter().map(|event| Evidence { label: None, ..event }).collect();
    let output =
        sensor(&stub.socket(), &["tune", "--replay", "-", "--try", "rotation_alarm=8"], &written(&bare, Form::Csv));
    assert!(shown(&output).contains("the file has no labels"), "{output:?}");
}
