//! Which prefix rule a frame's source is under.
//!
//! What was found is kept with the source's counters, so the tries are walked for its first frame and whenever a filter
//! says that there may be more. Allow is asked each time and wins over what was kept.

use crate::address::{Address, Prefix};
use crate::filter::{Probe, Trie};
use crate::rule::{EARLY_NS, Reference, Rule, kind};
use crate::settings::Settings;
use crate::tables::Tables;
use crate::traffic::{self, TrafficBucket, WAYS};
use crate::wire::Segment;

/// What a source is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Nothing,
    Allowed,
    Denied,
}

/// What the filters say of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    allow: bool,
    deny: bool,
}

/// Asks the filters.
#[inline(always)]
pub(crate) fn marks<T: Tables>(tables: &T, settings: &Settings, segment: &Segment) -> Marks {
    let probe = Probe::new(segment.source, settings.seed);
    Marks { allow: probe.may_be_in(Trie::Allow, tables), deny: probe.may_be_in(Trie::Deny, tables) }
}

/// The rule that the frame's source is under, and counts the frame for it.
#[inline(always)]
pub(crate) fn look_up<T: Tables>(
    tables: &T,
    settings: &Settings,
    segment: &Segment,
    marks: Marks,
    bucket: Option<&TrafficBucket>,
) -> Listing {
    let kept = match bucket {
        Some(bucket) => bucket.rules[usize::from(segment.way) & (WAYS - 1)],
        None => 0,
    };
    let kept_kind = standing_kind(tables, segment, kept);
    if kept_kind == kind::ALLOW {
        hit(tables, settings, Reference::place(kept));
        return Listing::Allowed;
    }
    if marks.allow && ask(tables, settings, segment, kind::ALLOW) {
        return Listing::Allowed;
    }
    if kept_kind == kind::DENY {
        hit(tables, settings, Reference::place(kept));
        return Listing::Denied;
    }
    if marks.deny && ask(tables, settings, segment, kind::DENY) {
        return Listing::Denied;
    }
    Listing::Nothing
}

/// The tier of the frame's source.
#[inline(never)]
pub(crate) fn tier<T: Tables>(tables: &T, settings: &Settings, segment: &Segment) -> u32 {
    let probe = Probe::new(segment.source, settings.seed);
    if !probe.may_be_in(Trie::Tier, tables) {
        return 0;
    }
    tables.tier(&question(segment).prefix).unwrap_or(0)
}

/// The client's address as a trie is asked. Laid out so that the address is aligned: the verifier takes no other stores
/// on the stack, and the compiler would make words of its bytes.
#[repr(C, align(8))]
struct Question {
    padding: u32,
    prefix: Prefix,
}

/// The client's address, all bits of it.
#[inline(always)]
fn question(segment: &Segment) -> Question {
    let [high, low] = segment.tuple.client;
    Question { padding: 0, prefix: Prefix { bits: 128, address: Address::from_words(high, low) } }
}

/// What the rule that was kept does, if it still stands and holds.
#[inline(always)]
fn standing_kind<T: Tables>(tables: &T, segment: &Segment, kept: u32) -> u32 {
    if kept == 0 {
        return kind::NONE;
    }
    match tables.rule(Reference::place(kept)) {
        Some(rule) if rule.is(kept) && holds(rule, segment) => rule.kind,
        _ => kind::NONE,
    }
}

#[inline(always)]
fn holds(rule: &Rule, segment: &Segment) -> bool {
    rule.expires_ns > segment.now_ns.saturating_add(EARLY_NS)
}

/// Asks a trie. If it names a rule that stands and holds, the frame is counted for it, and it is kept for the source.
#[inline(never)]
fn ask<T: Tables>(tables: &T, settings: &Settings, segment: &Segment, kind: u32) -> bool {
    let client = question(segment);
    let found = if kind == kind::ALLOW { tables.allow(&client.prefix) } else { tables.deny(&client.prefix) };
    let Some(reference) = found else { return false };
    let packed = reference.pack();
    let Some(rule) = tables.rule(Reference::place(packed)) else { return false };
    if !rule.is(packed) || !rule.does(kind) || !holds(rule, segment) {
        return false;
    }
    if rule.holds_for_source() {
        traffic::keep_rule(tables, segment, packed);
    }
    hit(tables, settings, Reference::place(packed));
    true
}

#[inline(always)]
fn hit<T: Tables>(tables: &T, settings: &Settings, place: u32) {
    tables.hit(tables.cpu() & settings.sizes.regions.wrapping_sub(1), place);
}
