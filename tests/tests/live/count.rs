//! What clients sent is what the sensor counts: packets, connections attempted and made, requests.

use std::net::IpAddr;
use std::time::Duration;

use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, TLS_PORT, user, user_v6};
use sensor_tests::lab::sensor::SensorOptions;
use sensor_tests::lab::{Lab, LabPlan, Role};
use sensor_tests::live::{Live, possible};
use sensor_tests::model::api::Pace;
use sensor_tests::stage::start_model;
use serde_json::Value;

/// Requests of one client; no round number, so that nothing else is mistaken for it.
const REQUESTS: usize = 23;

fn plain(path: &str) -> String {
    format!("http://{SERVER_V4}:{PLAIN_PORT}/{path}")
}

fn urls(base: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{base}{number}")).collect()
}

/// Fetches all URLs by one process of curl, over one connection, and gives the packets that took.
fn fetch(live: &Live, from: impl Into<IpAddr>, flags: &[&str], urls: &[String]) -> u64 {
    let from = from.into();
    let arguments: Vec<&str> = flags.iter().copied().chain(urls.iter().map(String::as_str)).collect();
    live.packets_of(|| {
        let output = live.curl(from, &arguments).expect("curl is installed");
        let (body, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(body, "served\n".repeat(urls.len()), "{from}: {error}");
    })
    .expect("everything sent is counted")
}

/// Asserts what is known of a source.
#[track_caller]
fn expect(live: &Live, from: impl Into<IpAddr>, packets: u64, connections: usize, requests: usize) {
    let source = live.source(from).expect("the source is known");
    let number = |key: &str| source[key].as_u64().expect("a number");
    let found = ["packets", "syns", "connections", "requests", "dropped"].map(number);
    let connections = connections as u64;
    assert_eq!(found, [packets, connections, connections, requests as u64, 0], "{source}");
}

fn total(live: &Live, key: &str) -> u64 {
    live.ask(&["status"]).expect("the sensor answers")[key].as_u64().expect("a number")
}

#[test]
fn requests_by_curl_are_counted_exactly() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let kept = fetch(&live, user(0), &[], &urls(&plain("kept"), REQUESTS));
    expect(&live, user(0), kept, 1, REQUESTS);

    let mut apart = 0;
    for url in urls(&plain("apart"), 7) {
        apart += fetch(&live, user(1), &[], &[url]);
    }
    expect(&live, user(1), apart, 7, 7);

    let six = format!("http://[{SERVER_V6}]:{PLAIN_PORT}/six");
    let packets = fetch(&live, user_v6(2), &[], &urls(&six, REQUESTS + 1));
    expect(&live, user_v6(2), packets, 1, REQUESTS + 1);

    let other = fetch(&live, user_v6(1), &[], &urls(&six, 2));
    expect(&live, user_v6(1), other, 1, 2);

    let heads =
        fetch(&live, user(3), &["--header", &format!("X-Long: {}", "x".repeat(5_000))], &urls(&plain("long"), 5));
    expect(&live, user(3), heads, 1, 5);

    expect(&live, user(0), kept, 1, REQUESTS);
    assert_eq!(total(&live, "requests"), (REQUESTS + 7 + REQUESTS + 1 + 2 + 5) as u64);
    assert_eq!(total(&live, "connections"), 1 + 7 + 1 + 1 + 1);
}

#[test]
fn requests_inside_tls_are_estimated_without_error_when_they_come_one_by_one() {
    if !possible(&[]) {
        return;
    }
    let live = Live::start().expect("the lab starts");
    let four = urls(&format!("https://{SERVER_V4}:{TLS_PORT}/tls"), REQUESTS);
    let six = urls(&format!("https://[{SERVER_V6}]:{TLS_PORT}/tls"), 5);
    for (from, flags, urls) in [
        (IpAddr::from(user(0)), ["--http1.1", "--tlsv1.3"].as_slice(), four.as_slice()),
        (user(1).into(), &["--http1.1", "--tls-max", "1.2"], &four),
        (user_v6(0).into(), &["--http1.1"], &six),
        (user(2).into(), &["--http1.1"], &four[..1]),
    ] {
        let packets = fetch(&live, from, flags, urls);
        expect(&live, from, packets, 1, urls.len());
    }
}

/// Python's and Node's own clients, one connection each: `client SOURCE SERVER PORT METHOD PATH COUNT`.
const PYTHON: &str = r#"
import http.client, sys
source, server, port, method, path, count = sys.argv[1:]
connection = http.client.HTTPConnection(server, int(port), timeout=20, source_address=(source, 0))
body = '{"model": "lab-1", "stream": true, "max_tokens": 5, "messages": [{"role": "user", "content": "GET / HTTP/1.1"}]}'
for number in range(int(count)):
    if method == "POST":
        connection.request(method, path, body, {"Content-Type": "application/json"})
    else:
        connection.request(method, path + str(number))
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200 and text, (answer.status, text)
"#;
const NODE: &str = r#"
const http = require('node:http');
const [source, host, port, method, path, count] = process.argv.slice(1);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const body = JSON.stringify({
  model: 'lab-1', stream: true, max_tokens: 5, messages: [{ role: 'user', content: 'POST / HTTP/1.1' }] });
const once = () => new Promise((resolve, reject) => {
  const call = http.request({ host, port, localAddress: source, agent, method, path, timeout: 20000,
    headers: method === 'POST' ? { 'Content-Type': 'application/json' } : {} }, (answer) => {
    let length = 0;
    answer.on('data', (data) => { length += data.length; });
    answer.on('end', () => (answer.statusCode === 200 && length ? resolve() : reject(answer.statusCode)));
  });
  call.on('error', reject);
  call.end(method === 'POST' ? body : undefined);
});
(async () => { for (let n = 0; n < Number(count); n += 1) await once(); agent.destroy(); })()
  .catch((error) => { console.error(error); process.exit(1); });
"#;

fn scripts(live: &Live, method: &str, path: &str) {
    for (number, program, flag, script) in [(4, "python3", "-c", PYTHON), (5, "node", "-e", NODE)] {
        let (from, server, port) = (user(number).to_string(), SERVER_V4.to_string(), PLAIN_PORT.to_string());
        let count = REQUESTS.to_string();
        let arguments = [flag, script, &from, &server, &port, method, path, &count];
        let packets = live.packets_of(|| {
            let output = live.lab.output(Role::Users, program, &arguments).expect("the client is installed");
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        });
        expect(live, user(number), packets.expect("everything sent is counted"), 1, REQUESTS);
    }
}

#[test]
fn requests_by_python_and_node_to_nginx_are_counted_exactly() {
    if possible(&["python3", "node"]) {
        scripts(&Live::start().expect("the lab starts"), "GET", "/script");
    }
}

#[test]
fn streamed_completions_by_python_and_node_are_counted_exactly() {
    if !possible(&["python3", "node"]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let pace = Pace { prefill: Duration::from_millis(1), token: Duration::from_millis(1) };
    let model = start_model(&lab, pace).expect("the model server starts");
    let options = SensorOptions::built().expect("the sensor is built");
    let live = Live::serving(lab, model, options).expect("the sensor starts");
    scripts(&live, "POST", "/v1/chat/completions");
}

#[test]
fn frames_longer_than_a_page_are_counted_in_native_mode() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    for (role, interface) in
        [(Role::Server, "eth0"), (Role::Net, "server"), (Role::Net, "users"), (Role::Users, "eth0")]
    {
        let output = lab.output(role, "ip", &["link", "set", interface, "mtu", "9000"]).expect("ip is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut options = SensorOptions::built().expect("the sensor is built");
    options.flags = vec!["--mode".to_owned(), "native".to_owned()];
    let live = Live::with(lab, options).expect("the sensor attaches to an interface with jumbo frames");
    let status = live.ask(&["status"]).expect("the sensor answers");
    assert_eq!((&status["xdp_mode"], &status["fallback"]), (&Value::from("native"), &Value::Null));

    // The bodies look like requests, and are none.
    let body = live.lab.dir().join("body");
    std::fs::write(&body, "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n".repeat(8_000)).expect("the lab's folder is there");
    let data = format!("@{}", body.display());
    let packets = fetch(&live, user(6), &["--data-binary", &data], &urls(&plain("jumbo"), 3));
    expect(&live, user(6), packets, 1, 3);
    let source = live.source(user(6)).expect("the source is known");
    let bytes = source["bytes"].as_u64().expect("a number");
    assert!(bytes / packets > 4_096, "{bytes} bytes in {packets} frames: none is longer than a page");
    assert_eq!(status["lost"]["connections"], 0);
}
