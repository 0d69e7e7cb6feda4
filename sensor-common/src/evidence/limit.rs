//! What refuses payload: the limit on requests, and class rules.

use super::{Context, gap, place};
use crate::connection::Connection;
use crate::counter::Counter;
use crate::event::{flag, protocol};
use crate::listing;
use crate::path::DropReason;
use crate::rule::{ClassKey, EARLY_NS, TierLimit};
use crate::tables::Tables;

/// One second and one minute, the windows of the per-source limits, nanoseconds.
pub(super) const SECOND_NS: u64 = 1_000_000_000;
pub(super) const MINUTE_NS: u64 = 60 * SECOND_NS;

/// The limits of the client's tier.
#[inline(always)]
pub(super) fn of<'a, T: Tables>(context: &Context<'a, T>) -> Option<&'a TierLimit> {
    context.tables.limit(listing::tier(context.tables, context.settings, context.segment))
}

/// Adds the requests found in this segment; refuses the segment if they exceed the source's limit.
#[inline(always)]
pub(super) fn count_requests<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> Option<DropReason> {
    let found = connection.found;
    if found == 0 {
        return None;
    }
    let tables = context.tables;
    connection.requests = connection.requests.saturating_add(found);
    connection.flags |= flag::REQUESTED;
    // Not by the protocol: the stream may have contradicted it behind the request.
    let estimated = connection.hello.is_done() || connection.protocol == protocol::WEBSOCKET;
    let counter = if estimated { Counter::RequestsEstimated } else { Counter::RequestsExact };
    tables.count(counter, u64::from(found));
    let Some(source) = place::enter_source(context) else {
        tables.count(Counter::LostRecords, 1);
        return None;
    };
    tables.add(&mut source.requests, u64::from(found));
    source.last_seen_ns = context.segment.now_ns;
    let limits = of(context)?;
    if limits.requests_per_min == 0 || context.allowed() {
        return None;
    }
    if context.segment.now_ns.saturating_sub(source.minute_start_ns) >= MINUTE_NS {
        source.minute_start_ns = context.segment.now_ns;
        source.minute_requests = 0;
    }
    source.minute_requests = source.minute_requests.saturating_add(found);
    if source.minute_requests <= limits.requests_per_min {
        return None;
    }
    // The stream has moved on, so its retransmission must be refused too, until the minute is over.
    let until = source.minute_start_ns.saturating_add(MINUTE_NS);
    hold(context, connection, until, DropReason::RequestLimit)
}

/// Refuses the connection's payload until then; in dry run the frame only counts.
#[inline(always)]
fn hold<T: Tables>(
    context: &Context<'_, T>,
    connection: &mut Connection,
    until_ns: u64,
    reason: DropReason,
) -> Option<DropReason> {
    if context.settings.enforce != 0 {
        // Frames may be judged by a clock that is behind.
        connection.refused_until_ns = until_ns.saturating_sub(EARLY_NS);
        connection.refused_by = reason.code();
        connection.flags |= flag::REFUSED;
    }
    Some(reason)
}

/// Settles the relay gap and counts it for the source.
#[inline(always)]
pub(super) fn count_gap<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if !gap::settle(context, connection) {
        return;
    }
    let tables = context.tables;
    tables.count(Counter::GapSamples, 1);
    let flagged = connection.flags & flag::GAP_FLAGGED != 0;
    tables.count(Counter::GapFlagged, u64::from(flagged));
    if let Some(source) = place::source(context) {
        tables.add(&mut source.gap_samples, 1);
        tables.add(&mut source.gap_flagged, u64::from(flagged));
    }
}

/// Whether a class rule refuses this connection. Two independent families must agree: timing (the relay gap), and
/// the cohort's alarm with the novelty of the network.
#[inline(never)]
pub(super) fn judge_class<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> Option<DropReason> {
    let tables = context.tables;
    if connection.fingerprint == 0 {
        return None;
    }
    let key = ClassKey::new(context.segment.tuple.server_port(), connection.fingerprint);
    let rule = tables.class(&key)?;
    if rule.expires_ns <= context.segment.now_ns || context.allowed() {
        return None;
    }
    // Gone: it was evicted since the handshake, so nobody knows how old it is.
    let newer = place::network(context).is_some_and(|network| network.first_seen_ns >= rule.newer_than_ns);
    let relayed = connection.flags & flag::GAP_FLAGGED != 0;
    let twice = place::source(context).is_some_and(|source| source.gap_flagged >= 2);
    let strong = connection.protocol == protocol::TLS && connection.flags & flag::HELLO_GAP_FLAGGED != 0;
    if !(newer && relayed && (strong || twice)) {
        tables.add(&mut rule.passed, 1);
        return None;
    }
    tables.add(&mut rule.hits, 1);
    connection.flags |= flag::CLASS_MATCHED;
    hold(context, connection, rule.expires_ns, DropReason::Class)
}
