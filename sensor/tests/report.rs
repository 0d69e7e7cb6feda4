//! `sensor campaign`: reports to hand on, verdicts, and what becomes of wrong ones. The daemon is a stub.

mod stub;

use std::process::{Command, Output};

use sensor::control::protocol::{Request, Verdict};
use serde_json::Value;
use stub::Stub;

fn sensor(stub: &Stub, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor"));
    command.arg("--socket").arg(stub.socket()).arg("campaign").args(arguments);
    command.output().expect("the command can be started")
}

fn shown(stub: &Stub, arguments: &[&str]) -> String {
    let output = sensor(stub, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("answers are text")
}

#[test]
fn a_report_is_markdown_with_plots_and_hides_addresses() {
    let stub = Stub::start();
    let text = shown(&stub, &["export", "7"]);
    assert!(text.starts_with("# Campaign 7 on port 443\n"), "{text}");
    assert!(text.contains("<svg ") && text.contains("| 203.0.113.0/24 |") && !text.contains("203.0.113.7"), "{text}");
    assert!(shown(&stub, &["export", "7", "--unmasked"]).contains("| 203.0.113.7/32 |"));
}

#[test]
fn a_report_in_json_is_the_versioned_answer() {
    let stub = Stub::start();
    for arguments in [&["export", "7", "--json"][..], &["export", "7", "--format", "json", "--unmasked"]] {
        let text = shown(&stub, arguments);
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!((&answer["version"], &answer["campaign"]["id"]), (&1.into(), &7.into()));
        assert_eq!(answer["masked"], arguments.len() == 3);
        assert!(answer["history"].as_array().is_some_and(|points| points.len() == 6), "{text}");
    }
}

#[test]
fn verdicts_become_requests_and_are_acknowledged() {
    let stub = Stub::start();
    assert_eq!(shown(&stub, &["confirm", "7"]), "campaign 7 is confirmed\n");
    assert_eq!(shown(&stub, &["dismiss", "7", "--note", "a partner"]), "campaign 7 is dismissed\n");
    let judge = |verdict, note: &str| Request::Judge { id: 7, verdict, note: note.to_owned() };
    assert_eq!(stub.asked(), [judge(Verdict::Confirm, ""), judge(Verdict::Dismiss, "a partner")]);
    let answer: Value = serde_json::from_str(&shown(&stub, &["confirm", "7", "--json"])).expect("one object");
    assert_eq!(answer["version"], 1);
}

#[test]
fn what_is_not_there_ends_with_1_and_wrong_usage_with_2() {
    let stub = Stub::start();
    for (arguments, code, words) in [
        (&["export", "404"][..], 1, "`sensor campaigns --all` lists them"),
        (&["confirm", "404"], 1, "there is no campaign 404"),
        (&["dismiss", "seven"], 2, "seven"),
        (&["export", "7", "--format", "pdf"], 2, "md, json"),
        (&["export", "7", "--format", "md", "--json"], 2, "--json"),
        (&["confirm", "7", "--note", "a\nb"], 2, "control characters"),
    ] {
        let output = sensor(&stub, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
}
