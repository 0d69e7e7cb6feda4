//! Many rules at once: entered, compared and ended in slices, with everybody else served in between.

use super::{START, START_NS, World, parsed};
use crate::control::protocol::{Answer, Bulk, BulkDone, Deed, Request};
use crate::daemon::enforce::SLICE;
use crate::daemon::protect::Survey;
use crate::engine::plan::Subject;
use crate::kernel::{Installed, Terms};

/// More than two slices, and more than one look compares.
const MANY: usize = 10_000;

fn bulk(deed: Deed, lines: &str, check: bool) -> Bulk {
    let (lines, reason) = (lines.to_owned(), "a feed".to_owned());
    Bulk { deed, lines, first_line: 1, reason, ttl_s: Some(60), force: false, skip_bad: true, check }
}

fn many() -> String {
    (0..MANY).map(|n| format!("10.{}.{}.9\n", n / 256, n % 256)).collect()
}

impl World {
    fn list(&mut self, deed: Deed, lines: &str, check: bool) -> BulkDone {
        match self.ask(Request::Bulk(bulk(deed, lines, check))) {
            Ok(Answer::Bulk(done)) => *done,
            other => panic!("no answer to a list: {other:?}"),
        }
    }

    fn stands(&self) -> usize {
        self.kernel.held().rules.len()
    }

    /// Catches up until nothing waits; how many slices that took.
    fn catch_up(&mut self) -> usize {
        let mut slices = 0;
        while self.daemon.has_backlog() {
            let before = self.kernel.held().writes.len();
            self.daemon.catch_up(self.now);
            slices += 1;
            assert!(self.kernel.held().writes.len() - before <= SLICE, "a slice is bounded");
            assert!(slices <= MANY, "it never ends");
        }
        slices
    }
}

#[test]
fn a_long_list_enters_in_slices_and_others_are_served_between() {
    let mut world = World::new("enforce = true");
    let checked = world.list(Deed::Block, &many(), true);
    assert_eq!((checked.applied, checked.bad, world.stands()), (MANY, 0, 0), "a check changes nothing");
    let done = world.list(Deed::Block, &many(), false);
    assert_eq!((done.prefixes, done.applied, done.pending), (MANY, MANY, MANY));
    assert_eq!(world.stands(), 0, "the kernel follows");
    world.daemon.catch_up(world.now);
    assert_eq!((world.stands(), world.status().rules_pending), (SLICE, (MANY - SLICE) as u64));
    // Whoever asks for one rule has it at once, and whoever is allowed comes before the rest.
    world.block("203.0.113.9", 60, false).expect("a single block");
    assert!(world.deny("203.0.113.9").is_some());
    world.allow("198.51.100.0/24").expect("a single allow");
    assert!(world.rules().contains(&"allow 198.51.100.0/24".to_owned()));
    world.list(Deed::Allow, "192.0.2.0/24\n", false);
    world.kernel.held().writes.clear();
    assert_eq!(world.catch_up(), (MANY - SLICE + 1).div_ceil(SLICE));
    assert_eq!(world.kernel.held().writes[0], "install allow 192.0.2.0/24");
    assert_eq!((world.stands(), world.status().rules_pending), (MANY + 3, 0));
    let terms = world.deny("10.0.7.9").map(|rule| rule.terms);
    assert_eq!(terms, Some(Terms { expires_ns: START_NS + 60_000_000_000, newer_than_ns: 0 }));
    let again = world.list(Deed::Block, &many(), false);
    assert_eq!((again.applied, again.unchanged, again.pending), (0, MANY, 0));
}

#[test]
fn many_rules_end_in_slices_too() {
    let mut world = World::new("enforce = true");
    world.list(Deed::Block, &many(), false);
    world.catch_up();
    world.tick(59);
    let before = world.kernel.held().writes.len();
    world.tick(1);
    assert!(world.kernel.held().writes.len() - before <= SLICE, "a tick is bounded");
    world.tick(10);
    assert_eq!((world.stands(), world.status().warnings), (0, Vec::new()));
}

#[test]
fn with_nothing_to_do_nothing_is_done_and_drift_is_still_put_right() {
    let mut world = World::new("enforce = true");
    let lines = many();
    world.list(Deed::Block, &lines, false);
    world.catch_up();
    world.tick(10);
    let writes = world.kernel.held().writes.len();
    world.tick(5);
    assert_eq!(world.kernel.held().writes.len(), writes);
    world.kernel.held().rules.remove(&Subject::Deny(parsed("10.0.7.9")));
    world.kernel.held().rules.insert(Subject::Deny(parsed("192.0.2.0/24")), Installed::default());
    let changed = Terms { expires_ns: 1, newer_than_ns: 0 };
    world
        .kernel
        .held()
        .rules
        .insert(Subject::Deny(parsed("10.1.7.9")), Installed { terms: changed, hits: 5, passed: 0 });
    world.tick(8);
    assert_eq!(world.stands(), MANY);
    assert_eq!(world.deny("10.1.7.9").map(|rule| (rule.hits, rule.terms != changed)), Some((5, true)));
    assert!(world.deny("10.0.7.9").is_some() && world.deny("192.0.2.0/24").is_none());
    let warnings = world.status().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("2 time(s)")), "{warnings:?}");
}

#[test]
fn what_a_look_has_read_already_is_not_held_against_later_changes() {
    let mut world = World::new("enforce = true");
    world.list(Deed::Block, &many(), false);
    world.catch_up();
    // The first tick reads all rules and compares a part of them; these are changed before the rest is.
    while world.daemon.enforcement.look.is_over() {
        world.tick(1);
    }
    world.unblock("10.39.15.9").expect("it was blocked");
    world.block("10.39.14.9", 600, false).expect("its life is changed");
    world.block("203.0.113.9", 600, false).expect("a new one");
    world.tick(3);
    assert_eq!(world.status().warnings, [""; 0], "no drift");
    assert!(world.deny("10.39.15.9").is_none() && world.deny("203.0.113.9").is_some());
}

#[test]
fn guards_hold_line_by_line() {
    let mut world = World::new("allow = [\"198.51.100.0/24\"]\nenforce = true");
    let peers = [(parsed("203.0.113.9").address, "the peer of an SSH session".to_owned())].into();
    world.daemon.survey(START, Survey { peers, own: Vec::new() }, None);
    let lines = "192.0.2.7\n203.0.113.0/24\n198.51.100.7\n0.0.0.0/0\n192.0.2.8\n";
    let done = world.list(Deed::Block, lines, false);
    let bad: Vec<usize> = done.bad_lines.iter().map(|bad| bad.line).collect();
    assert_eq!((done.applied, bad), (2, vec![2, 3, 4]));
    assert!(done.bad_lines[0].error.contains("the peer of an SSH session"), "{done:?}");
    world.catch_up();
    let denied = ["deny 192.0.2.7/32", "deny 192.0.2.8/32"];
    assert!(world.rules().ends_with(&denied.map(str::to_owned)), "{:?}", world.rules());
    let forced = Bulk { force: true, ..bulk(Deed::Block, "203.0.113.0/24\n", false) };
    let Ok(Answer::Bulk(forced)) = world.ask(Request::Bulk(forced)) else { panic!("it is answered") };
    assert_eq!((forced.applied, forced.warnings.len()), (1, 1));
}

#[test]
fn a_list_is_unblocked_and_what_was_not_blocked_is_counted() {
    let mut world = World::new("enforce = true");
    world.list(Deed::Block, "192.0.2.7\n192.0.2.8\n", false);
    world.catch_up();
    let done = world.list(Deed::Unblock, "192.0.2.8\n203.0.113.1\n", false);
    assert_eq!((done.applied, done.unchanged, done.bad), (1, 1, 0));
    world.catch_up();
    assert_eq!(world.rules(), ["deny 192.0.2.7/32"]);
}

#[test]
fn what_the_kernel_refuses_is_counted_and_tried_again() {
    let mut world = World::new("enforce = true");
    world.kernel.held().refuse = Some("the kernel's table is full".to_owned());
    world.list(Deed::Block, &many(), false);
    world.catch_up();
    let warnings = world.status().warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("10000 rule(s) not installed")), "{warnings:?}");
    world.kernel.held().refuse = None;
    world.tick(10);
    assert_eq!((world.stands(), world.status().warnings), (MANY, Vec::new()));
}

#[test]
fn rules_are_given_page_by_page() {
    let mut world = World::new("enforce = true");
    world.list(Deed::Block, &many(), false);
    world.allow("198.51.100.0/24").expect("an allow");
    let page = |world: &mut World, kind: Option<&str>, limit, offset| match world.ask(Request::Rules {
        kind: kind.map(str::to_owned),
        limit,
        offset,
    }) {
        Ok(Answer::Rules { rules, total }) => (rules.into_iter().map(|rule| rule.subject).collect::<Vec<_>>(), total),
        other => panic!("no rules: {other:?}"),
    };
    assert_eq!(page(&mut world, None, 2, 0), (vec!["198.51.100.0/24".to_owned(), "10.0.0.9/32".to_owned()], MANY + 1));
    assert_eq!(page(&mut world, Some("deny"), 1, MANY - 1), (vec!["10.39.15.9/32".to_owned()], MANY));
    assert_eq!(page(&mut world, Some("class"), 10, 0), (Vec::new(), 0));
}

#[test]
fn room_counts_what_stands() {
    let mut world = World::new("enforce = true");
    let empty = world.list(Deed::Block, "", true).room;
    world.list(Deed::Block, &many(), false);
    assert_eq!(world.list(Deed::Block, "", true).room, empty - MANY);
}
