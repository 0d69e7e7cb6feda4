//! The lab itself: distances are real, relays hide their customer, packets can be counted, and nothing stays behind.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sensor_tests::client::plan::{Event, HarvestPlan, Outcome, Way};
use sensor_tests::client::{Client, events_file, start_crowd, start_harvester};
use sensor_tests::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, TLS_PORT, crowd, exit, user, user_v6};
use sensor_tests::lab::cleanup::take_down_leftovers;
use sensor_tests::lab::namespace::Direction;
use sensor_tests::lab::topology::SERVER_INTERFACE;
use sensor_tests::lab::{Distance, Lab, LabPlan, Role, tool, wait_until};
use sensor_tests::model::api::Pace;
use sensor_tests::model::{authority_file, request_log_file};
use sensor_tests::require::{Tier, require, require_program};
use sensor_tests::stage::{nginx_log, start_model, start_nginx, start_relays};

const QUICK: Pace = Pace { prefill: Duration::from_millis(1), token: Duration::from_millis(1) };

fn distant(relays: usize, crowd: usize) -> LabPlan {
    LabPlan { relays, crowd, distance: Some(Distance::default()), ..LabPlan::small() }
}

/// Waits for `count` events of a client.
fn events(client: &mut Client, count: usize) -> Vec<Event> {
    let mut all = Vec::new();
    let enough = wait_until(Duration::from_secs(60), || {
        all.extend(client.events.fresh().expect("events are readable"));
        all.len() >= count
    });
    assert!(enough, "{} of {count} events came: {}", all.len(), client.process.log_tail(10));
    all
}

/// The addresses that the model server saw chat requests from, by label.
fn served(lab: &Lab, label: &str) -> Vec<IpAddr> {
    let text = std::fs::read_to_string(request_log_file(&lab.dir())).expect("the server logs");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a JSON line"));
    lines
        .filter(|line| line["label"].as_str().is_some_and(|text| text.starts_with(label)))
        .map(|line| line["from"].as_str().and_then(|text| text.parse::<SocketAddr>().ok()).expect("an address").ip())
        .collect()
}

#[test]
fn a_small_lab_counts_every_packet_and_request() {
    if !require(Tier::Net) || !require_program(Tier::Net, "nginx") || !require_program(Tier::Net, "curl") {
        return;
    }
    let lab = Lab::start(&LabPlan::small()).expect("the lab starts");
    let _nginx = start_nginx(&lab).expect("nginx starts");
    let ca = authority_file(&lab.dir());
    let urls = [
        (user(0).to_string(), format!("http://{SERVER_V4}:{PLAIN_PORT}/plain")),
        (user(1).to_string(), format!("https://{SERVER_V4}:{TLS_PORT}/tls")),
        (user_v6(2).to_string(), format!("https://[{SERVER_V6}]:{TLS_PORT}/six")),
    ];
    for (from, url) in &urls {
        let ca = ca.to_string_lossy();
        let output = lab
            .output(Role::Users, "curl", &["-sS", "--max-time", "10", "--interface", from, "--cacert", &ca, url])
            .expect("curl starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "served\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    let sent = lab.wait_quiet(Duration::from_millis(300), Duration::from_secs(10)).expect("traffic ends");
    let received = lab.space(Role::Server).counter(SERVER_INTERFACE, Direction::Received).expect("a counter");
    assert_eq!(sent, received, "what the router sent is what the server got");
    let log = std::fs::read_to_string(nginx_log(&lab)).expect("nginx logs");
    let clients: Vec<&str> = log.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(clients, urls.iter().map(|(from, _)| from.as_str()).collect::<Vec<_>>());
}

#[test]
fn no_packet_is_faster_than_its_distance() {
    if !require(Tier::Net) {
        return;
    }
    let plan = LabPlan { distance: Some(Distance { user: 40.0..=60.0, ..Distance::default() }), ..LabPlan::small() };
    let lab = Lab::start(&plan).expect("the lab starts");
    let _model = start_model(&lab, QUICK).expect("the model server starts");
    for n in 0..plan.users {
        let took = lab.space(Role::Users).run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
                socket.bind(SocketAddr::new(user(n).into(), 0)).expect("the address is there");
                let start = Instant::now();
                socket.connect(SocketAddr::new(SERVER_V4.into(), PLAIN_PORT)).await.expect("the server answers");
                start.elapsed()
            })
        });
        assert!(took >= Duration::from_millis(40), "user {n} connected in {took:?}");
    }
    assert_eq!(lab.line_drops().expect("a report"), 0);
}

#[test]
fn the_server_sees_the_exits_and_never_the_harvester() {
    if !require(Tier::Net) || !require_program(Tier::Net, "python3") {
        return;
    }
    let lab = Lab::start(&distant(16, 0)).expect("the lab starts");
    let _model = start_model(&lab, QUICK).expect("the model server starts");
    let relays = start_relays(&lab).expect("the relays start");
    let mut plan = HarvestPlan::in_lab(
        3,
        "attack",
        &authority_file(&lab.dir()),
        events_file(&lab, "harvester"),
        relays.exits.clone(),
    );
    plan.rate_per_s = 20.0;
    plan.plain_share = 0.3;
    let mut harvester = start_harvester(&lab, &plan).expect("the harvester starts");
    let mut events = events(&mut harvester, 60);
    harvester.process.stop(Duration::from_secs(20));
    events.extend(harvester.events.fresh().expect("events are readable"));
    assert!(events.iter().all(|event| event.outcome == Outcome::Served), "{events:?}");
    let ways: Vec<Way> = relays.exits.iter().map(|(way, _)| *way).collect();
    assert!(ways.contains(&Way::Socks5) && ways.contains(&Way::Connect));
    let exits: Vec<IpAddr> = (0..16).map(|n| exit(n).into()).collect();
    let seen = served(&lab, "attack");
    assert!(seen.len() >= 60, "{} requests in the server's log", seen.len());
    assert!(seen.iter().all(|from| exits.contains(from)), "somebody else than the exits: {seen:?}");
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    assert!(events.windows(2).all(|pair| pair[0].from != pair[1].from), "an exit was used twice in a row");
}

#[test]
fn a_flash_crowd_comes_on_addresses_of_its_own() {
    if !require(Tier::Net) || !require_program(Tier::Net, "python3") {
        return;
    }
    let lab = Lab::start(&distant(0, 30)).expect("the lab starts");
    let _model = start_model(&lab, QUICK).expect("the model server starts");
    let exits = (0..30).map(|n| (Way::Direct, crowd(n).into())).collect();
    let mut plan = HarvestPlan::in_lab(4, "crowd", &authority_file(&lab.dir()), events_file(&lab, "crowd"), exits);
    plan.rate_per_s = 20.0;
    let mut client = start_crowd(&lab, &plan).expect("the crowd starts");
    let events = events(&mut client, 40);
    client.process.stop(Duration::from_secs(20));
    assert!(events.iter().all(|event| event.outcome == Outcome::Served), "{events:?}");
    let crowd: Vec<IpAddr> = (0..30).map(|n| crowd(n).into()).collect();
    assert!(served(&lab, "crowd").iter().all(|from| crowd.contains(from)));
}

#[test]
fn a_dropped_lab_leaves_nothing() {
    if !require(Tier::Net) {
        return;
    }
    let lab = Lab::start(&distant(2, 0)).expect("the lab starts");
    let mut model = start_model(&lab, QUICK).expect("the model server starts");
    let (name, dir) = (lab.space(Role::Server).name().to_owned(), lab.dir());
    assert!(dir.exists() && space_exists(&name));
    drop(lab);
    assert!(!dir.exists() && !space_exists(&name));
    model.wait(Duration::from_secs(5)).expect("its processes ended with it");
}

#[test]
fn leftovers_of_a_killed_run_are_removed_and_a_living_lab_is_not() {
    if !require(Tier::Net) || !require_program(Tier::Net, "python3") {
        return;
    }
    let alive = Lab::start(&LabPlan::small()).expect("the lab starts");
    let mut child = Command::new(tool().expect("sensor-lab is built"))
        .args(["demo", "--sensor", "none", "--relays", "4", "--duration", "50"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let output = BufReader::new(child.stdout.take().expect("stdout was piped"));
    let begun = output.lines().map_while(Result::ok).any(|line| line.contains("benign users come first"));
    assert!(begun, "the demo did not come to its traffic");
    child.kill().expect("kill the demo");
    child.wait().expect("the demo ends");
    let left = format!("sensorlab-{}-0-server", child.id());
    assert!(space_exists(&left), "a killed run leaves its namespaces");
    let removed = take_down_leftovers().expect("leftovers can be removed");
    assert!(removed.contains(&format!("{}-0", child.id())), "removed only {removed:?}");
    assert!(!space_exists(&left));
    assert!(space_exists(alive.space(Role::Server).name()), "a living lab stays");
}

fn space_exists(name: &str) -> bool {
    std::path::Path::new("/run/netns").join(name).exists()
}
