//! Facts in, grades out: a host in order, and each thing that can be wrong with one.

use std::path::PathBuf;

use super::facts::available;
use super::{Daemon, Facts, Grade, Interface, Occupant, Report};
use crate::control::protocol::Status;
use crate::exit::{Code, Failure};

const GIB: u64 = 1 << 30;

fn healthy() -> Facts {
    Facts {
        config: Ok(Some(PathBuf::from("/etc/sensor/sensor.toml"))),
        release: "6.18.44".to_owned(),
        host: Ok(()),
        has_btf: true,
        jit: Some(1),
        bpffs: PathBuf::from("/sys/fs/bpf"),
        bpffs_mounted: true,
        clock: Some("tsc".to_owned()),
        cpus: 4,
        kernel_bytes: GIB / 8,
        engine_bytes: GIB / 4,
        available_bytes: Some(GIB),
        group_bytes: None,
        interface: Some(Interface {
            name: "eth0".to_owned(),
            state: "up".to_owned(),
            mtu: Some(1_500),
            driver: Some("ena".to_owned()),
            receive_queues: 4,
            ..Interface::default()
        }),
        socket: PathBuf::from("/run/sensor/control.sock"),
        daemon: Daemon::Answers(Box::new(Status { ready: true, ..Status::default() })),
    }
}

fn refused(code: Code) -> Failure {
    Failure::new(code, "refused", "do something")
}

#[test]
fn a_host_in_order_has_nothing_to_be_done() {
    let report = Report::of(&healthy());
    assert!(report.checks.iter().all(|check| check.grade == Grade::Ok && check.advice.is_empty()), "{report:?}");
    assert_eq!((report.failed, report.warned, report.code()), (0, 0, Code::Done));
    let names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
    let expected = [
        "config",
        "kernel",
        "btf",
        "jit",
        "bpffs",
        "memory",
        "clock",
        "daemon",
        "interface",
        "program",
        "driver",
        "mtu",
        "queues",
    ];
    assert_eq!(names, expected);
}

#[test]
fn each_fault_is_found_and_has_advice() {
    type Fault = fn(&mut Facts);
    let cases: [(&str, Grade, Code, Fault); 19] = [
        ("config", Grade::Fail, Code::Config, |f| f.config = Err(refused(Code::Config))),
        ("kernel", Grade::Fail, Code::Capability, |f| f.host = Err(refused(Code::Capability))),
        ("btf", Grade::Warn, Code::Done, |f| f.has_btf = false),
        ("jit", Grade::Warn, Code::Done, |f| f.jit = Some(0)),
        ("bpffs", Grade::Warn, Code::Done, |f| f.bpffs_mounted = false),
        ("memory", Grade::Warn, Code::Done, |f| {
            (f.daemon, f.available_bytes) = (Daemon::Silent("gone".to_owned()), Some(GIB / 4));
        }),
        ("memory", Grade::Fail, Code::Capability, |f| {
            (f.daemon, f.group_bytes) = (Daemon::Silent("gone".to_owned()), Some(GIB / 16));
        }),
        ("clock", Grade::Warn, Code::Done, |f| f.clock = Some("hpet".to_owned())),
        ("daemon", Grade::Warn, Code::Done, |f| f.daemon = Daemon::Silent("gone".to_owned())),
        ("daemon", Grade::Warn, Code::Done, |f| f.daemon = Daemon::Denied("no".to_owned())),
        ("daemon", Grade::Fail, Code::Runtime, |f| f.daemon = Daemon::Strange("HTTP?".to_owned())),
        ("daemon", Grade::Warn, Code::Done, |f| {
            let warnings = vec!["the events ring overflowed".to_owned()];
            f.daemon = Daemon::Answers(Box::new(Status { ready: true, warnings, ..Status::default() }));
        }),
        ("interface", Grade::Warn, Code::Done, |f| f.interface = None),
        ("interface", Grade::Fail, Code::Capability, |f| change(f, |i| i.missing = Some(refused(Code::Capability)))),
        ("interface", Grade::Warn, Code::Done, |f| change(f, |i| i.state = "down".to_owned())),
        ("program", Grade::Fail, Code::Busy, |f| change(f, |i| i.occupant = Some(occupant(false, true)))),
        ("program", Grade::Warn, Code::Done, |f| change(f, |i| i.occupant = Some(occupant(true, false)))),
        ("mtu", Grade::Warn, Code::Done, |f| change(f, |i| i.mtu = Some(9_000))),
        ("queues", Grade::Warn, Code::Done, |f| change(f, |i| i.receive_queues = 1)),
    ];
    for (name, grade, code, fault) in cases {
        let mut facts = healthy();
        fault(&mut facts);
        let report = Report::of(&facts);
        let found: Vec<_> = report.checks.iter().filter(|check| check.grade != Grade::Ok).collect();
        let named = found.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name}: {report:?}"));
        assert_eq!((named.grade, report.code()), (grade, code), "{name}: {named:?}");
        assert!(found.iter().all(|check| !check.advice.is_empty()), "{name}: {found:?}");
    }
}

fn change(facts: &mut Facts, change: fn(&mut Interface)) {
    facts.interface.iter_mut().for_each(change);
}

fn occupant(is_sensor: bool, is_native: bool) -> Occupant {
    Occupant { is_sensor, is_native, busy: refused(Code::Busy) }
}

#[test]
fn an_unknown_driver_is_a_warning_unless_the_sensor_is_in_it() {
    let mut facts = healthy();
    change(&mut facts, |i| i.driver = Some("e1000e".to_owned()));
    assert_eq!(Report::of(&facts).warned, 1);
    change(&mut facts, |i| i.occupant = Some(occupant(true, true)));
    assert_eq!(Report::of(&facts).warned, 0);
}

#[test]
fn free_memory_is_read() {
    assert_eq!(available("MemTotal: 10 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
    assert_eq!(available("MemTotal: 10 kB\n"), None);
}
