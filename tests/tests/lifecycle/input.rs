//! Bad input: an exit code from the documented list, and words that say what is wrong and where.

use std::net::{TcpListener, TcpStream};
use std::process::Output;

use sensor_tests::lab::address::{GATEWAY_V4, GATEWAY_V6, SERVER_V4};
use sensor_tests::lab::sensor::SensorOptions;
use sensor_tests::lab::{Lab, LabPlan, Role};
use sensor_tests::live::{Live, attached, possible};
use sensor_tests::require::{Tier, require};

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn a_bad_configuration_is_refused_naming_line_and_key() {
    if !require(Tier::Net) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let binary = SensorOptions::built().expect("the sensor is built").binary;
    let file = lab.dir().join("bad.toml");
    let path = file.display().to_string();
    for (text, words) in [
        ("interface = \"eth0\"\nintreface = \"eth0\"\n", ["bad.toml:2:", "intreface"]),
        ("[tunables]\nrelay_gap_ms = 0\n", ["bad.toml:2:", "relay_gap_ms"]),
        ("[tunables]\n\nrelay_gap_msec = 5\n", ["bad.toml:3:", "relay_gap_msec"]),
        ("services = [443, 70000]\n", ["bad.toml:1:", "70000"]),
        ("allow = [\"203.0.113.0/33\"]\n", ["bad.toml:1:", "203.0.113.0/33"]),
        ("enforce = maybe\n", ["bad.toml:1:", "enforce"]),
    ] {
        std::fs::write(&file, text).expect("the lab's folder is ours");
        let run = ["run", "--interface", "eth0", "--config", &path];
        for arguments in [run.as_slice(), &["check-config", &path]] {
            expect(&lab.output(Role::Server, &binary, arguments).expect("the sensor starts"), 3, &words);
        }
    }
    let missing = ["run", "--interface", "eth0", "--config", "/nowhere/sensor.toml"];
    let output = lab.output(Role::Server, &binary, &missing).expect("the sensor starts");
    expect(&output, 3, &["/nowhere/sensor.toml"]);
    assert_eq!(attached(&lab, "eth0").expect("ip is installed"), None);
}

#[test]
fn a_malformed_request_is_refused_before_anybody_is_asked() {
    if !require(Tier::Net) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let binary = SensorOptions::built().expect("the sensor is built").binary;
    let socket = lab.dir().join("nobody.sock").display().to_string();
    for (arguments, code, word) in [
        (["block", "300.1.2.3"].as_slice(), 2, "300.1.2.3"),
        (&["block", "203.0.113.0/33"], 2, "203.0.113.0/33"),
        (&["allow", "2001:db8::/200"], 2, "2001:db8::/200"),
        (&["block", "203.0.113.1", "--ttl", "soon"], 2, "soon"),
        (&["explain", "nobody"], 2, "nobody"),
        (&["sources", "--limit", "0"], 2, "0"),
        (&["status", "--colour"], 2, "--colour"),
        (&["conquer"], 2, "conquer"),
        (&["set", "relay_gap_ms", "999999999"], 2, "relay_gap_ms"),
        (&["set", "no_such_tunable", "1"], 2, "no_such_tunable"),
        (&["status"], 5, "sensor run"),
        (&["block", "203.0.113.1"], 5, "sensor run"),
    ] {
        let all: Vec<&str> = ["--socket", &socket].into_iter().chain(arguments.iter().copied()).collect();
        let output = lab.output(Role::Server, &binary, &all).expect("the sensor starts");
        expect(&output, code, &[word]);
        assert!(output.stdout.is_empty(), "errors go to standard error");
    }
}

#[test]
fn what_must_stay_reachable_is_not_blocked_without_force() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    // An SSH session, as far as the host can see: a connection from outside to port 22.
    let door = lab.space(Role::Server).run(|| TcpListener::bind((SERVER_V4, 22))).expect("port 22 is free");
    let session = lab.space(Role::Users).run(|| TcpStream::connect((SERVER_V4, 22))).expect("the server answers");
    let (_held, peer) = door.accept().expect("the session comes");
    let live = Live::with(lab, SensorOptions::built().expect("the sensor is built")).expect("the lab starts");
    let peer = peer.ip().to_string();
    let (gateway, gateway_v6, own) = (GATEWAY_V4.to_string(), GATEWAY_V6.to_string(), SERVER_V4.to_string());
    for (prefix, word) in [
        (peer.as_str(), "SSH"),
        (&gateway, "default gateway"),
        (&gateway_v6, "default gateway"),
        ("192.0.2.0/24", "default gateway"),
        (&own, "own address"),
        ("0.0.0.0/0", "covers"),
    ] {
        let output = live.sensor.cli(&live.lab, &["block", prefix]).expect("the sensor starts");
        expect(&output, 1, &[word, "--force"]);
    }
    assert!(live.rules("deny").expect("the sensor answers").is_empty());
    let allowed = live.ask(&["rules", "--kind", "allow"]).expect("the sensor answers").to_string();
    assert!([&peer, &gateway, &gateway_v6].iter().all(|name| allowed.contains(name.as_str())), "{allowed}");

    let output = live.sensor.cli(&live.lab, &["block", &peer, "--force"]).expect("the sensor starts");
    expect(&output, 0, &[]);
    let again = lab_connects(&live);
    assert!(again, "the allow rule goes on to win inside a forced block");
    drop(session);
}

fn lab_connects(live: &Live) -> bool {
    live.lab.space(Role::Users).run(|| TcpStream::connect((SERVER_V4, 22))).is_ok()
}
