//! The `sensor` command as an operator and a script see it: lines, JSON, streams and exit codes of the real binary.

mod skip;
mod stub;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sensor::cli::run::RunOptions;
use sensor::config::Config;
use sensor::control::protocol::Request;
use serde_json::Value;
use skip::skip;
use stub::Stub;

fn sensor(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command.arg("--socket").arg(socket).args(arguments).env_remove("NO_COLOR");
    command.output().expect("the binary was built")
}

/// Standard output of a command that must succeed.
fn shown(stub: &Stub, arguments: &[&str]) -> String {
    let output = sensor(&stub.socket(), arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    assert_eq!(errors, "", "{arguments:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Exit code and standard error of a command that must print no answer.
fn failed(socket: &Path, arguments: &[&str]) -> (i32, String) {
    let output = sensor(socket, arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?} was killed"));
    (code, String::from_utf8(output.stderr).expect("it prints text"))
}

#[test]
fn status_tells_the_worst_first() {
    let stub = Stub::start();
    let page = shown(&stub, &["status"]);
    let expected = [
        "mode        DRY RUN: nothing is refused, rules only count (`sensor run --enforce` acts)",
        "sensor      9.9.9, process 4711, up 2h 3m",
        "interface   eth0, XDP FALLBACK to generic: the driver has no XDP",
        "services    443, 8000",
        "frames            1200/s   1,234,567 in all",
        "bytes          1.5 MiB/s   5.0 GiB in all",
        "connections        7.2/s   4,321 in all",
        "requests          31.0/s   98,765 in all",
        "sources     5,000 of 262,144, 0 evicted",
        "evidence    0 connection records, 0 networks known, 0 cohorts followed",
        "campaigns   2 OPEN (`sensor campaigns` says why)",
        "rules       allow 3, class 1",
        "refused     dropped frames: none",
        "in dry run  frames that would be dropped: class 12,345 (now 3.5/s)",
        "learning    1d of 3d calm; no automatic rules before that",
        "lost        events 17",
        "not read    frames passed unread: none",
        "no evidence connections: none",
        "tables      connections 12 of 131,072, records 34 of 262,144",
        "memory      kernel tables 160.0 MiB, running totals up to 48.0 MiB",
        "tick        0.0 ms",
        "config      /etc/sensor/sensor.toml",
        "            REJECTED, the former one is in force: unknown key `colour`",
        "warning     the events ring overflowed",
    ];
    assert_eq!(page.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn tables_have_one_line_a_row_off_a_terminal() {
    let stub = Stub::start();
    for (arguments, expected) in [
        (
            &["sources"][..],
            &[
                "SOURCE TIER REQUESTS 1M 10M 1D CONNS 1M 10M 1D PACKETS BYTES DROPPED RELAYED LAST SEEN",
                "203.0.113.7 default 12,345 0 0 0 678 0 0 0 0 0 B 0 4/9 -",
                "1 of 1,234 sources",
            ][..],
        ),
        (
            &["rules"],
            &[
                "KIND SUBJECT HITS EXPIRES ORIGIN CAMPAIGN REASON",
                "allow 198.51.100.0/24 0 never operator - office",
                "class port 443 fingerprint 00c0ffee00c0ffee 1,234 in 50m detector #7 rotation",
                "2 of 1,234 rules (--limit and --all show more)",
            ],
        ),
        (&["rules", "--kind", "deny"], &["no rule is installed"]),
        (&["campaigns"], &["no campaign (`--all` shows closed ones too)"]),
        (
            &["get", "relay_gap_ms"],
            &[
                "relay_gap_ms = 30 milliseconds",
                "A connection whose client answers the server's first flight this much later than its TCP acknowledges it counts as relayed.",
                "default 25, range 5 to 1000",
            ],
        ),
        (
            &["explain", "203.0.113.7"],
            &["203.0.113.7/32: would be refused", "its network was first seen after the campaign began"],
        ),
        (&["set", "relay_gap_ms", "30"], &["relay_gap_ms = 30"]),
        (&["allow", "203.0.113.0/24"], &["203.0.113.0/24 is allowed", "warning: it overrides a rule of campaign #7"]),
    ] {
        let text = shown(&stub, arguments);
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, expected, "{arguments:?}");
    }
    let all = shown(&stub, &["get"]);
    assert!(all.lines().any(|line| line.starts_with("relay_gap_ms ") && line.contains(" *30 ")), "{all}");
    assert_eq!(all.lines().count(), 1 + sensor::tunable::ROWS.len(), "{all}");
}

#[test]
fn a_campaign_says_why() {
    let stub = Stub::start();
    let text = shown(&stub, &["campaigns", "--all"]);
    for line in [
        "campaign #7  OPEN  rotation on port 443 (tls), fingerprint 00c0ffee00c0ffee, score 15.2 nats",
        "  networks  120 first seen, 110 of them relayed; normal is 1.5 %",
        "  refusal   300 of 400 connections; a rule would hit 98.7 % attack and an expected 3.5 innocents per million",
        "  why       110 of 120 new networks came over a relay; 1.5 % is normal",
        "  done      class rule for an hour",
        "  seen in   203.0.113.0/24",
    ] {
        assert!(text.lines().any(|shown| shown == line), "`{line}` is missing in:\n{text}");
    }
}

#[test]
fn json_is_the_versioned_answer_and_nothing_else() {
    let stub = Stub::start();
    for (arguments, key) in [
        (&["status", "--json"][..], "sensor_version"),
        (&["sources", "--json", "--sort", "bytes"], "sources"),
        (&["campaigns", "--json"], "campaigns"),
        (&["rules", "--json"], "rules"),
        (&["explain", "--json", "7"], "verdict"),
        (&["get", "--json"], "tunables"),
    ] {
        let text = shown(&stub, arguments);
        let answer: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{text}"));
        assert_eq!(answer["version"], 1, "{arguments:?}");
        assert!(!answer[key].is_null(), "{arguments:?} without `{key}`:\n{text}");
    }
}

#[test]
fn no_colour_off_a_terminal() {
    let stub = Stub::start();
    for arguments in [&["status"][..], &["campaigns", "--all"], &["rules"], &["sources"], &["explain", "7"], &["get"]] {
        assert!(!shown(&stub, arguments).contains('\u{1b}'), "{arguments:?}");
    }
}

/// `script` gives the command a terminal.
#[test]
fn a_terminal_gets_colour_unless_no_color_is_set() {
    let stub = Stub::start();
    let line = format!("{} --socket {} status", env!("CARGO_BIN_EXE_sensor"), stub.socket().display());
    let on_terminal = |no_color: Option<&str>| {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        script.stdin(std::process::Stdio::null()).output()
    };
    let Ok(coloured) = on_terminal(None) else {
        skip("terminal", "`script` is not installed (apt-get install bsdutils)");
        return;
    };
    let plain = on_terminal(Some("1")).expect("it ran a moment ago");
    assert!(coloured.stdout.contains(&0x1b), "no colour on a terminal");
    assert!(String::from_utf8_lossy(&plain.stdout).contains("DRY RUN"), "nothing was printed");
    assert!(!plain.stdout.contains(&0x1b), "colour in spite of NO_COLOR");
}

#[test]
fn flags_become_requests() {
    let stub = Stub::start();
    let text = |text: &str| text.to_owned();
    for (arguments, request) in [
        (
            &["allow", "10.0.0.0/8", "--ttl", "30d", "--note", "office"][..],
            Request::Allow { prefix: text("10.0.0.0/8"), note: text("office"), ttl_s: Some(2_592_000) },
        ),
        (&["allow", "10.0.0.0/8", "--remove"], Request::Disallow { prefix: text("10.0.0.0/8") }),
        (&["disallow", "10.0.0.1"], Request::Disallow { prefix: text("10.0.0.1/32") }),
        (
            &["block", "2001:db8::/48"],
            Request::Block { prefix: text("2001:db8::/48"), reason: text(""), ttl_s: 3600, force: false },
        ),
        (
            &["block", "10.0.0.1", "--ttl", "1h 30m", "--reason", "abuse", "--force"],
            Request::Block { prefix: text("10.0.0.1/32"), reason: text("abuse"), ttl_s: 5400, force: true },
        ),
        (&["unblock", "10.0.0.1"], Request::Unblock { prefix: text("10.0.0.1/32") }),
    ] {
        shown(&stub, arguments);
        assert_eq!(stub.asked(), [request], "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_2_and_says_what_is_expected() {
    // Nobody listens: whatever gets that far would end with 5.
    let nowhere = Path::new("/nonexistent/control.sock");
    for (arguments, words) in [
        (&["block", "10.0.0.1/8"][..], "give 10.0.0.0/8 for the whole prefix or 10.0.0.1 for the one address"),
        (&["block", "banana"], "give an address or a prefix: 203.0.113.7, 203.0.113.0/24, 2001:db8::/48"),
        (&["allow", "10.0.0.0/33"], "0 to 32"),
        (&["explain", "banana"], "or a campaign's number"),
        (&["block", "10.0.0.1", "--ttl", "5"], "give a number with its unit, for example 90s, 10m, 2h or 1d"),
        (&["block", "10.0.0.1", "--ttl", "0s"], "out of range"),
        (&["set", "relay_gap", "30"], "no tunable is called `relay_gap`; did you mean `relay_gap_ms`?"),
        (&["set", "relay_gap_ms", "4"], "relay_gap_ms = 4 is out of range: give 5 to 1000 milliseconds"),
        (&["set", "relay_gap_ms", "many"], "invalid digit"),
        (&["get", "relay_gap"], "did you mean `relay_gap_ms`?"),
        (&["sources", "--limit", "0"], "give a number from 1 to 10000"),
        (&["sources", "--sort", "evil"], "possible values: requests, connections"),
        (&["rules", "--kind", "evil"], "possible values: allow, deny, class"),
        (&["allow", "10.0.0.1", "--note", "two\nlines"], "control characters"),
        (&["run", "--interface", "x", "--enforce", "--dry-run"], "cannot be used with"),
        (&["run", "--metrics", "9464"], "invalid socket address"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["status", "--frobnicate"], "unexpected argument"),
        (&[], "Usage: sensor"),
    ] {
        let (code, errors) = failed(nowhere, arguments);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: `{words}` is missing in:\n{errors}");
    }
}

#[test]
fn a_daemon_out_of_reach_is_5_and_says_why() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let absent = dir.path().join("absent.sock");
    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).expect("the folder is ours"));
    for (socket, words) in [(&absent, "No such file"), (&stale, "Connection refused")] {
        for arguments in [&["status"][..], &["sources", "--json"], &["reload"], &["block", "10.0.0.1"]] {
            let (code, errors) = failed(socket, arguments);
            assert_eq!(code, 5, "{arguments:?}: {errors}");
            let first = format!("sensor: no daemon answers on {}: {words}", socket.display());
            assert!(errors.starts_with(&first), "{errors}");
            assert!(errors.contains("is it running?"), "{errors}");
        }
    }
}

#[test]
fn a_socket_that_is_not_for_this_user_is_told_apart() {
    const NOBODY: u32 = 65_534;
    // Root may use any socket and becomes somebody else for it; everybody else is refused by a socket for nobody.
    let root = nix::unistd::geteuid().is_root();
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    // Where the build lies may be closed to others. Copied by a process of its own: a writing descriptor here could be
    // inherited by another test's child, and the copy would be busy.
    let binary = dir.path().join("sensor");
    let copied = Command::new("install").args(["-m", "755", env!("CARGO_BIN_EXE_sensor")]).arg(&binary).status();
    assert!(copied.expect("coreutils are everywhere").success());
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).expect("the folder is ours");
    let mode = if root { 0o660 } else { 0 };
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode)).expect("the socket is ours");
    let mut command = Command::new(&binary);
    command.arg("--socket").arg(&socket).arg("status");
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("root may become nobody");
    drop(listener);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert!(errors.starts_with(&format!("sensor: permission to use {} is denied", socket.display())), "{errors}");
    assert!(errors.contains("run as root or as a member of the socket's group"), "{errors}");
}

#[test]
fn what_the_daemon_refuses_is_1_with_its_advice() {
    let stub = Stub::start();
    for (arguments, words) in [
        (&["block", "192.0.2.1"][..], ["192.0.2.1 is the default gateway", "`--force` blocks it all the same"]),
        (&["explain", "404"], ["there is no campaign 404", "`sensor campaigns --all` lists them"]),
        (&["reload"], ["the daemon is stopping", "start it again"]),
    ] {
        let (code, errors) = failed(&stub.socket(), arguments);
        assert_eq!(code, 1, "{arguments:?}: {errors}");
        assert!(words.iter().all(|words| errors.contains(words)), "{arguments:?}: {errors}");
    }
    assert!(shown(&stub, &["block", "192.0.2.1", "--force"]).starts_with("192.0.2.1/32 is blocked"));
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sensor.example.toml")
}

#[test]
fn the_example_configuration_is_valid_and_shows_the_defaults() {
    let path = example();
    let output = sensor(Path::new("/nonexistent"), &["check-config", &path.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = Config::read(&path).expect("it is valid");
    let flags = RunOptions { interface: Some("eth0".to_owned()), config: Some(empty()), ..RunOptions::default() };
    let default = Config::load(&flags).expect("an empty file is valid");
    let facts = |config: &Config| {
        let Config { interface, mode, enforce, services, allow, tunables, metrics, socket, .. } = config.clone();
        let paths = (socket, config.state_dir.clone(), config.bpffs.clone());
        (interface, mode, enforce, services, allow, tunables, metrics, paths, config.log_format)
    };
    assert_eq!(facts(&shown), facts(&default), "the example says it shows the defaults");
}

/// A configuration file without a line.
fn empty() -> PathBuf {
    PathBuf::from("/dev/null")
}

#[test]
fn a_wrong_configuration_is_3_with_file_line_and_key() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("sensor.toml");
    let name = path.display().to_string();
    for (text, words) in [
        ("enforce = true\ncolour = \"red\"\n", "colour"),
        ("\n\n[tunables]\nrelay_gap_ms = 4\n", "give 5 to 1000 milliseconds"),
        ("[tunables]\nrelay_gap = 30\n", "relay_gap_ms"),
        ("services = [0]\n", "1 to 65535"),
        ("allow = [\"10.0.0.1/8\"]\n", "10.0.0.0/8"),
        ("enforce = maybe\n", "enforce"),
    ] {
        std::fs::write(&path, text).expect("the folder is ours");
        for arguments in [&["check-config", &name][..], &["run", "--interface", "lo", "--config", &name]] {
            let (code, errors) = failed(&dir.path().join("socket"), arguments);
            assert_eq!(code, 3, "{arguments:?} with {text:?}: {errors}");
            assert!(errors.contains(&name) && errors.contains(words), "{text:?}: {errors}");
        }
    }
    let (code, errors) = failed(&dir.path().join("socket"), &["check-config", "/nonexistent/sensor.toml"]);
    assert!(code == 3 && errors.contains("/nonexistent/sensor.toml"), "{code}: {errors}");
}

#[test]
fn an_interface_that_is_not_there_is_4() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let state = dir.path().display().to_string();
    let arguments = ["run", "--interface", "nosuch0", "--config", "/dev/null", "--state-dir", &state];
    let (code, errors) = failed(&dir.path().join("socket"), &arguments);
    assert_eq!(code, 4, "{errors}");
    // Who may not use BPF at all hears of that first.
    assert!(errors.contains("nosuch0") || errors.contains("CAP_BPF") || errors.contains("root"), "{errors}");
}

#[test]
fn help_version_and_completions_are_0_on_standard_output() {
    let nowhere = Path::new("/nonexistent/control.sock");
    for (arguments, words) in [
        (&["--help"][..], "Exit codes:"),
        (&["block", "--help"], "sensor block 203.0.113.0/24"),
        (&["--version"], "sensor 0."),
        (&["completions", "bash"], "complete -F _sensor"),
        (&["completions", "zsh"], "#compdef sensor"),
    ] {
        let output = sensor(nowhere, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(words), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let stub = Stub::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command.arg("--socket").arg(stub.socket()).args(["get", "--json"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn all_rules_come_page_by_page() {
    let stub = Stub::start();
    let text = shown(&stub, &["rules", "--all"]);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(stub.asked(), [Request::Rules { kind: None, limit: 10_000, offset: 0 }]);
}
