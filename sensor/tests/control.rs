//! The control socket end to end: every request through client and server and back, a socket that is taken, stale or
//! foreign, and input nobody should send.

mod stub;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use sensor::control::client::{CallError, call};
use sensor::control::protocol::{Answer, BulkDone, Deed, Request, SortKey, VERSION, Verdict};
use sensor::control::route::ROUTES;
use sensor::control::server;
use sensor::evidence::Recent;
use stub::Stub;
use tokio::runtime::Runtime;

fn prefix() -> String {
    "203.0.113.0/24".to_owned()
}

#[test]
fn every_request_arrives_as_it_was_sent_and_its_answer_comes_back() {
    let stub = Stub::start();
    let runtime = Runtime::new().expect("a runtime can start");
    let name = || Some("relay_gap_ms".to_owned());
    let note = "ordinary + strange & = ü".to_owned();
    for request in [
        Request::Status,
        Request::Sources { limit: 7, sort: SortKey::LastSeen, tier: Some("big & bold".to_owned()) },
        Request::Sources { limit: 1, sort: SortKey::Bytes, tier: None },
        Request::Connections { limit: 5, after: None, source: None },
        Request::Connections { limit: 10_000, after: Some(u64::MAX), source: Some("2001:db8::/48".to_owned()) },
        Request::Campaigns { all: true },
        Request::Campaigns { all: false },
        Request::Rules { kind: None, limit: 100, offset: 0 },
        Request::Rules { kind: Some("deny".to_owned()), limit: 7, offset: 20 },
        Request::Explain { subject: "2001:db8::/48".to_owned() },
        Request::Explain { subject: "7".to_owned() },
        Request::Report { id: 7, unmasked: false },
        Request::Report { id: 7, unmasked: true },
        Request::Judge { id: 7, verdict: Verdict::Confirm, note: note.clone() },
        Request::Judge { id: 7, verdict: Verdict::Dismiss, note: String::new() },
        Request::Allow { prefix: prefix(), note, ttl_s: Some(60) },
        Request::Allow { prefix: prefix(), note: String::new(), ttl_s: None },
        Request::Disallow { prefix: prefix() },
        Request::Block { prefix: prefix(), reason: "abuse".to_owned(), ttl_s: 5, force: true },
        Request::Unblock { prefix: prefix() },
        Request::Get { name: name() },
        Request::Get { name: None },
        Request::Set { name: "relay_gap_ms".to_owned(), value: 30 },
    ] {
        let answered = runtime.block_on(call(&stub.socket(), &request));
        let answered = answered.unwrap_or_else(|error| panic!("{request:?}: {error:?}"));
        assert_eq!(stub.asked(), std::slice::from_ref(&request));
        assert_eq!(answered.version, VERSION);
        let scripted = stub::answer(&request).expect("the script answers").expect("the script does not refuse");
        assert_eq!(answered.answer, scripted, "{request:?}");
    }
}

#[test]
fn refusals_and_a_stopping_daemon_are_told_apart() {
    let stub = Stub::start();
    let runtime = Runtime::new().expect("a runtime can start");
    let ask = |request| runtime.block_on(call(&stub.socket(), &request));
    for (request, code) in [
        (Request::Explain { subject: "404".to_owned() }, "not_found"),
        (Request::Block { prefix: "192.0.2.1".to_owned(), reason: String::new(), ttl_s: 5, force: false }, "refused"),
        (Request::Reload, "failed"),
    ] {
        match ask(request.clone()) {
            Err(CallError::Refused(refusal)) => {
                assert_eq!(refusal.code, code, "{request:?}");
                assert!(!refusal.hint.is_empty(), "{request:?}: what should the operator do?");
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

#[test]
fn what_is_wrong_is_refused_before_the_daemon_sees_it() {
    let stub = Stub::start();
    let runtime = Runtime::new().expect("a runtime can start");
    let text = |text: &str| text.to_owned();
    let allow = |note: String| Request::Allow { prefix: prefix(), note, ttl_s: None };
    for request in [
        Request::Sources { limit: 0, sort: SortKey::Requests, tier: None },
        Request::Sources { limit: 1_000_000, sort: SortKey::Requests, tier: None },
        Request::Connections { limit: 0, after: None, source: None },
        Request::Connections { limit: 1, after: None, source: Some(text("10.0.0.1/8")) },
        Request::Rules { kind: Some(text("evil")), limit: 1, offset: 0 },
        Request::Rules { kind: None, limit: 10_001, offset: 0 },
        Request::Explain { subject: text("nobody") },
        Request::Disallow { prefix: text("10.0.0.1/8") },
        Request::Unblock { prefix: text("10.0.0.0/33") },
        Request::Block { prefix: prefix(), reason: String::new(), ttl_s: 0, force: false },
        Request::Set { name: text("relay_gap_ms"), value: 4 },
        Request::Set { name: text("relay_gap"), value: 30 },
        Request::Get { name: Some(text("relay_gap")) },
        allow("x".repeat(257)),
        allow(text("\u{1b}[2J")),
    ] {
        match runtime.block_on(call(&stub.socket(), &request)) {
            Err(CallError::Refused(refusal)) => assert_eq!(refusal.code, "invalid", "{request:?}: {refusal:?}"),
            other => panic!("{request:?}: {other:?}"),
        }
        assert!(stub.asked().is_empty(), "{request:?} came through");
    }
}

#[test]
fn a_prefix_leaves_in_its_canonical_form() {
    let stub = Stub::start();
    let runtime = Runtime::new().expect("a runtime can start");
    let request = Request::Unblock { prefix: "2001:DB8:0::/48".to_owned() };
    assert!(runtime.block_on(call(&stub.socket(), &request)).is_ok());
    assert_eq!(stub.asked(), [Request::Unblock { prefix: "2001:db8::/48".to_owned() }]);
}

/// Sends bytes and reads what comes until the server closes.
fn raw(stub: &Stub, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(stub.socket()).expect("the stub listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it is a socket");
    // The server may answer and close before it has read all of a hostile request.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn curl_needs_no_headers() {
    let stub = Stub::start();
    let answer = raw(&stub, &post("/v1/block", r#"{"prefix":"203.0.113.9"}"#));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    let request =
        Request::Block { prefix: "203.0.113.9/32".to_owned(), reason: String::new(), ttl_s: 3600, force: false };
    assert_eq!(stub.asked(), [request]);
    let answer = raw(&stub, &get("/v1/sources"));
    assert!(answer.contains(r#"{"version":1,"sources":[{"source":"203.0.113.7""#), "{answer}");
    assert_eq!(stub.asked(), [Request::Sources { limit: 20, sort: SortKey::Requests, tier: None }]);
}

#[test]
fn every_listed_route_is_there() {
    let stub = Stub::start();
    for route in ROUTES {
        let answer = raw(&stub, &if route.method == "GET" { get(route.path) } else { post(route.path, "{}") });
        let gone = answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 405 ");
        assert!(!gone, "{} {}: {answer}", route.method, route.path);
    }
    let lost = raw(&stub, &get("/"));
    assert!(ROUTES.iter().all(|route| lost.contains(route.path)), "the way is not shown: {lost}");
}

#[test]
fn hostile_input_gets_a_4xx_with_json_and_never_reaches_the_daemon() {
    let stub = Stub::start();
    let long = format!("/v1/explain?subject={}", "1".repeat(4000));
    let deep = "[".repeat(10_000);
    for (description, bytes, status) in [
        ("a path that is not there", get("/v1/nothing"), 404),
        ("a path outside", get("/v1/../../etc/passwd"), 404),
        ("the wrong method", post("/v1/status", "{}"), 405),
        ("a verb by GET", get("/v1/reload"), 405),
        ("an unknown parameter", get("/v1/status/?x=1"), 404),
        ("an unknown query field", get("/v1/sources?limits=3"), 400),
        ("a negative number", get("/v1/sources?limit=-1"), 400),
        ("a number beyond all bounds", get("/v1/sources?limit=99999999999999999999"), 400),
        ("an unknown order", get("/v1/sources?sort=evil"), 400),
        ("no subject", get("/v1/explain"), 400),
        ("a very long subject", get(&long), 400),
        ("bytes that are no text", get("/v1/explain?subject=%ff%fe%00"), 400),
        ("no JSON", post("/v1/block", "prefix=10.0.0.0/8"), 400),
        ("no body", post("/v1/block", ""), 400),
        ("an array", post("/v1/block", "[]"), 400),
        ("nested deep", post("/v1/block", &deep), 400),
        ("an unknown field", post("/v1/unblock", r#"{"prefix":"10.0.0.0/8","all":true}"#), 400),
        ("the wrong type", post("/v1/set", r#"{"name":"relay_gap_ms","value":"30"}"#), 400),
        ("a fraction", post("/v1/set", r#"{"name":"relay_gap_ms","value":30.5}"#), 400),
        ("a name with a quote", post("/v1/set", r#"{"name":"\"\u0000","value":1}"#), 400),
        ("a body over the limit", post("/v1/block", &"x".repeat(20_000)), 413),
    ] {
        let answer = raw(&stub, &bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{description}: {answer}");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let refusal: serde_json::Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{description}: {error} in {answer}"));
        assert!(refusal["error"].is_string() && refusal["hint"].is_string(), "{description}: {body}");
        assert!(stub.asked().is_empty(), "{description}: it came through");
    }
}

#[test]
fn what_is_not_http_is_cut_off_and_others_are_served_on() {
    let stub = Stub::start();
    let endless = format!("GET /v1/status HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let heads = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(2000));
    let both = "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello";
    for bytes in
        [&b"\x16\x03\x01\x02\x00"[..], b"\0\0\0\0\r\n\r\n", endless.as_bytes(), heads.as_bytes(), both.as_bytes()]
    {
        let answer = raw(&stub, bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(stub.asked().is_empty());
    }
    assert!(raw(&stub, &get("/v1/status")).starts_with("HTTP/1.1 200 "), "the next one is served");
}

#[test]
fn clients_that_hold_connections_open_keep_nobody_out() {
    let stub = Stub::start();
    // As many as are served at once, each with half a request; the server's patience with a head ends them.
    let held: Vec<UnixStream> = (0..64)
        .map(|_| {
            let mut stream = UnixStream::connect(stub.socket()).expect("the stub listens");
            stream.write_all(b"GET /v1/sta").expect("the stub reads");
            stream
        })
        .collect();
    assert!(raw(&stub, &get("/v1/status")).starts_with("HTTP/1.1 200 "), "somebody was kept out");
    drop(held);
}

fn bind(runtime: &Runtime, path: &std::path::Path) -> Result<server::ControlSocket, sensor::exit::Failure> {
    let _inside = runtime.enter();
    server::bind(path)
}

#[test]
fn the_socket_is_for_owner_and_group_and_goes_away_with_its_server() {
    let runtime = Runtime::new().expect("a runtime can start");
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("deep/er/control.sock");
    let socket = bind(&runtime, &path).expect("the folder is made");
    let found = fs::metadata(&path).expect("the socket is there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let around = fs::read_dir(path.parent().expect("it has a folder")).expect("it can be read").count();
    assert_eq!(around, 1, "nothing else is left there");
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_or_foreign_one_is_not() {
    let runtime = Runtime::new().expect("a runtime can start");
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("control.sock");

    drop(UnixListener::bind(&path).expect("a socket of a daemon that died"));
    assert!(path.exists(), "std leaves the file behind");
    let first = bind(&runtime, &path).expect("a stale socket is replaced");

    let failure = bind(&runtime, &path).expect_err("a live one is not");
    assert_eq!(failure.code.number(), 1);
    assert!(failure.error.contains("another sensor answers on"), "{failure}");
    assert!(path.exists(), "the live one was removed");
    drop(first);

    fs::write(&path, "a file").expect("the folder is ours");
    let failure = bind(&runtime, &path).expect_err("a file is no socket");
    assert!(failure.error.contains("not a socket"), "{failure}");
    assert_eq!(fs::read(&path).expect("it is untouched"), b"a file");
}

#[test]
fn an_old_server_does_not_remove_its_successors_socket() {
    let runtime = Runtime::new().expect("a runtime can start");
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("control.sock");
    let old = bind(&runtime, &path).expect("the folder is ours");
    fs::remove_file(&path).expect("somebody cleans up");
    let new = bind(&runtime, &path).expect("the place is free");
    drop(old);
    assert!(path.exists(), "the successor's socket is gone");
    drop(new);
}

#[test]
fn answers_of_another_version_or_none_are_not_taken() {
    let runtime = Runtime::new().expect("a runtime can start");
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    for (number, body) in
        [r#"{"version":2,"done":"x","warnings":[]}"#, r#"{"done":"x"}"#, "hello", ""].iter().enumerate()
    {
        let path = dir.path().join(number.to_string());
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let impostor = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client comes");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).expect("the client asks");
            stream.write_all(text.as_bytes()).expect("the client reads");
        });
        let answered = runtime.block_on(call(&path, &Request::Status));
        assert!(matches!(answered, Err(CallError::Strange(_))), "{body}: {answered:?}");
        impostor.join().expect("the impostor ends");
    }
}

#[test]
fn empty_answers_are_not_mistaken_for_each_other() {
    for answer in [
        Answer::Campaigns { campaigns: Vec::new() },
        Answer::Rules { rules: Vec::new(), total: 5 },
        Answer::Bulk(Box::new(BulkDone::new(Deed::Allow))),
        Answer::Explain(Box::default()),
        Answer::Connections(Recent::default()),
        Answer::Sources { sources: Vec::new(), total: 0 },
        Answer::Tunables { tunables: Vec::new() },
        Answer::Status(Box::default()),
        Answer::Done { done: String::new(), warnings: Vec::new() },
    ] {
        let text = serde_json::to_string(&answer).expect("answers are plain");
        assert_eq!(serde_json::from_str::<Answer>(&text).expect("it is an answer"), answer, "{text}");
    }
}
