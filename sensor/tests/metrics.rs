//! The metrics as a scraper sees them: a constant number of series, every counter in its place, no address anywhere,
//! text that a strict parser takes.

mod skip;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use sensor::metrics::tick::{Campaigns, Fill, Rules, Tables};
use sensor::metrics::{Metrics, SERIES_MAX, Tick, serve};
use sensor_common::counter::{Counter, Group};
use skip::skip;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Series by name and labels, with their values.
fn series(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in `{line}`"));
        assert!(found.insert(name.to_owned(), value.to_owned()).is_none(), "`{name}` is there twice");
    }
    found
}

/// A tick in which every fact differs from every other.
fn busy(counters: &[u64]) -> Tick<'_> {
    let fill = |entries| Fill { entries, capacity: entries + 1000 };
    Tick {
        counters,
        tables: Tables {
            sources: fill(101),
            records: fill(109),
            connections: fill(110),
            attempts: fill(111),
            networks: fill(112),
            allow: fill(102),
            deny: fill(103),
            classes: fill(104),
            tiered: fill(105),
            engine_sources: fill(106),
            engine_networks: fill(107),
            engine_cohorts: fill(108),
        },
        sources_evicted: 201,
        kernel_memory_bytes: 214,
        mirror_memory_bytes: 215,
        campaigns: Campaigns { open: 202, closed: 203, opened: 204 },
        rules: Rules { allow: 205, deny: 206, class: 207 },
        tick_s: 0.02,
        native: false,
        native_fallback: true,
        enforcing: false,
        enforce_configured: true,
        learning_calm_s: 208,
        learning_needed_s: 209,
        config_loaded_at_unix_s: 210,
        config_failures: 211,
        drift_repaired: 212,
        store_errors: 213,
    }
}

/// Counter values that tell their index.
fn distinct() -> Vec<u64> {
    (0..u64::from(Counter::COUNT)).map(|index| 10_000 + index).collect()
}

#[test]
fn every_counter_of_the_packet_path_has_its_series() {
    let counters = distinct();
    let mut metrics = Metrics::new();
    metrics.record(&busy(&counters));
    let series = series(&metrics.exposition().text());
    for counter in Counter::ALL {
        let name = match counter.group() {
            Group::Reject => format!("sensor_rejected_frames_total{{reason=\"{}\"}}", counter.name()),
            Group::Drop => format!("sensor_dropped_frames_total{{reason=\"{}\"}}", counter.name()),
            Group::WouldDrop => format!("sensor_would_drop_frames_total{{reason=\"{}\"}}", counter.name()),
            Group::Unknown => format!("sensor_unknown_evidence_total{{reason=\"{}\"}}", counter.name()),
            Group::Lost => format!("sensor_lost_total{{kind=\"{}\"}}", counter.name()),
            Group::Total => match counter.name() {
                "requests_exact" => "sensor_requests_total{counting=\"exact\"}".to_owned(),
                "requests_estimated" => "sensor_requests_total{counting=\"estimated\"}".to_owned(),
                "allowed" => "sensor_allowed_frames_total".to_owned(),
                "untracked" => "sensor_untracked_segments_total".to_owned(),
                name => format!("sensor_{name}_total"),
            },
        };
        let expected = counters[counter.index() as usize].to_string();
        assert_eq!(series.get(&name), Some(&expected), "{name}");
    }
}

#[test]
fn every_fact_of_a_tick_arrives() {
    let counters = distinct();
    let mut metrics = Metrics::new();
    metrics.record(&busy(&counters));
    let series = series(&metrics.exposition().text());
    let denied = counters[Counter::DropDeny.index() as usize] + counters[Counter::WouldDropDeny.index() as usize];
    for (name, expected) in [
        ("sensor_map_entries{map=\"deny\"}", 103),
        ("sensor_map_entries{map=\"records\"}", 109),
        ("sensor_map_entries{map=\"connections\"}", 110),
        ("sensor_map_entries{map=\"attempts\"}", 111),
        ("sensor_map_capacity{map=\"networks\"}", 1112),
        ("sensor_kernel_memory_bytes", 214),
        ("sensor_mirror_memory_bytes", 215),
        ("sensor_map_capacity{map=\"deny\"}", 1103),
        ("sensor_map_entries{map=\"engine_cohorts\"}", 108),
        ("sensor_map_entries{map=\"tiered\"}", 105),
        ("sensor_sources_tracked", 101),
        ("sensor_sources_evicted_total", 201),
        ("sensor_campaigns{state=\"open\"}", 202),
        ("sensor_campaigns{state=\"closed\"}", 203),
        ("sensor_campaigns_opened_total", 204),
        ("sensor_rules{kind=\"allow\"}", 205),
        ("sensor_rules{kind=\"deny\"}", 206),
        ("sensor_rules{kind=\"class\"}", 207),
        ("sensor_rule_hits_total{kind=\"deny\"}", denied),
        ("sensor_tick_seconds_count", 1),
        ("sensor_tick_seconds_bucket{le=\"0.01\"}", 0),
        ("sensor_tick_seconds_bucket{le=\"0.025\"}", 1),
        ("sensor_attach_mode{mode=\"native\"}", 0),
        ("sensor_attach_mode{mode=\"generic\"}", 1),
        ("sensor_native_fallback", 1),
        ("sensor_enforcing", 0),
        ("sensor_enforce_configured", 1),
        ("sensor_learning_calm_seconds", 208),
        ("sensor_learning_needed_seconds", 209),
        ("sensor_config_reload_success_timestamp_seconds", 210),
        ("sensor_config_reload_failures_total", 211),
        ("sensor_kernel_drift_repaired_total", 212),
        ("sensor_store_errors_total", 213),
    ] {
        assert_eq!(series.get(name), Some(&expected.to_string()), "{name}");
    }
}

#[test]
fn totals_go_on_when_the_kernels_counters_begin_anew() {
    let mut metrics = Metrics::new();
    metrics.record(&busy(&distinct()));
    let restarted = vec![7; Counter::COUNT as usize];
    metrics.record(&busy(&restarted));
    let series = series(&metrics.exposition().text());
    let frames = 10_000 + u64::from(Counter::Frames.index()) + 7;
    assert_eq!(series["sensor_frames_total"], frames.to_string());
    assert_eq!(series["sensor_sources_evicted_total"], "201", "a total that stood still");
}

#[test]
fn the_number_of_series_is_a_constant_below_the_ceiling() {
    let mut metrics = Metrics::new();
    let before: BTreeSet<_> = series(&metrics.exposition().text()).into_keys().collect();
    for _ in 0..3 {
        metrics.record(&busy(&distinct()));
    }
    let after: BTreeSet<_> = series(&metrics.exposition().text()).into_keys().collect();
    assert_eq!(before, after, "a tick made or took series");
    assert!(after.len() <= SERIES_MAX, "{} series, at most {SERIES_MAX} are promised", after.len());
    let labels = after.iter().filter_map(|name| name.split_once('{')).map(|(_, labels)| labels);
    let names: BTreeSet<_> =
        labels.flat_map(|l| l.split(',')).filter_map(|l| l.split_once('=')).map(|(n, _)| n).collect();
    let known = ["abi", "counting", "kind", "le", "map", "mode", "reason", "state", "version"];
    assert_eq!(names, BTreeSet::from(known), "a new label: is its set of values closed?");
}

/// Rules of OpenMetrics 1.0 that can be told without a parser.
#[test]
fn the_text_is_openmetrics() {
    let mut metrics = Metrics::new();
    metrics.record(&busy(&distinct()));
    let text = metrics.exposition().text();
    assert!(text.ends_with("# EOF\n"));
    let mut family = (String::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("no help in `{line}`"));
            assert!(words.len() > 10 && words.ends_with('.') && !words.ends_with(".."), "thin help: `{line}`");
            assert!(name.starts_with("sensor_") && !name.contains("__"), "{name}");
            name.clone_into(&mut family.0);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("no type in `{line}`"));
            assert_eq!(name, family.0, "type and help belong together");
            kind.clone_into(&mut family.1);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let suffix = name.strip_prefix(family.0.as_str()).unwrap_or_else(|| panic!("`{line}` outside its family"));
            match family.1.as_str() {
                "counter" => assert_eq!(suffix, "_total", "{line}"),
                "gauge" => assert_eq!(suffix, "", "{line}"),
                "histogram" => assert!(["_sum", "_count", "_bucket"].contains(&suffix), "{line}"),
                other => panic!("type {other} in `{line}`"),
            }
        }
    }
}

/// The reference parser of OpenMetrics; of the tier whose programs the set-up brings.
#[test]
fn the_reference_parser_takes_the_text() {
    const PARSE: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(sum(len(f.samples) for f in parse(sys.stdin.read())))";
    let probe = Command::new("python3").args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        skip("net", "Python has no prometheus_client (`cargo xtask test` brings it)");
        return;
    }
    let mut metrics = Metrics::new();
    metrics.record(&busy(&distinct()));
    let text = metrics.exposition().text();
    let mut parser = Command::new("python3")
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python answered a moment ago");
    parser.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("the parser reads all");
    let output = parser.wait_with_output().expect("the parser ends");
    assert!(output.status.success(), "the parser refused:\n{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), series(&text).len().to_string());
}

async fn fetch(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is bound");
    let request = format!("GET {path} HTTP/1.1\r\nHost: sensor\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the server answers");
    answer
}

#[tokio::test]
async fn the_port_serves_metrics_and_health() {
    let mut metrics = Metrics::new();
    let listener = serve::bind(([127, 0, 0, 1], 0).into()).await.expect("some port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let server = tokio::spawn(serve::serve(listener, metrics.exposition()));

    let sick = fetch(port, "/healthz").await;
    assert!(sick.starts_with("HTTP/1.1 503 ") && sick.ends_with(r#"{"healthy":false,"last_tick_s":null}"#), "{sick}");
    metrics.record(&busy(&distinct()));
    let well = fetch(port, "/healthz").await;
    assert!(well.starts_with("HTTP/1.1 200 ") && well.contains(r#"{"healthy":true,"#), "{well}");
    let scraped = fetch(port, "/metrics").await;
    let type_line = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(scraped.contains(type_line) && scraped.ends_with("# EOF\n"), "{scraped}");
    assert!(fetch(port, "/").await.starts_with("HTTP/1.1 404 "));

    let failure = serve::bind(([127, 0, 0, 1], port).into()).await.expect_err("the port is taken");
    assert_eq!(failure.code.number(), 1);
    assert!(failure.to_string().contains("--metrics"), "{failure}");
    server.abort();
}
