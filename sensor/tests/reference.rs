//! The reference pages under `docs/reference/`: written from the same tables that drive the program.
//!
//! A stale page fails. `SENSOR_BLESS=1 cargo test -p sensor --test reference` writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use sensor::cli::command::command;
use sensor::control::route::ROUTES;
use sensor::exit::Code;
use sensor::kernel::size;
use sensor::metrics::{Metrics, SERIES_MAX};
use sensor::tunable::ROWS;

const RENEW: &str = "SENSOR_BLESS=1 cargo test -p sensor --test reference";

/// Holds a page to its text, or writes it if asked to.
fn hold(name: &str, title: &str, body: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    let page = format!("<!-- Generated: {RENEW} -->\n\n# {title}\n\n{}\n", body.trim_end());
    if std::env::var_os("SENSOR_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
        fs::write(&path, page).expect("the page can be written");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let difference = found.lines().zip(page.lines()).find(|(found, page)| found != page);
    assert!(found == page, "docs/reference/{name} is stale at {difference:?}; renew it: {RENEW}");
}

#[test]
fn tunables() {
    let mut body = String::from(
        "Thresholds that an operator may change while the sensor runs: `sensor set NAME VALUE` changes one at once, \
         `sensor get` shows them all, and the `[tunables]` table of the configuration file sets them at start and at \
         reload. All values are whole numbers.\n\n| name | default | range | unit | meaning |\n|---|--:|--:|---|---|\n",
    );
    for row in ROWS {
        let (low, high) = row.range;
        let _ = writeln!(body, "| `{}` | {} | {low} – {high} | {} | {} |", row.name, row.default, row.unit, row.help);
    }
    body.push_str(
        "\n## Capacity\n\nEntries of the kernel's tables, from the `[capacity]` table of the configuration file. They are \
         rounded up to powers of two and take effect at a start; tables of another capacity are not taken over. \
         `sensor status` states how full they are and what memory they take.\n\n\
         | name | default | range | meaning |\n|---|--:|--:|---|\n",
    );
    for row in size::ROWS {
        let (low, high) = row.range;
        let _ = writeln!(body, "| `{}` | {} | {low} – {high} | {} |", row.name, row.default, row.help);
    }
    hold("tunables.md", "Tunables", &body);
}

#[test]
fn exit_codes() {
    let mut body = String::from(
        "What the `sensor` command ends with. Errors go to standard error with a line that says what to do next; \
         answers go to standard output.\n\n| code | meaning |\n|--:|---|\n",
    );
    for (code, meaning) in Code::ALL {
        let _ = writeln!(body, "| {} | {meaning} |", code.number());
    }
    hold("exit-codes.md", "Exit codes", &body);
}

/// One metric as the page shows it.
#[derive(Default)]
struct Metric {
    help: String,
    kind: String,
    /// Values by label.
    labels: BTreeMap<String, Vec<String>>,
}

/// The metrics in the text a scraper gets, in its order.
fn metrics_in(text: &str) -> Vec<(String, Metric)> {
    let mut metrics: Vec<(String, Metric)> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            metrics.push((name.to_owned(), Metric { help: help.to_owned(), ..Metric::default() }));
            continue;
        }
        let Some((name, metric)) = metrics.last_mut() else { continue };
        if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut metric.kind);
            if kind == "counter" {
                name.push_str("_total");
            }
        } else if let Some((_, rest)) = line.split_once('{') {
            let (labels, _) = rest.split_once('}').expect("labels end");
            for (label, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
                let values = metric.labels.entry(label.to_owned()).or_default();
                values.push(value.trim_matches('"').to_owned());
            }
        }
    }
    metrics
}

#[test]
fn metrics() {
    let text = Metrics::new().exposition().text();
    let mut body = format!(
        "OpenMetrics on `/metrics` of the port given by `--metrics` (loopback by default); `/healthz` answers 200 while \
         the daemon ticks. The number of series is a constant of at most {SERIES_MAX}: no address, prefix or \
         fingerprint is ever a label. Counters go on when the daemon takes over the tables of an earlier run, and \
         never go backwards.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
    );
    for (name, metric) in metrics_in(&text) {
        let labels = metric.labels.into_iter().map(|(label, mut values)| {
            values.sort_unstable();
            match label.as_str() {
                // Differ from release to release, or are numbers in an order of their own.
                "version" | "abi" | "le" => format!("`{label}`"),
                _ => format!("`{label}`: {}", values.join(", ")),
            }
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        let _ = writeln!(body, "| `{name}` | {} | {labels} | {} |", metric.kind, metric.help);
    }
    hold("metrics.md", "Metrics", &body);
}

#[test]
fn cli() {
    let mut whole = command().term_width(100);
    // Gives the verbs their full names and the global flags.
    whole.build();
    let mut body = String::from(
        "Flags win over the configuration file. Every reading command takes `--json`: one object, `\"version\": 1`, \
         units at the ends of names; fields may be added within a version. Colour is left out off a terminal and \
         under `NO_COLOR`. The same answers come by `curl --unix-socket /run/sensor/control.sock \
         http://sensor/v1/status`.\n",
    );
    let _ = write!(body, "\n## sensor\n\n```text\n{}\n```\n", whole.render_long_help().to_string().trim_end());
    let verbs = whole.get_subcommands_mut().filter(|verb| verb.get_name() != "help");
    let mut describe = |name: &str, verb: &mut clap::Command| {
        let help = verb.render_long_help().to_string();
        let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        let _ = write!(body, "\n## sensor {name}\n\n```text\n{}\n```\n", help.trim_end());
    };
    for verb in verbs {
        let name = verb.get_name().to_owned();
        describe(&name, verb);
        for part in verb.get_subcommands_mut().filter(|part| part.get_name() != "help") {
            describe(&format!("{name} {}", part.get_name()), part);
        }
    }
    body.push_str(
        "\n## Routes of the control socket\n\nHTTP/1 with JSON. Parameters of a `GET` stand in the query, fields of a \
         `POST` in a JSON object; those in brackets may be left out, others are refused. A request that is not carried \
         out is answered with a 4xx or 5xx status and `{\"code\", \"error\", \"hint\"}`.\n\n\
         | route | parameters | |\n|---|---|---|\n",
    );
    for route in ROUTES {
        let _ = writeln!(body, "| `{} {}` | {} | {} |", route.method, route.path, route.fields, route.meaning);
    }
    let block = r#"curl --unix-socket /run/sensor/control.sock http://sensor/v1/block -d '{"prefix":"203.0.113.0/24","ttl_s":600}'"#;
    let _ = write!(body, "\n```sh\n{block}\n```\n");
    hold("cli.md", "Command line", &body);
}
