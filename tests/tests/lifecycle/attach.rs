//! Which interfaces the sensor takes, and how: others are never displaced, and a slower mode is said aloud.

use std::process::Output;

use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, user};
use sensor_tests::lab::sensor::{METRICS, Sensor, SensorOptions};
use sensor_tests::lab::{Lab, LabPlan, Role};
use sensor_tests::live::{Live, attached, possible};
use sensor_tests::require::{Tier, require, require_program};

/// Runs `sensor run`, which must end by itself, with files of its own; gives exit code and error text.
fn refused(lab: &Lab, name: &str, flags: &[&str]) -> (Option<i32>, String) {
    let path = |kind: &str| lab.dir().join(format!("{name}.{kind}")).display().to_string();
    let (socket, state, bpffs) = (path("sock"), path("state"), lab.dir().join("bpf").display().to_string());
    let mut all = vec!["--socket", &socket, "run", "--state-dir", &state];
    all.extend(["--bpffs", &bpffs]);
    all.extend(flags);
    let binary = SensorOptions::built().expect("the sensor is built").binary;
    let ended = lab.output(Role::Server, binary, &all).expect("the sensor starts");
    (ended.status.code(), text(&ended))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn expect(found: (Option<i32>, String), code: i32, words: &[&str]) {
    assert_eq!(found.0, Some(code), "{}", found.1);
    for word in words {
        assert!(found.1.contains(word), "`{word}` is not in: {}", found.1);
    }
}

#[test]
fn a_program_of_somebody_else_is_never_displaced() {
    if !possible(&["xdp-filter", "unshare"]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    // Its pins go with the mount namespace; its program stays on the interface.
    let script = "mount -t bpf bpf /sys/fs/bpf && exec xdp-filter load --mode native eth0";
    let output = lab.output(Role::Server, "unshare", &["--mount", "sh", "-c", script]).expect("unshare is installed");
    assert!(output.status.success(), "{}{}", text(&output), String::from_utf8_lossy(&output.stdout));
    let other = attached(&lab, "eth0").expect("ip is installed").expect("xdp-filter loaded its program");
    let id = other.id.to_string();
    for mode in ["auto", "native", "generic"] {
        let found = refused(&lab, "second", &["--interface", "eth0", "--mode", mode]);
        expect(found, 6, &["eth0", "busy", &id, &other.name, "displaces nobody"]);
        assert_eq!(attached(&lab, "eth0").expect("ip is installed").as_ref(), Some(&other));
    }
}

#[test]
fn a_second_sensor_on_the_same_interface_is_refused() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let before = live.attached("eth0").expect("ip is installed");
    expect(refused(&live.lab, "second", &["--interface", "eth0"]), 6, &["already running on eth0", "process"]);
    assert_eq!(live.attached("eth0").expect("ip is installed"), before);
    assert!(live.ask(&["status"]).is_ok(), "the first one goes on");
}

#[test]
fn a_host_without_the_interface_or_the_permission_is_told_so() {
    if !require(Tier::Net) || !require(Tier::Bpf) || !require_program(Tier::Net, "setpriv") {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    expect(refused(&lab, "first", &["--interface", "nowhere0"]), 4, &["no interface is called `nowhere0`", "eth0"]);

    let binary = SensorOptions::built().expect("the sensor is built").binary;
    let binary = binary.to_str().expect("a path in UTF-8");
    let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups", binary, "run", "--interface", "eth0"];
    let ended = lab.output(Role::Server, "setpriv", &arguments).expect("setpriv is installed");
    expect((ended.status.code(), text(&ended)), 4, &["no permission", "CAP_BPF", "CAP_NET_ADMIN", "root"]);
    assert_eq!(attached(&lab, "eth0").expect("ip is installed"), None);
}

fn metrics(lab: &Lab) -> String {
    let output = lab.output(Role::Server, "curl", &["-sS", &format!("http://{METRICS}/metrics")]);
    String::from_utf8_lossy(&output.expect("curl is installed").stdout).into_owned()
}

#[test]
fn generic_mode_works_and_says_so() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let mut options = SensorOptions::built().expect("the sensor is built");
    options.flags = vec!["--mode".to_owned(), "generic".to_owned()];
    let live = Live::with(lab, options).expect("the lab starts");
    let status = live.ask(&["status"]).expect("the sensor answers");
    assert_eq!(status["xdp_mode"], "generic");
    assert!(status["fallback"].is_null(), "generic was asked for: {status}");
    assert!(metrics(&live.lab).contains("sensor_native_fallback 0"));
    let url = format!("http://{SERVER_V4}:{PLAIN_PORT}/generic");
    assert!((0..5).all(|_| live.is_served(user(0), &url).expect("curl is installed")));
    let source = live.source(user(0)).expect("the source is known");
    assert_eq!((&source["requests"], &source["connections"]), (&5.into(), &5.into()));
    live.command(&["block", &user(0).to_string()]).expect("it is blocked");
    assert!(!live.is_served(user(0), &url).expect("curl is installed"));
}

#[test]
fn an_interface_without_native_mode_is_refused_or_loudly_taken_in_generic_mode() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let mut options = SensorOptions::built().expect("the sensor is built");
    options.interface = "lo".to_owned();
    let mut sensor = Sensor::start(&lab, options).expect("auto falls back");
    let status = sensor.ask(&lab, &["status"]).expect("the sensor answers");
    assert_eq!(status["xdp_mode"], "generic");
    let why = status["fallback"].as_str().expect("the reason of the fallback");
    assert!(why.contains("native"), "{why}");
    assert!(status["warnings"].to_string().contains("generic XDP"), "{}", status["warnings"]);
    assert!(sensor.process().log_tail(50).contains("falling back to generic"));
    assert!(metrics(&lab).contains("sensor_native_fallback 1"), "{}", metrics(&lab));
    assert!(sensor.stop().success());
    sensor.detach(&lab).expect("the sensor detaches");

    expect(
        refused(&lab, "native", &["--interface", "lo", "--mode", "native"]),
        4,
        &["native XDP on lo", "--mode auto"],
    );
    assert_eq!(attached(&lab, "lo").expect("ip is installed"), None);
}
