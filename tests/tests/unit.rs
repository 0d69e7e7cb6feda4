//! The sensor under the systemd unit's own restrictions, as far as they can be had without systemd: root without its
//! powers, but for the capabilities that the unit names.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sensor_tests::lab::sensor::{Sensor, SensorOptions};
use sensor_tests::lab::{Lab, LabPlan};
use sensor_tests::query::repository;
use sensor_tests::require::{Tier, require, require_program};

/// The capabilities that the unit leaves, as `setpriv` spells them.
fn capabilities() -> Vec<String> {
    let unit = fs::read_to_string(repository().join("deploy/systemd/sensor.service")).expect("the unit is there");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("it bounds them");
    line.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect()
}

/// Starts and detaches a sensor that has these capabilities only.
fn starts_with(lab: &Lab, name: &str, capabilities: &[String]) -> Result<(), String> {
    let mut options = SensorOptions::built().expect("the sensor is built");
    let bounded: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let wrapper = lab.dir().join(name);
    let script = format!(
        "#!/bin/sh\nexec setpriv --no-new-privs --bounding-set=-all{bounded} {:?} \"$@\"\n",
        options.binary.display().to_string()
    );
    fs::write(&wrapper, script).expect("the lab's folder is ours");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("the script is ours");
    options.binary = wrapper;
    let mut sensor = Sensor::start(lab, options).map_err(|error| format!("{error:#}"))?;
    let native = sensor.ask(lab, &["status"]).map_err(|error| format!("{error:#}"))?;
    assert_eq!(native["xdp_mode"], "native");
    assert!(sensor.stop().success());
    sensor.detach(lab).map_err(|error| format!("{error:#}"))
}

#[test]
fn the_units_capabilities_are_enough_and_none_is_too_many() {
    if !require(Tier::Net) || !require(Tier::Bpf) || !require_program(Tier::Net, "setpriv") {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let all = capabilities();
    starts_with(&lab, "bounded", &all).expect("the unit's capabilities are enough");
    for missing in &all {
        let rest: Vec<_> = all.iter().filter(|name| *name != missing).cloned().collect();
        let failure = starts_with(&lab, &format!("without-{missing}"), &rest);
        let error = failure.expect_err(&format!("it starts without {missing}: the unit grants more than it needs"));
        assert!(error.contains("exit status: 4"), "without {missing}: {error}");
    }
    lab.end().expect("nothing stays behind");
}
