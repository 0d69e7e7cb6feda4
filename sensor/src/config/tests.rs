//! Rows: what a file says, and what comes of it.

use std::path::Path;

use super::{Config, DEFAULT_METRICS, DEFAULT_SERVICES, retuned};
use crate::cli::run::RunOptions;
use crate::exit::Code;
use crate::kernel::size::Capacity;
use crate::kernel::xdp::ModeChoice;
use crate::tunable::Tunables;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("s.toml")).map_err(|failure| {
        assert_eq!(failure.code, Code::Config);
        failure.error
    })
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let config = parse("").expect("nothing is required in the file");
    assert_eq!(config.interface, "");
    assert_eq!(config.mode, ModeChoice::Auto);
    assert!(!config.enforce, "dry run is the default");
    assert_eq!(config.services, DEFAULT_SERVICES);
    assert_eq!(config.metrics, Some(DEFAULT_METRICS));
    assert_eq!(config.socket, Path::new("/run/sensor/control.sock"));
    assert_eq!(config.state_dir, Path::new("/var/lib/sensor"));
    assert_eq!(config.bpffs, Path::new("/sys/fs/bpf"));
    assert_eq!(config.tunables, Tunables::default());
    assert_eq!(config.capacity, Capacity::default());
    assert!(config.allow.is_empty());
}

#[test]
fn every_key_is_taken() {
    let config = parse(
        r#"
interface = "eth0.100"
mode = "generic"
enforce = true
services = [8000, 443, 8000]
allow = ["192.0.2.1", "2001:db8::/48"]
metrics = "[::1]:9000"
socket = "/tmp/s.sock"
state_dir = "/tmp/state"
bpffs = "/tmp/bpf"
log_format = "json"
[capacity]
sources = 2000000
records = 4096
connections = 8192
networks = 16384
[tunables]
relay_gap_ms = 30
[[tier]]
name = "default"
requests_1m = 600
[[tier]]
name = "partners"
prefixes = ["198.51.100.0/24"]
connections_per_s = 50
"#,
    )
    .expect("all of it is allowed");
    assert_eq!(config.interface, "eth0.100");
    assert_eq!(config.services, [443, 8000]);
    let allow: Vec<String> = config.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["192.0.2.1/32", "2001:db8::/48"]);
    assert_eq!(config.metrics.map(|address| address.to_string()).as_deref(), Some("[::1]:9000"));
    assert_eq!(config.tunables.relay_gap_ms, 30);
    let Capacity { sources, records, connections, networks } = config.capacity;
    assert_eq!((sources, records, connections, networks), (2_000_000, 4_096, 8_192, 16_384));
    assert_eq!(config.tiers.all().len(), 2);
}

#[test]
fn the_shipped_example_is_valid_and_enforces_nothing() {
    let config = parse(include_str!("../../../deploy/sensor.example.toml")).expect("the example is shipped to work");
    assert!(!config.enforce);
    assert_eq!(config.services, DEFAULT_SERVICES);
    assert_eq!(config.tunables, Tunables::default());
}

/// What is wrong with a file: description, text, message.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "unknown key",
        "enforce = true\ninterfaces = \"eth0\"\n",
        "s.toml:2: unknown key `interfaces`, expected one of `interface`, `mode`, `enforce`, `services`, `allow`, \
         `metrics`, `metrics_public`, `socket`, `state_dir`, `bpffs`, `log_format`, `capacity`, `tunables`, `tier`",
    ),
    ("wrong type", "\nenforce = \"yes\"\n", "s.toml:2: enforce: invalid type: string \"yes\", expected a boolean"),
    (
        "unknown mode",
        "mode = \"fast\"\n",
        "s.toml:1: mode: unknown variant `fast`, expected one of `auto`, `native`, `generic`",
    ),
    (
        "interface name",
        "interface = \"eth0/1\"\n",
        "s.toml:1: interface = \"eth0/1\" is no name of an interface: `ip link` lists those there are",
    ),
    ("port 0", "services = [443,\n 0]\n", "s.toml:2: services: 0 is no TCP port: give 1 to 65535"),
    ("port too high", "services = [70000]\n", "s.toml:1: services: 70000 is no TCP port: give 1 to 65535"),
    ("no port", "services = []\n", "s.toml:1: services is empty: name at least one TCP port"),
    (
        "no prefix",
        "allow = [\"10.0.0.0/8\",\n\"example.org\"]\n",
        "s.toml:2: allow: \"example.org\" is no prefix: give an address or a prefix like \"203.0.113.7\", \
         \"203.0.113.0/24\" or \"2001:db8::/48\"",
    ),
    (
        "host bits",
        "allow = [\"10.0.0.1/8\"]\n",
        "s.toml:1: allow: \"10.0.0.1/8\" has bits set behind its prefix length: give \"10.0.0.0/8\"",
    ),
    (
        "public metrics",
        "metrics = \"0.0.0.0:9464\"\n",
        "s.toml:1: metrics = \"0.0.0.0:9464\" can be reached from outside: give a loopback address, or set \
         metrics_public = true",
    ),
    (
        "metrics without port",
        "metrics = \"127.0.0.1\"\n",
        "s.toml:1: metrics = \"127.0.0.1\" is no address with a port: give one like \"127.0.0.1:9464\", or \"off\"",
    ),
    (
        "unknown tunable",
        "[tunables]\nrelay_gap_msec = 30\n",
        "s.toml:2: tunables: no tunable is called `relay_gap_msec`; did you mean `relay_gap_ms`? `sensor get` lists them \
         all",
    ),
    (
        "tunable too small",
        "[tunables]\n\nrelay_gap_ms = 4\n",
        "s.toml:3: tunables: relay_gap_ms = 4 is out of range: give 5 to 1000 milliseconds",
    ),
    (
        "tunable below zero",
        "[tunables]\nrelay_gap_ms = -1\n",
        "s.toml:2: tunables: relay_gap_ms = -1 is out of range: give 5 to 1000 milliseconds",
    ),
    (
        "tunable of another type",
        "[tunables]\nrelay_gap_ms = \"30\"\n",
        "s.toml:2: tunables.relay_gap_ms: invalid type: string \"30\", expected i64",
    ),
    (
        "unknown capacity",
        "[capacity]\nsource = 5000\n",
        "s.toml:2: capacity: unknown key `source`, expected one of `sources`, `records`, `connections`, `networks`",
    ),
    (
        "capacity too small",
        "[capacity]\nsources = 1000\n",
        "s.toml:2: capacity: sources = 1000 is out of range: give 4096 to 33554432",
    ),
    (
        "capacity below zero",
        "[capacity]\nnetworks = -1\n",
        "s.toml:2: capacity: networks = -1 is out of range: give 1024 to 16777216",
    ),
    (
        "tier twice",
        "[[tier]]\nname = \"a\"\nprefixes = [\"10.0.0.0/8\"]\n[[tier]]\nname = \"a\"\nprefixes = [\"11.0.0.0/8\"]\n",
        "s.toml:4: tier: two tiers are called `a`: rename or merge them",
    ),
    (
        "unknown key of a tier",
        "[[tier]]\nname = \"a\"\nlimit = 3\n",
        "s.toml:3: unknown key `limit`, expected one of `name`, `prefixes`, `connections_per_s`, `requests_per_min`, \
         `connections_1m`, `connections_10m`, `connections_1d`, `requests_1m`, `requests_10m`, `requests_1d`",
    ),
    ("key twice", "enforce = true\nenforce = false\n", "s.toml:2: duplicate key"),
    ("no TOML", "enforce\n", "s.toml:1: key with no value, expected `=`"),
];

#[test]
fn faults_are_named_with_line_key_and_what_is_allowed() {
    for (description, text, expected) in FAULTS {
        assert_eq!(parse(text).map(|_| ()).expect_err(description), *expected, "{description}");
    }
}

#[test]
fn public_metrics_are_an_explicit_choice_and_off_is_off() {
    let public = parse("metrics = \"0.0.0.0:9464\"\nmetrics_public = true\n").expect("said twice");
    assert_eq!(public.metrics.map(|address| address.port()), Some(9464));
    assert_eq!(parse("metrics = \"off\"\n").expect("off is a value").metrics, None);
}

#[test]
fn flags_win_over_the_file() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "interface = \"eth0\"\nenforce = true\nservices = [1]\n").expect("written");
    let flags = |change: fn(&mut RunOptions)| {
        let mut flags = RunOptions { config: Some(file.path().to_owned()), ..RunOptions::default() };
        change(&mut flags);
        Config::load(&flags)
    };
    let plain = flags(|_| ()).expect("the file is valid");
    assert_eq!((plain.interface.as_str(), plain.enforce), ("eth0", true));
    let over = flags(|flags| {
        flags.interface = Some("eth1".to_owned());
        flags.dry_run = true;
        flags.services = vec![9, 8, 9];
    });
    let over = over.expect("flags and file are valid");
    assert_eq!((over.interface.as_str(), over.enforce, over.services), ("eth1", false, vec![8, 9]));
    let public = flags(|flags| flags.metrics = Some(([0, 0, 0, 0], 9464).into())).expect_err("others could read them");
    assert_eq!(public.code, Code::Usage);
}

#[test]
fn without_an_interface_there_is_nothing_to_run_on() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let flags = RunOptions { config: Some(file.path().to_owned()), ..RunOptions::default() };
    let failure = Config::load(&flags).expect_err("no interface anywhere");
    assert_eq!((failure.code, failure.error.as_str()), (Code::Usage, "no interface is named"));
}

#[test]
fn what_cannot_change_while_running_is_named_and_kept() {
    let old = parse("interface = \"eth0\"\n").expect("valid");
    let new = "interface = \"eth1\"\nmode = \"native\"\nenforce = true\n[capacity]\nsources = 4096\n[tunables]\nrelay_gap_ms = 40\n";
    let new = parse(new).expect("valid");
    assert_eq!(old.fixed(&new), ["interface", "mode", "capacity"]);
    assert_eq!(retuned(&old.tunables, &new.tunables), [("relay_gap_ms", 25, 40)]);
    let adopted = old.adopt(new);
    assert_eq!(adopted.interface, "eth0");
    assert!(adopted.enforce);
    assert_eq!(adopted.tunables.relay_gap_ms, 40);
}
