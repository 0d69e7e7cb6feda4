//! The relay gap and the fingerprint on captures of real clients and relays, against their labels, by what
//! `sensor replay` runs.
//!
//! `tests/captures` holds them: real clients and relay software in network namespaces, with true delays as labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sensor::capture_file::{Found, Options, replay};
use sensor_common::connection::Connection;
use sensor_common::event::{UNKNOWN_US, flag, protocol};

/// How far a measured time may lie from its label, microseconds: sender timestamps have a grain of a millisecond.
const GRAIN_US: f64 = 1_000.0;
/// F1a is labelled by arrival times, so jitter of the path lies between label and measurement, microseconds.
const JITTER_US: f64 = 20_000.0;
/// Labels are rounded to a tenth of a millisecond.
const ROUNDING_US: f64 = 60.0;
/// JA4 values that differ by resumption only, and what they are without it.
const RESUMED: &[(&str, &str)] = &[
    ("t13d3112h1_e8f1e7e78f70_ee8ba1ecc37f", "t13d3112h1_e8f1e7e78f70_b26ce05bbdd6"),
    ("t13d591100_a33745022dd6_dbd39dd1d406", "t13d591000_a33745022dd6_1f22a2ca17c4"),
    ("t13d3113h2_e8f1e7e78f70_c49e5570a058", "t13d3112h2_e8f1e7e78f70_dbd39dd1d406"),
    ("t13d311200_e8f1e7e78f70_87f12a3f655c", "t13d311000_e8f1e7e78f70_1f22a2ca17c4"),
];

/// One line of labels.csv.
type Label = BTreeMap<String, String>;

const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");

fn labels(path: &Path) -> Vec<Label> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let names = cells(lines.next().expect("a header"));
    lines.map(|line| names.iter().cloned().zip(cells(line)).collect()).collect()
}

/// The cells of a line; a comma inside quotes belongs to its cell.
fn cells(line: &str) -> Vec<String> {
    let mut quoted = false;
    let parts = line.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.map(|cell| cell.trim_matches('"').to_owned()).collect()
}

/// The one connection of a capture, and the JA4 of its client.
fn follow(path: &Path) -> (Connection, Option<String>) {
    let mut all = Vec::new();
    let mut take = |found: Found| match found {
        Found::Connection { state, evidence, .. } => all.push((*state, evidence.ja4)),
        Found::Hello { key, .. } => panic!("{}: a hello outside of connections: {key:?}", path.display()),
    };
    let summary = replay(path, &Options::default(), &mut take).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((summary.broken, summary.cut, summary.backwards), (None, 0, 0), "{}", path.display());
    let [one] = all.try_into().unwrap_or_else(|all: Vec<_>| panic!("{}: {} connections", path.display(), all.len()));
    one
}

fn number(label: &Label, name: &str) -> Option<f64> {
    label[name].parse().ok()
}

fn compare(faults: &mut Vec<String>, name: &str, what: &str, is: u32, should: Option<f64>, tolerance: f64) {
    let close = match should {
        None => is == UNKNOWN_US,
        Some(ms) => is != UNKNOWN_US && (f64::from(is) - ms * 1_000.0).abs() <= tolerance,
    };
    if !close {
        let is = if is == UNKNOWN_US { "unknown".to_owned() } else { format!("{is} us") };
        faults.push(format!("{name}: {what} is {is}, labelled {should:?} ms"));
    }
}

/// Two cases in which a label gives a gap and the sensor must not: the acknowledgement came with the flight itself,
/// or so much jitter lies between the two that the timestamps cannot be believed.
fn rightly_unknown(label: &Label, seen: &Connection) -> bool {
    let [by_arrival, by_timestamp] = ["f1b_first_ms", "f1b_first_tsval_ms"].map(|name| number(label, name));
    let jitter = by_arrival.unwrap_or(0.0) - by_timestamp.unwrap_or(0.0);
    seen.flight_gap_us == UNKNOWN_US
        && (seen.flags & flag::NO_PURE_ACK != 0 && by_arrival == Some(0.0)
            || seen.flags & flag::TIMESTAMPS_DISAGREE != 0 && jitter > 50.0)
}

#[test]
fn captures_give_their_labels() {
    let folder = Path::new(CAPTURES);
    let mut faults = Vec::new();
    let (mut plain_relays, mut direct_flagged) = (0, 0);
    let mut classes: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let labels = labels(&folder.join("labels.csv"));
    for label in &labels {
        let name = &label["pcap"];
        let (seen, ja4) = follow(&folder.join(name));
        let flagged = seen.flags & flag::GAP_FLAGGED != 0;
        compare(&mut faults, name, "rtt", seen.rtt_us, number(label, "rtt_tcp_ingress_ms"), ROUNDING_US);
        let tls = label["tls"] != "none";
        if tls && !rightly_unknown(label, &seen) {
            compare(&mut faults, name, "F1b", seen.flight_gap_us, number(label, "f1b_first_tsval_ms"), GRAIN_US);
        }
        compare(&mut faults, name, "F1a", seen.hello_gap_us, number(label, "f1a_ms"), JITTER_US);
        if tls && seen.fingerprint == 0 || tls != (seen.protocol == protocol::TLS) {
            faults.push(format!("{name}: protocol {}, class {:x}", protocol::name(seen.protocol), seen.fingerprint));
        }
        if tls && ja4.as_deref() != Some(&*label["ja4"]) {
            faults.push(format!("{name}: JA4 {ja4:?}, labelled {}", label["ja4"]));
        }
        if tls {
            let ja4 =
                RESUMED.iter().find(|(resumed, _)| *resumed == label["ja4"]).map_or(&*label["ja4"], |(_, full)| full);
            classes.entry(seen.fingerprint).or_default().insert(ja4.to_owned());
        }
        let leg = number(label, "true_leg_rtt_ms").unwrap_or(0.0);
        match &*label["path"] {
            "direct" => direct_flagged += usize::from(flagged),
            "haproxy-L7" if flagged => faults.push(format!("{name}: TLS ends at the relay, yet flagged")),
            "haproxy-L7" | "haproxy-tcp-tfo" => {}
            "delack-forwarder" => {
                let unknown = seen.flags & flag::GAP_SAMPLE == 0;
                let allowed = flagged || label["resumed"] == "1" && leg <= 40.0 && unknown;
                if leg >= 40.0 && !allowed {
                    faults.push(format!("{name}: neither flagged nor unknown"));
                }
            }
            _ if tls && leg >= 30.0 && number(label, "f1b_first_tsval_ms").is_some() => {
                plain_relays += 1;
                if !flagged {
                    faults.push(format!("{name}: leg of {leg} ms, gap {} us, not flagged", seen.flight_gap_us));
                }
            }
            _ => {}
        }
    }
    for (class, ja4) in classes.iter().filter(|(_, ja4)| ja4.len() > 1) {
        faults.push(format!("class {class:x} mixes {ja4:?}"));
    }
    let distinct: BTreeSet<&String> = classes.values().flatten().collect();
    if distinct.len() != classes.len() {
        faults.push(format!("{} JA4 values, {} classes: {classes:x?}", distinct.len(), classes.len()));
    }
    println!(
        "{} captures, {plain_relays} plain relays, {direct_flagged} direct flagged, {} classes",
        labels.len(),
        classes.len()
    );
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(plain_relays > 0 && direct_flagged <= 2, "{direct_flagged} direct captures are flagged");
}
