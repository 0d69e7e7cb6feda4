//! The daemon over a kernel in memory: what operators ask for, what the kernel then holds, and what happens when it
//! holds something else.

mod bulk;
mod campaign;
mod recent;

use std::collections::BTreeMap;
use std::path::Path;

use sensor_common::address::{Address, Prefix};
use sensor_common::counter::Counter;

use super::protect::Survey;
use super::{Daemon, Parts};
use crate::cli::run::RunOptions;
use crate::config::Config;
use crate::control::protocol::{Answer, Refusal, Request, Status};
use crate::control::subject::prefix;
use crate::engine::plan::Subject;
use crate::engine::time::{Span, Time};
use crate::kernel::clock::Clock;
use crate::kernel::fake::FakeKernel;
use crate::kernel::{Attachment, Installed, SourceStats, Terms, XdpMode};
use crate::store::Stored;

const START: Time = Time(1_700_000_000_000_000_000);
const START_NS: u64 = 5_000_000_000;

struct World {
    kernel: FakeKernel,
    daemon: Daemon<FakeKernel>,
    now: Time,
}

impl World {
    fn new(config: &str) -> Self {
        Self::with(config, RunOptions::default(), FakeKernel::default(), Stored::default())
    }

    fn with(config: &str, flags: RunOptions, kernel: FakeKernel, stored: Stored) -> Self {
        let reused = kernel.held().wanted.is_some();
        let config = Config::parse(config, Path::new("s.toml")).expect("the test's configuration is valid");
        let parts = Parts {
            config: Config { path: flags.config.clone(), ..config },
            flags,
            kernel: kernel.clone(),
            clock: Clock::at(START.0, START_NS),
            stored,
            writer: None,
            survey: Survey::default(),
            warnings: Vec::new(),
            reused,
        };
        let mut daemon = Daemon::new(parts, START).expect("the fake takes settings");
        daemon.attached(Attachment {
            interface: "eth0".to_owned(),
            mode: XdpMode::Native,
            fallback: None,
            reused: false,
            warnings: Vec::new(),
        });
        Self { kernel, daemon, now: START }
    }

    fn ask(&mut self, request: Request) -> Result<Answer, Refusal> {
        self.daemon.answer(request, self.now)
    }

    fn block(&mut self, text: &str, ttl_s: u64, force: bool) -> Result<Answer, Refusal> {
        self.ask(Request::Block { prefix: text.to_owned(), reason: String::new(), ttl_s, force })
    }

    fn allow(&mut self, text: &str) -> Result<Answer, Refusal> {
        self.ask(Request::Allow { prefix: text.to_owned(), note: String::new(), ttl_s: None })
    }

    fn unblock(&mut self, text: &str) -> Result<Answer, Refusal> {
        self.ask(Request::Unblock { prefix: text.to_owned() })
    }

    fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Ok(Answer::Status(status)) => *status,
            other => panic!("status answered {other:?}"),
        }
    }

    fn tick(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Span::seconds(1);
            self.daemon.tick(self.now);
        }
    }

    /// What the kernel holds, as text.
    fn rules(&self) -> Vec<String> {
        self.kernel.held().rules.keys().map(|subject| format!("{} {subject}", subject.kind())).collect()
    }

    fn deny(&self, text: &str) -> Option<Installed> {
        self.kernel.held().rules.get(&Subject::Deny(parsed(text))).copied()
    }
}

fn parsed(text: &str) -> Prefix {
    prefix(text).expect("the test's prefix is valid")
}

fn warnings(answer: Result<Answer, Refusal>) -> Vec<String> {
    match answer {
        Ok(Answer::Done { warnings, .. }) => warnings,
        other => panic!("not done: {other:?}"),
    }
}

fn code(answer: Result<Answer, Refusal>) -> String {
    answer.expect_err("a refusal").code
}

#[test]
fn a_block_stands_with_its_expiry_and_ends_by_itself() {
    let mut world = World::new("enforce = true");
    assert_eq!(warnings(world.block("203.0.113.0/24", 3, false)), [""; 0]);
    let installed = world.deny("203.0.113.0/24").expect("installed at once");
    assert_eq!(installed.terms, Terms { expires_ns: START_NS + 3_000_000_000, newer_than_ns: 0 });
    world.tick(2);
    assert_eq!(world.rules(), ["deny 203.0.113.0/24"]);
    world.tick(1);
    assert_eq!(world.rules(), [""; 0], "its time is over");
    assert_eq!(world.status().warnings, [""; 0], "an expiry is no drift");
}

#[test]
fn a_renewed_block_keeps_its_hits() {
    let mut world = World::new("enforce = true");
    let _ = world.block("203.0.113.0/24", 60, false);
    world.kernel.held().rules.values_mut().for_each(|rule| rule.hits = 17);
    let _ = world.block("203.0.113.0/24", 600, false);
    let installed = world.deny("203.0.113.0/24").expect("it stands");
    assert_eq!((installed.hits, installed.terms.expires_ns), (17, START_NS + 600_000_000_000));
}

#[test]
fn allow_block_and_unblock_are_taken_back_by_name() {
    let mut world = World::new("allow = [\"198.51.100.0/24\"]");
    assert_eq!(world.rules(), ["allow 198.51.100.0/24"], "before the first tick");
    let _ = world.allow("192.0.2.7");
    let dry = warnings(world.block("203.0.113.9", 60, false));
    assert!(dry[0].starts_with("dry run"), "{dry:?}");
    world.tick(1);
    assert_eq!(world.rules(), ["allow 198.51.100.0/24", "allow 192.0.2.7/32", "deny 203.0.113.9/32"]);
    let refusal = world.unblock("203.0.113.0/24").expect_err("another prefix");
    assert_eq!(refusal.code, "not_found");
    assert!(refusal.hint.contains("203.0.113.9/32"), "{refusal:?}");
    assert_eq!(warnings(world.unblock("203.0.113.9")), [""; 0]);
    assert_eq!(code(world.ask(Request::Disallow { prefix: "198.51.100.0/24".to_owned() })), "refused");
    assert_eq!(code(world.ask(Request::Disallow { prefix: "198.51.100.0/25".to_owned() })), "not_found");
    let _ = world.ask(Request::Disallow { prefix: "192.0.2.7".to_owned() });
    assert_eq!(world.rules(), ["allow 198.51.100.0/24"]);
}

#[test]
fn what_must_stay_reachable_is_not_blocked_without_force() {
    let mut world = World::new("allow = [\"198.51.100.0/24\"]");
    let at = |text: &str| parsed(text).address;
    let survey = Survey {
        peers: BTreeMap::from([
            (at("203.0.113.9"), "the peer of an SSH session".to_owned()),
            (at("2001:db8::1"), "a default gateway".to_owned()),
        ]),
        own: vec![(at("192.0.2.1"), "this host's own address on eth0".to_owned())],
    };
    world.daemon.survey(START, survey, None);
    assert_eq!(world.rules(), ["allow 198.51.100.0/24", "allow 203.0.113.9/32", "allow 2001:db8::1/128"]);
    for (prefix, expected) in [
        ("203.0.113.9", "203.0.113.9/32 covers 203.0.113.9, the peer of an SSH session"),
        ("203.0.113.0/24", "203.0.113.0/24 covers 203.0.113.9, the peer of an SSH session"),
        ("2001:db8::/32", "2001:db8::/32 covers 2001:db8::1, a default gateway"),
        ("192.0.2.0/24", "192.0.2.0/24 covers 192.0.2.1, this host's own address on eth0"),
        ("198.51.100.7", "198.51.100.7/32 touches 198.51.100.0/24, which the configuration allows: allow rules win"),
        ("198.51.0.0/16", "198.51.0.0/16 touches 198.51.100.0/24, which the configuration allows: allow rules win"),
        ("10.0.0.0/7", "10.0.0.0/7 is a large part of the internet: shorter than /8"),
        ("3000::/18", "3000::/18 is a large part of the internet: shorter than /19"),
    ] {
        let refusal = world.block(prefix, 60, false).expect_err(prefix);
        assert_eq!((refusal.code.as_str(), refusal.error.as_str()), ("refused", expected));
        let forced = warnings(world.block(prefix, 60, true));
        assert_eq!(forced.first().map(String::as_str), Some(expected), "{prefix}");
        let _ = world.unblock(prefix);
    }
    for prefix in ["203.0.113.10", "10.0.0.0/8", "2a00::/19"] {
        world.block(prefix, 60, false).expect(prefix);
    }
}

#[test]
fn a_peer_stays_protected_for_an_hour_after_its_last_session() {
    let mut world = World::new("");
    let peers = BTreeMap::from([(parsed("203.0.113.9").address, "the peer of an SSH session".to_owned())]);
    world.daemon.survey(START, Survey { peers, own: Vec::new() }, None);
    world.daemon.survey(START + Span::seconds(3_599), Survey::default(), None);
    assert_eq!(world.rules(), ["allow 203.0.113.9/32"]);
    world.daemon.survey(START + Span::seconds(3_600), Survey::default(), None);
    assert_eq!(world.rules(), [""; 0]);
}

#[test]
fn a_rule_that_vanished_comes_back_and_is_counted() {
    let mut world = World::new("enforce = true");
    let _ = world.block("203.0.113.0/24", 600, false);
    world.tick(1);
    world.kernel.held().rules.clear();
    world.kernel.held().rules.insert(Subject::Deny(parsed("192.0.2.0/24")), Installed::default());
    world.tick(1);
    assert_eq!(world.rules(), ["deny 203.0.113.0/24"], "back, and the foreign one is gone");
    let status = world.status();
    assert!(status.warnings.iter().any(|warning| warning.contains("1 time(s)")), "{:?}", status.warnings);
    let metrics = world.daemon.metrics().exposition().text();
    assert!(metrics.contains("sensor_kernel_drift_repaired_total 1"), "{metrics}");
    let writes = world.kernel.held().writes.len();
    world.tick(3);
    assert_eq!(world.kernel.held().writes.len(), writes, "nothing to do is nothing done");
}

#[test]
fn a_rule_that_the_kernel_refuses_does_not_stand() {
    let mut world = World::new("enforce = true");
    world.kernel.held().refuse = Some("the kernel's table is full".to_owned());
    let refusal = world.block("203.0.113.0/24", 60, false).expect_err("the kernel refuses");
    assert_eq!(refusal.code, "failed");
    assert!(refusal.error.ends_with("the kernel's table is full"), "{refusal:?}");
    world.kernel.held().refuse = None;
    world.tick(1);
    assert_eq!(world.rules(), [""; 0], "it is not tried again behind the operator's back");
}

#[test]
fn set_reaches_the_kernel_and_bad_values_change_nothing() {
    let mut world = World::new("");
    let set = |name: &str, value| Request::Set { name: name.to_owned(), value };
    let gap = |world: &World| world.kernel.held().wanted.as_ref().map(|wanted| wanted.settings.relay_gap_us);
    assert_eq!(gap(&world), Some(25_000));
    let _ = world.ask(set("relay_gap_ms", 40)).expect("in range");
    assert_eq!(gap(&world), Some(40_000));
    assert_eq!(code(world.ask(set("relay_gap_ms", 4))), "invalid");
    assert_eq!(code(world.ask(set("relay_gap", 30))), "invalid");
    assert_eq!(gap(&world), Some(40_000));
    let Ok(Answer::Tunables { tunables }) = world.ask(Request::Get { name: Some("relay_gap_ms".to_owned()) }) else {
        panic!("it is there");
    };
    assert_eq!((tunables[0].value, tunables[0].default), (40, 25));
}

#[test]
fn a_bad_reload_keeps_the_old_configuration_and_is_remembered() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let write = |text: &str| std::fs::write(file.path(), text).expect("written");
    let first = "interface = \"eth0\"\nservices = [8000]\n";
    write(first);
    let flags = RunOptions { config: Some(file.path().to_owned()), ..RunOptions::default() };
    let mut world = World::with(first, flags, FakeKernel::default(), Stored::default());
    write("interface = \"eth0\"\nservice = [443]\n");
    assert_eq!(code(world.ask(Request::Reload)), "invalid");
    assert!(world.status().config_error.is_some_and(|error| error.contains(":2: unknown key `service`")));
    assert_eq!(world.status().services, [8000]);
    write("interface = \"eth1\"\nservices = [443]\nenforce = true\nallow = [\"192.0.2.0/24\"]\n");
    let told = warnings(world.ask(Request::Reload));
    assert_eq!(told, ["`interface` changed in the file: it takes effect at the next start"]);
    let status = world.status();
    assert_eq!((status.interface.as_str(), status.mode.as_str(), status.config_error), ("eth0", "enforce", None));
    assert_eq!(world.rules(), ["allow 192.0.2.0/24"]);
    let wanted = world.kernel.held().wanted.clone().expect("written");
    assert_eq!((wanted.services, wanted.settings.enforce), (vec![443], 1));
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    assert_eq!(code(World::new("").ask(Request::Reload)), "refused");
}

/// A source that made this many connections since the last tick.
fn busy(world: &World, text: &str, connections: u64) {
    let at_ns = START_NS + world.now.since(START).0;
    let mut held = world.kernel.held();
    let stats = held
        .sources
        .entry(parsed(text).address)
        .or_insert_with(|| SourceStats { first_seen_ns: at_ns, ..SourceStats::default() });
    stats.connections += connections;
    stats.last_seen_ns = at_ns;
}

#[test]
fn a_detectors_rule_is_installed_lifted_by_the_operator_and_stays_away() {
    let mut world =
        World::new("enforce = true\n[tunables]\nlearn_s = 1\n[[tier]]\nname = \"default\"\nconnections_1m = 5\n");
    world.tick(2);
    world.now = world.now + Span::seconds(1);
    busy(&world, "203.0.113.9", 50);
    world.daemon.tick(world.now);
    assert_eq!(world.rules(), ["deny 203.0.113.9/32"], "over its tier's limit");
    let Ok(Answer::Explain(explanation)) = world.ask(Request::Explain { subject: "203.0.113.9".to_owned() }) else {
        panic!("it can be explained");
    };
    assert_eq!(explanation.verdict, "refused");
    assert_eq!(explanation.source.map(|source| source.connections), Some(50));
    let told = warnings(world.unblock("203.0.113.9"));
    assert!(told[0].contains("sensor allow 203.0.113.9/32"), "{told:?}");
    world.tick(3);
    assert_eq!(world.rules(), [""; 0], "what an operator took back stays away");
    let _ = world.allow("203.0.113.9");
    world.tick(1);
    assert_eq!(world.rules(), ["allow 203.0.113.9/32"]);
}

#[test]
fn sources_are_ordered_and_counted() {
    let mut world = World::new("");
    busy(&world, "203.0.113.1", 3);
    busy(&world, "203.0.113.2", 9);
    busy(&world, "2001:db8:1:2::", 5);
    world.tick(1);
    let request = |limit| Request::Sources { limit, sort: crate::control::protocol::SortKey::Connections, tier: None };
    let Ok(Answer::Sources { sources, total }) = world.ask(request(2)) else { panic!("there are sources") };
    let names: Vec<&str> = sources.iter().map(|source| source.source.as_str()).collect();
    assert_eq!((names, total), (vec!["203.0.113.2/32", "2001:db8:1:2::/64"], 3));
    let tier = |name: &str| Request::Sources { limit: 9, sort: Default::default(), tier: Some(name.to_owned()) };
    assert!(matches!(world.ask(tier("default")), Ok(Answer::Sources { total: 3, .. })));
    assert_eq!(code(world.ask(tier("gold"))), "not_found");
    assert_eq!(world.status().sources_tracked, 3);
    world.kernel.held().sources.remove(&Address::v4([203, 0, 113, 1]));
    world.kernel.held().counters.insert(Counter::EvictedSources.index(), 1);
    world.tick(1);
    let status = world.status();
    assert_eq!((status.sources_tracked, status.sources_evicted), (2, 1));
    let Ok(Answer::Explain(explanation)) = world.ask(Request::Explain { subject: "203.0.113.0/24".to_owned() }) else {
        panic!("it can be explained");
    };
    assert!(explanation.lines.contains(&"1 of its sources are in the kernel's table.".to_owned()), "{explanation:?}");
}

#[test]
fn a_restart_brings_the_operators_rules_back_and_clears_what_nobody_wants() {
    let mut first = World::new("enforce = true");
    let _ = first.block("203.0.113.0/24", 600, false);
    let _ = first.allow("192.0.2.0/24");
    first.tick(1);
    let stored =
        Stored { seed: 7, standing: first.daemon.standing.rows(), state: first.daemon.engine.save(), fresh: false };
    let kernel = FakeKernel::default();
    kernel.held().rules.insert(Subject::Deny(parsed("198.51.100.0/24")), Installed::default());
    let second = World::with("enforce = true", RunOptions::default(), kernel, stored);
    assert_eq!(second.rules(), ["allow 192.0.2.0/24", "deny 203.0.113.0/24"]);
    assert_eq!(second.deny("203.0.113.0/24").map(|rule| rule.terms.expires_ns), Some(START_NS + 600_000_000_000));
    assert_eq!(second.kernel.held().wanted.as_ref().map(|wanted| wanted.settings.seed), Some(7));
    assert_eq!(second.kernel.held().writes[0], "install allow 192.0.2.0/24", "allow rules come first");
}

#[test]
fn when_the_stored_state_is_lost_the_kernels_refusals_go_on() {
    let stored = |seed| Stored { seed, fresh: true, ..Stored::default() };
    let mut first = World::with("enforce = true", RunOptions::default(), FakeKernel::default(), stored(7));
    let _ = first.block("203.0.113.0/24", 600, false);
    let _ = first.allow("192.0.2.0/24");
    let mut second = World::with("enforce = true", RunOptions::default(), first.kernel.clone(), stored(8));
    assert_eq!(second.rules(), ["deny 203.0.113.0/24"], "why the other was allowed is not known");
    assert_eq!(second.deny("203.0.113.0/24").map(|rule| rule.terms.expires_ns), Some(START_NS + 600_000_000_000));
    assert_eq!(second.kernel.held().wanted.as_ref().map(|wanted| wanted.settings.seed), Some(7));
    second.now = START + Span::seconds(599);
    second.tick(1);
    assert_eq!(second.rules(), [""; 0], "and end when they would have");
}

#[tokio::test]
async fn an_operators_decision_is_stored_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = crate::store::open(folder.path()).expect("fresh");
    let mut world = World::new("");
    world.daemon.writer = opened.store.map(crate::store::writer::Writer::start);
    let _ = world.block("203.0.113.0/24", 600, false);
    // The daemon dies here: nothing more is written.
    drop(world);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let again = loop {
        match crate::store::open(folder.path()) {
            Ok(again) => break again,
            Err(failure) => assert!(std::time::Instant::now() < deadline, "{failure}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(again.stored.standing.len(), 1);
}
