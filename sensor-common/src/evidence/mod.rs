//! Evidence on one connection, from the client's segments alone.
//!
//! The server's side is inferred: the handshake is complete when the client acknowledges it, the server's flight has
//! arrived when the client acknowledges bytes beyond its own first payload. Bytes are followed in order only; what
//! comes out of order makes the rest of the stream unknown, never wrong.

mod gap;

use crate::capacity::SEGMENT_BYTES;
use crate::connection::{Connection, stage};
use crate::counter::Counter;
use crate::event::{flag, protocol};
use crate::path::{DropReason, Verdict};
use crate::rule::ClassKey;
use crate::settings::Settings;
use crate::stats::SourceStats;
use crate::stream;
use crate::tables::{Frame, Tables};
use crate::wire::{Segment, timestamp};

/// One second and one minute, the windows of the per-source limits, nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// How long after its latest segment an open connection is taken to be alive, nanoseconds.
const ALIVE_NS: u64 = MINUTE_NS;
/// Pieces of [`SEGMENT_BYTES`] in the longest segment (one that the receive path has merged).
const PIECES: usize = 4;

/// One segment to a watched service, and where to look things up.
pub(crate) struct Context<'a, T: Tables> {
    pub(crate) frame: &'a T::Frame,
    pub(crate) tables: &'a T,
    pub(crate) settings: &'a Settings,
    pub(crate) segment: &'a Segment,
}

impl<T: Tables> Context<'_, T> {
    /// A match, enforced or not.
    #[inline(always)]
    pub(crate) fn refuse(&self, reason: DropReason) -> Verdict {
        reason.verdict(self.settings)
    }

    #[inline(always)]
    fn allowed(&self) -> bool {
        self.segment.allowed != 0
    }
}

/// Follows the connection that the segment belongs to.
#[inline(never)]
pub(crate) fn track<T: Tables>(context: &Context<'_, T>, source: &mut SourceStats) -> Verdict {
    let key = &context.segment.key;
    if context.segment.is_syn() {
        return open(context, source);
    }
    let Some(connection) = context.tables.connection(key) else {
        context.tables.count(Counter::Untracked, 1);
        return Verdict::Pass;
    };
    connection.last_seen_ns = context.segment.now_ns;
    if context.segment.has_rst() {
        return reset(context, connection);
    }
    if !context.segment.has_ack() || context.segment.has_syn() {
        return Verdict::Pass;
    }
    if context.segment.length > 0 && is_refused(context, connection) && !context.allowed() {
        return context.refuse(DropReason::from_code(connection.refused_by));
    }
    if connection.stage == stage::SYN {
        if !completes(context, connection) {
            return Verdict::Pass;
        }
        // Many handshakes may be under way at once: then their end is where the limit holds.
        if context.settings.enforce != 0 && at_connection_limit(context, source) {
            return context.refuse(DropReason::ConnectionLimit);
        }
        establish(context, connection, source);
    }
    if is_current(context.segment, connection) {
        connection.ack = context.segment.ack;
    }
    let verdict = if context.segment.length > 0 {
        payload(context, connection, source)
    } else {
        acknowledge(context, connection);
        Verdict::Pass
    };
    if context.segment.has_fin() {
        let end = context.segment.seq.wrapping_add(context.segment.length);
        if ends(context, connection, end) {
            connection.next_seq = end.wrapping_add(1);
            connection.flags |= flag::CLOSED;
            report(context, connection);
        }
    }
    verdict
}

/// Whether the segment stands where the stream has come to, or carries it on. What it acknowledges is believed.
#[inline(always)]
fn is_current(segment: &Segment, connection: &Connection) -> bool {
    let end = segment.seq.wrapping_add(segment.length);
    segment.seq == connection.next_seq || !after(segment.seq, connection.next_seq) && after(end, connection.next_seq)
}

/// Whether the server would take a FIN or RST here: in order. Where the order is lost, or payload was refused so that
/// the client is ahead, any will do.
#[inline(always)]
fn ends<T: Tables>(context: &Context<'_, T>, connection: &Connection, seq: u32) -> bool {
    seq == connection.next_seq || connection.flags & flag::STREAM_GAP != 0 || is_refused(context, connection)
}

#[inline(always)]
fn is_refused<T: Tables>(context: &Context<'_, T>, connection: &Connection) -> bool {
    connection.refused_until_ns > context.segment.now_ns
}

/// A connection attempt.
#[inline(never)]
fn open<T: Tables>(context: &Context<'_, T>, source: &mut SourceStats) -> Verdict {
    let tables = context.tables;
    tables.count(Counter::Syns, 1);
    if at_connection_limit(context, source) {
        return context.refuse(DropReason::ConnectionLimit);
    }
    if let Some(known) = tables.connection(&context.segment.key)
        && known.started_ns != 0
        && (known.isn == context.segment.seq || is_alive(context, known))
    {
        // A retransmitted SYN changes nothing. Neither does one in the midst of a connection: the server answers it
        // with a challenge and goes on (RFC 5961 section 4); taken for a new start, it would hide what follows.
        return Verdict::Pass;
    }
    let Some(connection) = tables.open_connection(&context.segment.key) else {
        tables.count(Counter::LostConnections, 1);
        return Verdict::Pass;
    };
    connection.started_ns = context.segment.now_ns;
    connection.last_seen_ns = context.segment.now_ns;
    connection.isn = context.segment.seq;
    connection.next_seq = context.segment.seq.wrapping_add(1);
    connection.seed = context.settings.seed;
    if context.segment.length > 0 {
        // RFC 7413: the client speaks first, so nothing can be timed.
        connection.flags |= flag::FAST_OPEN;
        consume(context, connection, 0);
        connection.next_seq = connection.next_seq.wrapping_add(context.segment.length);
    }
    Verdict::Pass
}

/// Whether the server is likely to hold this connection open still.
#[inline(always)]
fn is_alive<T: Tables>(context: &Context<'_, T>, known: &Connection) -> bool {
    let idle = context.segment.now_ns.saturating_sub(known.last_seen_ns);
    known.stage != stage::SYN && known.flags & flag::CLOSED == 0 && (idle < ALIVE_NS || is_refused(context, known))
}

/// Whether the source has completed all the handshakes that its tier allows in this second. Attempts do not count:
/// anybody can send them in its name.
#[inline(always)]
fn at_connection_limit<T: Tables>(context: &Context<'_, T>, source: &SourceStats) -> bool {
    let Some(limits) = context.tables.limits(&context.segment.client) else { return false };
    limits.connections_per_s != 0
        && !context.allowed()
        && context.segment.now_ns.saturating_sub(source.second_start_ns) < SECOND_NS
        && source.second_connections >= limits.connections_per_s
}

/// Whether this segment completes the handshake.
#[inline(always)]
fn completes<T: Tables>(context: &Context<'_, T>, connection: &Connection) -> bool {
    // With TCP Fast Open the server may not have taken the data in the SYN.
    let first = connection.isn.wrapping_add(1);
    context.segment.seq == connection.next_seq || context.segment.seq == first
}

/// Completes the handshake.
#[inline(never)]
fn establish<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, source: &mut SourceStats) {
    let tables = context.tables;
    connection.established_ns = context.segment.now_ns;
    connection.rtt_us = microseconds(context.segment.now_ns.saturating_sub(connection.started_ns));
    connection.ack = context.segment.ack;
    connection.flags |= flag::ESTABLISHED;
    connection.stage = if connection.flags & flag::FAST_OPEN == 0 { stage::ESTABLISHED } else { stage::DONE };
    if let Some(tsval) = timestamp(context.frame, context.segment) {
        connection.established_tsval = tsval;
        connection.flags |= flag::TIMESTAMPS;
    }
    if context.allowed() {
        connection.flags |= flag::ALLOWED;
    }
    tables.count(Counter::Connections, 1);
    tables.add(&mut source.connections, 1);
    if context.segment.now_ns.saturating_sub(source.second_start_ns) >= SECOND_NS {
        source.second_start_ns = context.segment.now_ns;
        source.second_connections = 0;
    }
    source.second_connections = source.second_connections.saturating_add(1);
    match tables.network(&context.segment.network, context.segment.now_ns) {
        Some((network, true)) => {
            network.last_seen_ns = context.segment.now_ns;
            connection.flags |= flag::NEW_NETWORK;
        }
        Some((network, false)) => network.last_seen_ns = context.segment.now_ns,
        None => tables.count(Counter::LostNetworks, 1),
    }
    // Requests in the SYN's data count now that the client is known to be there. A limit they exceed holds from the
    // next payload on: these are with the server already.
    let _ = count_requests(context, connection, source);
}

/// A reset ends the connection, if it is one that the server would take (RFC 5961 section 3).
#[inline(always)]
fn reset<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> Verdict {
    if ends(context, connection, context.segment.seq) {
        connection.flags |= flag::CLOSED;
        report(context, connection);
        if !is_refused(context, connection) {
            context.tables.close_connection(&context.segment.key);
        }
    }
    Verdict::Pass
}

/// A segment without payload.
#[inline(always)]
fn acknowledge<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    let tcp = context.segment;
    let expected = connection.stage == stage::HELLO && tcp.seq == connection.next_seq;
    if !expected || tcp.has_fin() || !after(tcp.ack, connection.hello_ack) {
        return;
    }
    // The first one: later ones may be delayed together with the client's flight (relay-gap rule).
    connection.flight_ack_ns = context.segment.now_ns;
    match timestamp(context.frame, tcp) {
        Some(tsval) => connection.flight_ack_tsval = tsval,
        None => connection.flags &= !flag::TIMESTAMPS,
    }
    connection.stage = stage::FLIGHT_ACKED;
}

/// A segment with payload.
#[inline(never)]
fn payload<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, source: &mut SourceStats) -> Verdict {
    let end = context.segment.seq.wrapping_add(context.segment.length);
    if !after(end, connection.next_seq) {
        // A retransmission: it was looked at when it came first.
        return Verdict::Pass;
    }
    if after(context.segment.seq, connection.next_seq) {
        context.tables.count(Counter::UnknownGap, u64::from(connection.flags & flag::STREAM_GAP == 0));
        stream::lose(connection);
    }
    let known = connection.next_seq.wrapping_sub(context.segment.seq);
    let known = if after(context.segment.seq, connection.next_seq) { 0 } else { known };
    gap::first_flight(context, connection);
    gap::second_flight(context, connection);
    consume(context, connection, known);
    connection.next_seq = end;
    let verdict = count_requests(context, connection, source);
    if is_ready(connection) {
        count_gap(context, connection, source);
        let judged = judge_class(context, connection, source);
        report(context, connection);
        if judged != Verdict::Pass {
            return judged;
        }
    }
    verdict
}

/// Feeds the payload behind its first `known` bytes to the stream parser.
#[inline(never)]
fn consume<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, known: u32) {
    let length = context.segment.length;
    let fresh = length.saturating_sub(known);
    connection.bytes = connection.bytes.saturating_add(u64::from(fresh));
    connection.found = 0;
    let mut offset = context.segment.payload.saturating_add(known) as usize;
    if connection.protocol == protocol::NONE {
        match context.frame.read::<1>(offset) {
            Some([first]) => stream::start(connection, first),
            None => stream::lose(connection),
        }
        if connection.protocol == protocol::OTHER {
            context.tables.count(Counter::UnknownProtocol, 1);
        }
    }
    let mut rest = fresh;
    for _ in 0..PIECES {
        if connection.protocol == protocol::OTHER {
            return;
        }
        let skipped = stream::skippable(connection).min(rest);
        if skipped > 0 {
            stream::skip(connection, skipped);
        }
        offset += skipped as usize;
        rest -= skipped;
        if rest == 0 {
            return;
        }
        let piece = (rest as usize).min(SEGMENT_BYTES);
        if !context.tables.scan(context.frame, offset, piece, connection) {
            break;
        }
        offset += piece;
        rest -= piece as u32;
        if connection.flags & flag::MALFORMED != 0 {
            context.tables.count(Counter::UnknownMalformed, 1);
            return;
        }
    }
    if rest > 0 && connection.protocol != protocol::OTHER {
        context.tables.count(Counter::UnknownGap, 1);
        stream::lose(connection);
    }
}

/// Adds the requests found in this segment; refuses the segment if they exceed the source's limit.
#[inline(always)]
fn count_requests<T: Tables>(
    context: &Context<'_, T>,
    connection: &mut Connection,
    source: &mut SourceStats,
) -> Verdict {
    let found = connection.found;
    if found == 0 {
        return Verdict::Pass;
    }
    let tables = context.tables;
    connection.requests = connection.requests.saturating_add(found);
    connection.flags |= flag::REQUESTED;
    tables.add(&mut source.requests, u64::from(found));
    // Not by the protocol: the stream may have contradicted it behind the request.
    let estimated = connection.hello.is_done();
    let counter = if estimated { Counter::RequestsEstimated } else { Counter::RequestsExact };
    tables.count(counter, u64::from(found));
    let Some(limits) = tables.limits(&context.segment.client) else { return Verdict::Pass };
    if limits.requests_per_min == 0 || context.allowed() {
        return Verdict::Pass;
    }
    if context.segment.now_ns.saturating_sub(source.minute_start_ns) >= MINUTE_NS {
        source.minute_start_ns = context.segment.now_ns;
        source.minute_requests = 0;
    }
    source.minute_requests = source.minute_requests.saturating_add(found);
    if source.minute_requests <= limits.requests_per_min {
        return Verdict::Pass;
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
) -> Verdict {
    if context.settings.enforce != 0 {
        connection.refused_until_ns = until_ns;
        connection.refused_by = reason.code();
        connection.flags |= flag::REFUSED;
    }
    context.refuse(reason)
}

/// Whether all evidence that comes before the first request is there, and has not been judged yet.
#[inline(always)]
fn is_ready(connection: &Connection) -> bool {
    if connection.flags & flag::REPORTED != 0 {
        return false;
    }
    match connection.protocol {
        protocol::HTTP1 => connection.flags & flag::REQUESTED != 0,
        _ => connection.stage == stage::DONE,
    }
}

/// Settles the relay gap and counts it for the source.
#[inline(always)]
fn count_gap<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, source: &mut SourceStats) {
    if !gap::settle(context, connection) {
        return;
    }
    let tables = context.tables;
    tables.count(Counter::GapSamples, 1);
    tables.add(&mut source.gap_samples, 1);
    if connection.flags & flag::GAP_FLAGGED != 0 {
        tables.count(Counter::GapFlagged, 1);
        tables.add(&mut source.gap_flagged, 1);
    }
}

/// Whether a class rule refuses this connection. Two independent families must agree: timing (the relay gap), and
/// the cohort's alarm with the novelty of the network.
#[inline(never)]
fn judge_class<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, source: &mut SourceStats) -> Verdict {
    let tables = context.tables;
    if connection.fingerprint == 0 {
        return Verdict::Pass;
    }
    let key = ClassKey::new(context.segment.key.server_port, connection.fingerprint);
    let Some(rule) = tables.class(&key) else { return Verdict::Pass };
    if rule.expires_ns <= context.segment.now_ns || context.allowed() {
        return Verdict::Pass;
    }
    // Entered just now: it was evicted since the handshake, so nobody knows how old it is.
    let newer = match tables.network(&context.segment.network, context.segment.now_ns) {
        Some((network, false)) => network.first_seen_ns >= rule.newer_than_ns,
        Some((_, true)) | None => false,
    };
    let relayed = connection.flags & flag::GAP_FLAGGED != 0;
    let twice = source.gap_flagged >= 2;
    let strong = connection.protocol == protocol::TLS && connection.flags & flag::HELLO_GAP_FLAGGED != 0;
    if !(newer && relayed && (strong || twice)) {
        tables.add(&mut rule.passed, 1);
        return Verdict::Pass;
    }
    tables.add(&mut rule.hits, 1);
    connection.flags |= flag::CLASS_MATCHED;
    hold(context, connection, rule.expires_ns, DropReason::Class)
}

/// Sends the connection's record, once.
#[inline(never)]
fn report<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if connection.flags & (flag::REPORTED | flag::ESTABLISHED) != flag::ESTABLISHED {
        return;
    }
    connection.flags |= flag::REPORTED;
    let sent = context.tables.report(&context.segment.key, connection, context.segment.now_ns);
    context.tables.count(if sent { Counter::Events } else { Counter::LostEvents }, 1);
}

/// Whether sequence number `a` comes after `b` (RFC 9293 section 3.4: modulo 2^32).
#[inline(always)]
pub(crate) fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// Nanoseconds as microseconds, saturating below [`crate::event::UNKNOWN_US`].
#[inline(always)]
pub(crate) fn microseconds(ns: u64) -> u32 {
    let us = ns / 1_000;
    if us >= u64::from(u32::MAX) { u32::MAX - 1 } else { us as u32 }
}
