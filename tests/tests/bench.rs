//! The benchmark works: every part of it, with so few frames that its figures mean nothing.

use sensor_tests::bench::target::TARGETS;
use sensor_tests::bench::{BenchOptions, Progress, docs, play};
use sensor_tests::require::{Tier, require, require_program};
use serde_json::Value;

/// Cases that together have every way, floors, peers and connections.
const CASES: &str = "flood_1,established_1,to_host_64k,daemon";

fn options(cases: &str) -> BenchOptions {
    BenchOptions { case: Some(cases.to_owned()), tiny: true, ..BenchOptions::default() }
}

fn possible() -> bool {
    require(Tier::Net) && require(Tier::Bpf) && require_program(Tier::Net, "ethtool")
}

fn measured(cases: &str) -> Value {
    let report = play(&options(cases), &mut Progress::silent()).expect("the benchmark runs");
    serde_json::to_value(report).expect("a report is JSON")
}

#[test]
fn the_result_has_every_key() {
    if !possible() {
        return;
    }
    let report = measured(CASES);
    for key in ["kernel", "cpu", "commit", "mitigations"] {
        assert!(report["machine"][key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {report}");
    }
    let ratios = report["ratios"].as_object().expect("an object");
    let mut wanted: Vec<&str> = TARGETS.iter().map(|target| target.key).collect();
    wanted.sort_unstable();
    assert_eq!(ratios.keys().map(String::as_str).collect::<Vec<_>>(), wanted);
    for key in ["track_minus_floor_ns", "heavy_count_error", "snapshot_1m_ms", "tick_1m_ms"] {
        assert!(ratios[key].is_number(), "{key}: {}", report["skipped"]);
    }
    assert!(ratios["deny_vs_xdp_filter"].is_null(), "it was not asked for");
    let rows = report["rows"].as_array().expect("a list");
    for way in ["test_run", "live", "live, two cores", "live, attached"] {
        let ours = rows.iter().find(|row| row["parameters"]["way"] == way && row["subject"] == "sensor");
        let row = ours.unwrap_or_else(|| panic!("no row of the sensor by {way}"));
        assert!(row["ns_per_packet"].as_f64().is_some_and(|ns| ns > 0.0), "{row}");
        assert!(row["mpps"].as_f64().is_some_and(|mpps| mpps > 0.0), "{row}");
    }
    assert!(rows.iter().all(|row| row["ns_per_packet"].is_number() || row["skipped"].is_string()));
    assert!(report["daemon"]["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{report}");
}

#[test]
fn a_server_is_measured_with_and_without_the_sensor() {
    if !possible() || !["nginx", "wrk"].iter().all(|program| require_program(Tier::Net, program)) {
        return;
    }
    let report = measured("nginx");
    assert!(report["ratios"]["nginx_overhead"].is_number(), "{}", report["skipped"]);
    let served = report["served"].as_array().expect("a list");
    for server in ["nginx", "stream"] {
        for program in ["no program", "bare XDP_PASS", "sensor"] {
            let rows: Vec<_> =
                served.iter().filter(|row| row["server"] == server && row["program"] == program).collect();
            assert_eq!(rows.len(), 2, "{server}, {program}: quiet and flooded");
            assert!(rows.iter().all(|row| row["requests_per_s"].as_f64().is_some_and(|rate| rate > 0.0)));
        }
    }
}

#[test]
fn the_page_has_every_part() {
    if !possible() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("sensor-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let page = folder.join("performance.md");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md"), &page).expect("the page is there");
    let report = play(&options("flood_1"), &mut Progress::silent()).expect("the benchmark runs");
    docs::write(&page, &report).expect("every part has its place");
    let text = std::fs::read_to_string(&page).expect("it was written");
    assert!(text.contains("| `flood_1` | sensor |"), "{text}");
    assert!(folder.join("performance/flood.svg").exists());
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
