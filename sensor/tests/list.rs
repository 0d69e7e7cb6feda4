//! Lists of prefixes, from the command line and through the control socket: checked as a whole, carried out in parts.

mod stub;

use std::path::Path;
use std::process::{Command, Output};

use sensor::control::bulk::PART_LINES;
use sensor::control::client::{CallError, call};
use sensor::control::protocol::{Answer, Bulk, BulkDone, Deed, Request};
use serde_json::Value;
use stub::Stub;
use tokio::runtime::Runtime;

fn sensor(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command.arg("--socket").arg(socket).args(arguments).output().expect("the binary was built")
}

/// Standard output of a command that must succeed.
fn shown(stub: &Stub, arguments: &[&str]) -> String {
    let output = sensor(&stub.socket(), arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Exit code and standard error of a command that must print no answer.
fn failed(socket: &Path, arguments: &[&str]) -> (i32, String) {
    let output = sensor(socket, arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?} was killed"));
    (code, String::from_utf8(output.stderr).expect("it prints text"))
}

fn list(lines: &str) -> Bulk {
    Bulk {
        deed: Deed::Block,
        lines: lines.to_owned(),
        first_line: 1,
        reason: "a feed".to_owned(),
        ttl_s: Some(60),
        force: false,
        skip_bad: false,
        check: false,
    }
}

fn hand_over(stub: &Stub, list: Bulk) -> Result<BulkDone, CallError> {
    let runtime = Runtime::new().expect("a runtime can start");
    let answer = runtime.block_on(call(&stub.socket(), &Request::Bulk(list)))?.answer;
    let Answer::Bulk(done) = answer else { panic!("not what became of a list: {answer:?}") };
    Ok(*done)
}

#[test]
fn a_list_is_checked_in_parts_and_then_carried_out_in_parts() {
    let stub = Stub::start();
    let lines: Vec<String> = (0..2 * PART_LINES + 5).map(|n| format!("10.{}.{}.1", n / 256, n % 256)).collect();
    let done = hand_over(&stub, list(&lines.join("\n"))).expect("every line is good");
    assert_eq!((done.prefixes, done.applied, done.bad), (lines.len(), lines.len(), 0));
    let asked: Vec<(usize, usize, bool)> = stub
        .asked()
        .into_iter()
        .map(|request| {
            let Request::Bulk(part) = request else { panic!("{request:?}") };
            assert_eq!((part.reason.as_str(), part.ttl_s), ("a feed", Some(60)));
            (part.first_line, part.lines.lines().count(), part.check)
        })
        .collect();
    let parts = |check| [(1, PART_LINES, check), (1 + PART_LINES, PART_LINES, check), (1 + 2 * PART_LINES, 5, check)];
    assert_eq!(asked, [parts(true), parts(false)].concat());
}

#[test]
fn one_bad_line_and_nothing_is_done() {
    let stub = Stub::start();
    let refused = |list| match hand_over(&stub, list) {
        Err(CallError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let malformed = refused(list("203.0.113.9\n10.0.0.1/8\n"));
    assert_eq!(malformed.code, "invalid");
    assert!(malformed.error.contains("line 2: `10.0.0.1/8` has bits set"), "{malformed:?}");
    assert!(stub.asked().is_empty(), "the daemon was asked for nothing");
    let guarded = refused(list("# head\n203.0.113.9\n192.0.2.1 # the gateway\n"));
    assert_eq!(guarded.code, "refused");
    assert!(guarded.error.contains("line 3: 192.0.2.1 is the default gateway"), "{guarded:?}");
    assert!(guarded.hint.contains("--skip-bad"), "{guarded:?}");
    let asked = stub.asked();
    assert!(matches!(&asked[..], [Request::Bulk(Bulk { check: true, .. })]), "only checked: {asked:?}");
    let skipping = Bulk { skip_bad: true, ..list("203.0.113.9\n192.0.2.1\nnonsense\n") };
    let done = hand_over(&stub, skipping).expect("bad lines are left out");
    let bad: Vec<usize> = done.bad_lines.iter().map(|bad| bad.line).collect();
    assert_eq!((done.applied, done.bad, bad), (1, 2, vec![2, 3]));
}

#[test]
fn a_list_that_does_not_fit_is_refused_as_a_whole() {
    let stub = Stub::start();
    let lines = |count: usize| (0..count).map(|n| format!("10.{}.{}.1\n", n / 256, n % 256)).collect::<String>();
    for (count, code, error) in [
        (5_001, "refused", "5001 new rules do not fit: there is room for 5000"),
        ((1 << 17) + 1, "invalid", "131073 prefixes are more than the 131072 of one list"),
    ] {
        let lines = if count > 1 << 16 { lines(1 << 16) + &lines(count - (1 << 16)) } else { lines(count) };
        match hand_over(&stub, list(&lines)) {
            Err(CallError::Refused(refusal)) => {
                assert_eq!((refusal.code.as_str(), refusal.error.as_str()), (code, error));
            }
            other => panic!("{count}: {other:?}"),
        }
        assert!(stub.asked().iter().all(|request| matches!(request, Request::Bulk(Bulk { check: true, .. }))));
    }
}

/// A file with these lines.
fn file(lines: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), lines).expect("it can be written");
    file
}

#[test]
fn a_list_is_taken_from_a_file_and_counted() {
    let stub = Stub::start();
    let good = file("# a feed\n203.0.113.9\n198.51.100.0/24 # office\n");
    let path = good.path().to_str().expect("a plain path");
    assert_eq!(shown(&stub, &["block", "--file", path, "--ttl", "1d"]), "2 prefixes blocked\n");
    let Some(Request::Bulk(sent)) = stub.asked().pop() else { panic!("a list was sent") };
    assert_eq!((sent.ttl_s, sent.skip_bad, sent.check), (Some(86_400), false, false));
    let json = shown(&stub, &["unblock", "--file", path, "--json"]);
    let answer: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((&answer["deed"], &answer["applied"], &answer["bad"]), (&"unblock".into(), &2.into(), &0.into()));
    let bad = file("203.0.113.9\n203.0.113.0/33\n");
    let path = bad.path().to_str().expect("a plain path");
    let (code, error) = failed(&stub.socket(), &["allow", "--file", path]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("line 2: `/33` is not a prefix length"), "{error}");
    let skipped = shown(&stub, &["allow", "--file", path, "--skip-bad"]);
    assert!(skipped.starts_with("1 prefixes allowed\nwarning: 1 lines were bad and left out\n"), "{skipped}");
    let guarded = file("192.0.2.1\n");
    let path = guarded.path().to_str().expect("a plain path");
    let (code, error) = failed(&stub.socket(), &["block", "--file", path]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("line 1: 192.0.2.1 is the default gateway"), "{error}");
}

#[test]
fn a_list_and_a_prefix_exclude_each_other() {
    let stub = Stub::start();
    for arguments in [
        &["block"][..],
        &["block", "203.0.113.9", "--file", "list"],
        &["unblock", "--skip-bad", "203.0.113.9"],
        &["unblock", "203.0.113.9", "--skip-bad"],
        &["allow", "--remove", "--file", "list"],
        &["unblock", "--file", "/nonexistent/list"],
        &["rules", "--all", "--limit", "5"],
    ] {
        let (code, error) = failed(&stub.socket(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(stub.asked().is_empty());
    }
}
