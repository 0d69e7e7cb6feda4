//! What is shipped for operators holds together: dashboard, alerts, runbooks, and the systemd unit.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use sensor_tests::query::{PromRule, panels, repository, rules, shipped};
use sensor_tests::require::{Tier, require_program};
use serde_json::Value;

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/grafana/sensor.json")).expect("the dashboard is JSON")
}

fn alerts() -> Vec<PromRule> {
    rules(&text("deploy/prometheus/alerts.yml")).expect("it is a rule file")
}

fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(repository().join("deploy/prometheus")).output();
    let output = output.expect("it is installed");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}:\n{said}");
}

/// The rules of Grafana's dashboard linter, in our words.
#[test]
fn the_dashboard_keeps_the_rules_of_good_dashboards() {
    let dashboard = dashboard();
    assert_eq!(dashboard["editable"], false);
    let variables = dashboard["templating"]["list"].as_array().expect("it has variables");
    let names: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap_or_default();
        assert!(!title.is_empty() && titles.insert(title), "a panel's title is missing or there twice: `{title}`");
        assert!(ids.insert(panel["id"].as_u64()), "`{title}` shares its id");
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.len() > 20 && description.ends_with('.'), "`{title}` is not described");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        assert!(!unit.is_empty(), "`{title}` has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "`{title}`");
        let targets = panel["targets"].as_array().expect("a panel has queries");
        assert!(!targets.is_empty(), "`{title}` asks nothing");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "`{title}`");
            let expression = target["expr"].as_str().unwrap_or_default();
            let selectors = expression.matches('{').count();
            let matched = expression.matches("job=~\"$job\",instance=~\"$instance\"}").count();
            assert!(selectors == matched && selectors > 0, "`{title}` leaves hosts unchosen: {expression}");
            let ranges = expression.matches('[').count();
            assert_eq!(ranges, expression.matches("[$__rate_interval]").count(), "`{title}`: {expression}");
        }
    }
}

#[test]
fn the_dashboard_has_no_overlapping_panels_and_all_of_its_rows() {
    let dashboard = dashboard();
    let all = dashboard["panels"].as_array().expect("it has panels");
    let rows: Vec<_> =
        all.iter().filter(|panel| panel["type"] == "row").filter_map(|row| row["title"].as_str()).collect();
    assert_eq!(rows, ["Attack at a glance", "Traffic", "Enforcement", "Evidence quality", "Health"]);
    let mut taken = BTreeSet::new();
    for panel in all {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("every panel has its place");
        assert!(at("x") + at("w") <= 24, "{} is too wide", panel["title"]);
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies over another panel", panel["title"]);
        }
    }
}

/// The metric names that an expression mentions.
fn mentioned(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
    words.filter(|word| word.starts_with("sensor_"))
}

#[test]
fn every_query_asks_for_metrics_that_exist() {
    let reference = text("docs/reference/metrics.md");
    for query in shipped(&repository(), "1m").expect("the files are there") {
        for name in mentioned(&query.expression) {
            let name = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(reference.contains(&format!("| `{name}` |")), "{}: there is no metric {name}", query.place);
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = text("deploy/grafana/sensor.json");
    let reference = text("docs/reference/metrics.md");
    let names = reference.lines().filter_map(|line| line.strip_prefix("| `sensor_")?.split('`').next());
    let mut seen = 0;
    for name in names {
        assert!(dashboard.contains(&format!("sensor_{name}")), "sensor_{name} is on no panel");
        seen += 1;
    }
    assert!(seen > 30, "the reference lists {seen} metrics only");
}

#[test]
fn every_alert_is_complete() {
    for alert in alerts() {
        let name = alert.alert.as_deref().expect("the file holds alerts only");
        let severity = alert.labels.get("severity").map(String::as_str).unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: severity `{severity}`");
        for key in ["summary", "description"] {
            assert!(alert.annotations.get(key).is_some_and(|text| text.len() > 20), "{name} has no {key}");
        }
        let runbook = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(alert.annotations.get("runbook_url"), Some(&runbook), "{name}");
    }
}

#[test]
fn alerts_and_runbooks_hold_together_both_ways() {
    let runbooks = text("docs/runbooks.md");
    let sections: Vec<_> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let names: BTreeSet<_> = alerts.iter().filter_map(|alert| alert.alert.as_deref()).collect();
    assert_eq!(names, sections.iter().copied().collect(), "alerts on the left, sections on the right");
    for section in runbooks.split("\n## ").skip(1) {
        for part in ["**Means.**", "**Look at.**", "**Do.**", "**Over when**"] {
            assert!(section.contains(part), "{part} is missing in {}", section.lines().next().unwrap_or_default());
        }
    }
}

#[test]
fn every_alert_has_a_test_that_fires_and_one_that_is_silent() {
    let tests: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&text("deploy/prometheus/alerts_test.yml")).expect("it is YAML");
    let mut fires = BTreeSet::new();
    let mut silent = BTreeSet::new();
    for test in tests["tests"].as_sequence().expect("it holds tests") {
        for case in test["alert_rule_test"].as_sequence().expect("each test has cases") {
            let name = case["alertname"].as_str().expect("a case names its alert").to_owned();
            let expected = case["exp_alerts"].as_sequence().expect("a case says what it expects");
            if expected.is_empty() {
                silent.insert(name)
            } else {
                fires.insert(name)
            };
        }
    }
    let names: BTreeSet<_> = alerts().into_iter().filter_map(|alert| alert.alert).collect();
    assert_eq!(fires, names);
    assert_eq!(silent, names);
}

#[test]
fn promtool_takes_rules_configuration_and_every_alert_test() {
    if !require_program(Tier::Net, "promtool") {
        return;
    }
    run("promtool", &["check", "rules", "alerts.yml", "rules.yml"]);
    run("promtool", &["check", "config", "prometheus.yml"]);
    run("promtool", &["test", "rules", "alerts_test.yml"]);
}

#[test]
fn the_unit_is_hardened() {
    let unit = text("deploy/systemd/sensor.service");
    assert!(unit.contains("\nCapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN CAP_PERFMON\n"), "more than it needs");
    if !require_program(Tier::Net, "systemd-analyze") {
        return;
    }
    // Tenths of the exposure level; the program itself need not be installed for it.
    run("systemd-analyze", &["security", "--offline=yes", "--threshold=20", "--no-pager", "../systemd/sensor.service"]);
}
