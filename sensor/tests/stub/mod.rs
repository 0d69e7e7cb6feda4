//! A daemon that only talks: the real control server over a temporary socket, with scripted answers behind it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sensor::control::protocol::{
    Answer, Bulk, BulkDone, Campaign, Explanation, Learning, Member, Moment, Rates, Refusal, Report, Request, Rule,
    Source, Status, TableFill, Tunable, Verdict,
};
use sensor::control::server;
use sensor::evidence::{Evidence, Recent};
use sensor::tunable::ROWS;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A running stub. It ends when dropped.
pub(crate) struct Stub {
    dir: TempDir,
    asked: Arc<Mutex<Vec<Request>>>,
    runtime: Option<Runtime>,
}

impl Stub {
    /// Starts a stub that answers every request with [`answer`].
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let runtime = Runtime::new().expect("a runtime can start");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (sender, mut calls) = mpsc::channel(4);
        let socket = {
            let _inside = runtime.enter();
            server::bind(&dir.path().join("run/control.sock")).expect("the socket can be bound")
        };
        runtime.spawn(server::serve(socket, sender));
        let journal = Arc::clone(&asked);
        runtime.spawn(async move {
            while let Some((request, reply)) = calls.recv().await {
                journal.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                if let Some(answer) = answer(&request) {
                    let _ = reply.send(answer);
                }
            }
        });
        Self { dir, asked, runtime: Some(runtime) }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/control.sock")
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The script. `None`: the daemon drops the request, as one that is stopping does.
pub(crate) fn answer(request: &Request) -> Option<Result<Answer, Refusal>> {
    let done = |done: String| Ok(Answer::Done { done, warnings: Vec::new() });
    Some(match request {
        Request::Status => Ok(Answer::Status(Box::new(status()))),
        Request::Sources { .. } => Ok(Answer::Sources { sources: vec![source()], total: 1234 }),
        Request::Connections { after, .. } => Ok(Answer::Connections(recent(*after))),
        Request::Campaigns { all: true } => Ok(Answer::Campaigns { campaigns: vec![campaign()] }),
        Request::Campaigns { all: false } => Ok(Answer::Campaigns { campaigns: Vec::new() }),
        Request::Rules { kind: Some(_), .. } => Ok(Answer::Rules { rules: Vec::new(), total: 0 }),
        Request::Rules { kind: None, .. } => Ok(Answer::Rules { rules: rules(), total: 1234 }),
        Request::Bulk(list) => Ok(Answer::Bulk(Box::new(bulk(list)))),
        Request::Explain { subject } if subject == "404" => {
            Err(Refusal::new("not_found", "there is no campaign 404", "`sensor campaigns --all` lists them"))
        }
        Request::Explain { subject } => Ok(Answer::Explain(Box::new(explanation(subject)))),
        Request::Report { id: 404, .. } | Request::Judge { id: 404, .. } => {
            Err(Refusal::new("not_found", "there is no campaign 404", "`sensor campaigns --all` lists them"))
        }
        Request::Report { unmasked, .. } => Ok(Answer::Report(Box::new(report(*unmasked)))),
        Request::Judge { id, verdict: Verdict::Confirm, .. } => done(format!("campaign {id} is confirmed")),
        Request::Judge { id, verdict: Verdict::Dismiss, .. } => done(format!("campaign {id} is dismissed")),
        Request::Get { name } => Ok(Answer::Tunables { tunables: tunables(name.as_deref()) }),
        Request::Block { prefix, force: false, .. } if prefix == "192.0.2.1/32" => {
            Err(Refusal::new("refused", "192.0.2.1 is the default gateway", "`--force` blocks it all the same"))
        }
        Request::Allow { prefix, .. } => {
            let warnings = vec!["it overrides a rule of campaign #7".to_owned()];
            Ok(Answer::Done { done: format!("{prefix} is allowed"), warnings })
        }
        Request::Disallow { prefix } => done(format!("{prefix} is no longer allowed")),
        Request::Block { prefix, ttl_s, .. } => done(format!("{prefix} is blocked for {ttl_s} s")),
        Request::Unblock { prefix } => done(format!("{prefix} is no longer blocked")),
        Request::Set { name, value } => done(format!("{name} = {value}")),
        Request::Reload => return None,
    })
}

fn status() -> Status {
    let counts = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    Status {
        sensor_version: "9.9.9".to_owned(),
        pid: 4711,
        ready: true,
        uptime_s: 7380,
        interface: "eth0".to_owned(),
        xdp_mode: "generic".to_owned(),
        fallback: Some("the driver has no XDP".to_owned()),
        mode: "dry_run".to_owned(),
        services: vec![443, 8000],
        frames: 1_234_567,
        bytes: 5 << 30,
        connections: 4321,
        requests: 98_765,
        rates: Rates {
            frames_per_s: 1200.4,
            bytes_per_s: 1_572_864.0,
            connections_per_s: 7.25,
            requests_per_s: 31.0,
            refused_frames_per_s: 3.5,
        },
        dropped: counts(&[("deny", 0), ("class", 0)]),
        would_drop: counts(&[("class", 12_345), ("deny", 0)]),
        lost: counts(&[("events", 17)]),
        sources_tracked: 5000,
        sources_capacity: 262_144,
        tables: [("connections", 12, 131_072), ("records", 34, 262_144)]
            .map(|(name, used, capacity)| (name.to_owned(), TableFill { used, capacity }))
            .into(),
        kernel_memory_bytes: 160 << 20,
        mirror_memory_bytes: 48 << 20,
        campaigns_open: 2,
        rules: counts(&[("allow", 3), ("class", 1)]),
        learning: Learning { calm_s: 86_400, needed_s: 259_200, complete: false },
        config_path: Some("/etc/sensor/sensor.toml".to_owned()),
        config_error: Some("unknown key `colour`".to_owned()),
        warnings: vec!["the events ring overflowed".to_owned()],
        ..Status::default()
    }
}

fn source() -> Source {
    Source {
        source: "203.0.113.7".to_owned(),
        tier: "default".to_owned(),
        requests: 12_345,
        connections: 678,
        gap_samples: 9,
        gap_flagged: 4,
        ..Source::default()
    }
}

/// One connection more at each question; three were too many the first time.
fn recent(after: Option<u64>) -> Recent {
    let one = Evidence {
        client: "203.0.113.7".to_owned(),
        client_port: 40_000,
        server: "198.51.100.1".to_owned(),
        service: 443,
        protocol: "tls".to_owned(),
        started_unix_us: 1_700_000_000_000_000,
        duration_us: 312_000,
        rtt_us: Some(31_000),
        flight_gap_us: Some(250_000),
        path: "relayed".to_owned(),
        ja4: Some("t13d1812h1_85036bcba153_d41ae481755e".to_owned()),
        flags: vec!["established".to_owned(), "gap_sample".to_owned()],
        ..Evidence::default()
    };
    match after {
        Some(u64::MAX) => Recent { connections: Vec::new(), next: 100, missed: 0 },
        Some(100) => Recent { connections: vec![one], next: 104, missed: 3 },
        Some(after) => Recent { connections: vec![one], next: after + 1, missed: 0 },
        None => Recent { connections: vec![one], next: 104, missed: 0 },
    }
}

fn campaign() -> Campaign {
    Campaign {
        id: 7,
        state: "open".to_owned(),
        detector: "rotation".to_owned(),
        service: 443,
        protocol: "tls".to_owned(),
        fingerprint: "00c0ffee00c0ffee".to_owned(),
        score: 15.25,
        first_seen_networks: 120,
        relayed_networks: 110,
        expected_share: 0.015,
        attack_share: 0.987,
        expected_innocent_ppm: 3.5,
        connections: 400,
        refused: 300,
        why: "110 of 120 new networks came over a relay; 1.5 % is normal".to_owned(),
        actions: vec!["class rule for an hour".to_owned()],
        sample_networks: vec!["203.0.113.0/24".to_owned()],
        ..Campaign::default()
    }
}

fn report(unmasked: bool) -> Report {
    let at = |n: u64| 1_795_356_000 + n * 60;
    let source = if unmasked { "203.0.113.7/32" } else { "203.0.113.0/24" }.to_owned();
    Report {
        generated_at_unix_s: at(10),
        sensor_version: "9.9.9".to_owned(),
        masked: !unmasked,
        campaign: campaign(),
        lines: vec![campaign().why],
        history: (0..6).map(|n| Moment { at_unix_s: at(n), score: n as f64, ..Moment::default() }).collect(),
        members: vec![Member { source, first_seen_unix_s: at(0), relayed: true }],
        rules: Vec::new(),
    }
}

/// What becomes of a part of a list: 192.0.2.1 is the default gateway, and there is room for 5,000 rules.
fn bulk(list: &Bulk) -> BulkDone {
    let mut done = BulkDone { room: 5_000, ..BulkDone::new(list.deed) };
    for (line, read) in sensor::control::bulk::read(list) {
        done.prefixes += 1;
        match read {
            Ok(prefix) if prefix.to_string() == "192.0.2.1/32" && !list.force => {
                done.note_bad(line, "192.0.2.1 is the default gateway".to_owned());
            }
            Ok(_) => done.applied += 1,
            Err(error) => done.note_bad(line, error),
        }
    }
    done
}

fn rules() -> Vec<Rule> {
    let allow = Rule {
        kind: "allow".to_owned(),
        subject: "198.51.100.0/24".to_owned(),
        origin: "operator".to_owned(),
        reason: "office".to_owned(),
        ..Rule::default()
    };
    let class = Rule {
        kind: "class".to_owned(),
        subject: "port 443 fingerprint 00c0ffee00c0ffee".to_owned(),
        origin: "detector".to_owned(),
        reason: "rotation".to_owned(),
        campaign: Some(7),
        expires_in_s: Some(3000),
        hits: 1234,
    };
    vec![allow, class]
}

fn explanation(subject: &str) -> Explanation {
    Explanation {
        subject: subject.to_owned(),
        verdict: "would be refused".to_owned(),
        lines: vec!["its network was first seen after the campaign began".to_owned()],
        ..Explanation::default()
    }
}

fn tunables(name: Option<&str>) -> Vec<Tunable> {
    let rows = ROWS.iter().filter(|row| name.is_none_or(|name| name == row.name));
    rows.map(|row| Tunable {
        name: row.name.to_owned(),
        value: if row.name == "relay_gap_ms" { 30 } else { row.default },
        default: row.default,
        low: row.range.0,
        high: row.range.1,
        unit: row.unit.to_owned(),
        help: row.help.to_owned(),
    })
    .collect()
}
