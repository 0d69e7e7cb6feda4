//! A real Prometheus scrapes the real daemon while real clients talk to a real server: every query of the dashboard,
//! every alert and every recording rule answers with data, and counts are the clients' own.

use std::time::Duration;

use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, TLS_PORT, user};
use sensor_tests::lab::sensor::{METRICS, Sensor, SensorOptions};
use sensor_tests::lab::{Lab, LabPlan, Role, wait_until};
use sensor_tests::model::authority_file;
use sensor_tests::prometheus::Prometheus;
use sensor_tests::query::{repository, shipped};
use sensor_tests::require::{Tier, require, require_program};
use sensor_tests::stage::start_nginx;

/// Scrapes come once a second; rates need two.
const DEADLINE: Duration = Duration::from_secs(60);
const REQUESTS: usize = 7;

fn everything_is_here() -> bool {
    require(Tier::Net)
        && require(Tier::Bpf)
        && ["prometheus", "nginx", "curl"].iter().all(|program| require_program(Tier::Net, program))
}

/// Sends one request by curl from a user of the lab.
fn fetch(lab: &Lab, from: usize, url: &str) {
    let from = user(from).to_string();
    let ca = authority_file(&lab.dir()).display().to_string();
    let arguments = ["--silent", "--fail", "--max-time", "10", "--cacert", &ca, "--interface", &from, url];
    let output = lab.output(Role::Users, "curl", &arguments).expect("curl is installed");
    assert!(output.status.success(), "curl {url}: {}", output.status);
}

#[test]
fn every_shipped_query_answers_with_data_and_counts_are_the_clients_own() {
    if !everything_is_here() {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let _nginx = start_nginx(&lab).expect("nginx starts");
    let options = SensorOptions::built().expect("the sensor is built");
    let mut sensor = Sensor::start(&lab, options).expect("the sensor starts");
    let prometheus = Prometheus::start(&lab, METRICS).expect("Prometheus starts");
    for number in 0..REQUESTS {
        fetch(&lab, number % 3, &format!("http://{SERVER_V4}:{PLAIN_PORT}/plain"));
    }
    fetch(&lab, 3, &format!("https://{SERVER_V4}:{TLS_PORT}/tls"));

    for query in shipped(&repository(), "10s").expect("the files are there") {
        let mut latest = None;
        let answered = wait_until(DEADLINE, || {
            let values = prometheus.query(&lab, &query.expression);
            let good = values.as_ref().is_ok_and(|values| !values.is_empty() && values.iter().all(|v| v.is_finite()));
            latest = Some(values);
            good
        });
        assert!(answered, "{}: `{}` answers {latest:?}\n{}", query.place, query.expression, prometheus.log_tail(5));
    }

    for (expression, expected) in [
        ("sensor_requests_total{counting=\"exact\"}", REQUESTS as f64),
        ("sensor_connections_total", (REQUESTS + 1) as f64),
        ("sum(sensor_dropped_frames_total)", 0.0),
        ("sum(sensor_lost_total)", 0.0),
        ("sensor_enforcing", 1.0),
        ("sensor_attach_mode{mode=\"native\"}", 1.0),
    ] {
        let mut latest = Vec::new();
        let right = wait_until(DEADLINE, || {
            latest = prometheus.query(&lab, expression).expect("Prometheus answers");
            latest == [expected]
        });
        assert!(right, "{expression} is {latest:?}, not {expected}");
    }

    let mut rules = Vec::new();
    let healthy = wait_until(DEADLINE, || {
        rules = prometheus.rules(&lab).expect("Prometheus answers");
        !rules.is_empty() && rules.iter().all(|(_, health)| health == "ok")
    });
    assert!(healthy, "rules that do not evaluate: {rules:?}");

    sensor.stop();
    sensor.detach(&lab).expect("the sensor detaches");
    lab.end().expect("nothing stays behind");
}
