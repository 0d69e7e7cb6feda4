//! The packet path's counters as metrics. Every counter has a place: its group gives it one.

use prometheus_client::registry::Registry;
use sensor_common::counter::{Counter, Group};

use super::series::{Total, Totals};

/// Totals copied from the kernel's counters.
#[derive(Debug)]
pub(super) struct KernelTotals {
    single: Vec<(Counter, Total)>,
    groups: Vec<Totals<Counter>>,
    hits: Totals<&'static [Counter]>,
}

/// Frames that matched a rule of each kind, enforced or not. Counters outlive the rules, so these never go backwards.
const HITS: [(&str, &[Counter]); 3] = [
    ("allow", &[Counter::Allowed]),
    ("deny", &[Counter::DropDeny, Counter::WouldDropDeny]),
    ("class", &[Counter::DropClass, Counter::WouldDropClass]),
];

/// Where a counter that stands alone goes.
enum Place {
    Own(&'static str),
    /// Part of the requests, by how they are counted.
    Requests(&'static str),
}

fn place(counter: Counter) -> Option<Place> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only counters that stand alone are named one by one")]
    Some(match counter {
        Counter::RequestsExact => Place::Requests("exact"),
        Counter::RequestsEstimated => Place::Requests("estimated"),
        Counter::Allowed => Place::Own("allowed_frames"),
        Counter::Untracked => Place::Own("untracked_segments"),
        _ if counter.group() == Group::Total => Place::Own(counter.name()),
        _ => return None,
    })
}

impl KernelTotals {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut single = Vec::new();
        let mut requests = Vec::new();
        for counter in Counter::ALL {
            match place(*counter) {
                Some(Place::Own(name)) => single.push((*counter, Total::register(registry, name, help(*counter)))),
                Some(Place::Requests(counting)) => requests.push((counting, *counter)),
                None => {}
            }
        }
        let text = "Requests to watched services: exact for plaintext HTTP, estimated inside TLS and WebSocket";
        let mut groups = vec![Totals::register(registry, "requests", text, "counting", requests)];
        for (group, name, label, text) in [
            (Group::Drop, "dropped_frames", "reason", "Frames dropped, by reason"),
            (Group::WouldDrop, "would_drop_frames", "reason", "Frames that a rule matched in dry run: they passed"),
            (Group::Reject, "rejected_frames", "reason", "Frames passed because they were not understood"),
            (Group::Unknown, "unknown_evidence", "reason", "Connections whose evidence was given up"),
            (Group::Lost, "lost", "kind", "Records and table entries lost for want of room"),
        ] {
            let parts = Counter::ALL.iter().filter(|counter| counter.group() == group);
            groups.push(Totals::register(registry, name, text, label, parts.map(|part| (part.name(), *part))));
        }
        let text = "Frames that matched a rule, by the rule's kind, in dry run too";
        let hits = Totals::register(registry, "rule_hits", text, "kind", HITS);
        Self { single, groups, hits }
    }

    /// Takes over the kernel's counters.
    pub(super) fn follow(&mut self, counters: &[u64]) {
        let read = |counter: Counter| counters.get(counter.index() as usize).copied().unwrap_or_default();
        for (counter, total) in &mut self.single {
            total.follow(read(*counter));
        }
        for group in &mut self.groups {
            group.follow(read);
        }
        self.hits.follow(|parts| parts.iter().map(|part| read(*part)).sum());
    }
}

/// The counter's meaning without its full stop: the encoder sets one itself.
fn help(counter: Counter) -> &'static str {
    let text = counter.help().trim();
    text.strip_suffix('.').unwrap_or(text)
}
