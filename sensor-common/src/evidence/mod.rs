//! Evidence on one connection, from the client's segments alone.
//!
//! The server's side is inferred: the handshake is complete when the client acknowledges it, the server's flight has
//! arrived when the client acknowledges bytes beyond its own first payload. Bytes are followed in order only; what
//! comes out of order makes the rest of the stream unknown, never wrong.
//!
//! Functions that are not inlined return something that their caller uses: what a BPF function that returns nothing
//! leaves in the result's register may be an address of the stack, and that the verifier refuses.

mod budget;
mod gap;
mod handshake;
mod limit;
mod place;

use crate::capacity::SEGMENT_BYTES;
use crate::connection::{Connection, stage};
use crate::counter::Counter;
use crate::event::{flag, protocol};
use crate::half_open;
use crate::path::DropReason;
use crate::settings::Settings;
use crate::stream;
use crate::tables::{Clock, Frame, Tables};
use crate::traffic;
use crate::wire::{Segment, timestamp};

/// How long after its latest segment an open connection is taken to be alive, nanoseconds.
pub(crate) const ALIVE_NS: u64 = limit::MINUTE_NS;
/// Pieces of [`SEGMENT_BYTES`] that are read of one segment that the receive path has merged.
const PIECES: usize = 2;

/// One segment to a watched service, and where to look things up.
pub(crate) struct Context<'a, T: Tables> {
    pub(crate) frame: &'a T::Frame,
    pub(crate) tables: &'a T,
    pub(crate) settings: &'a Settings,
    pub(crate) segment: &'a Segment,
}

impl<T: Tables> Context<'_, T> {
    #[inline(always)]
    fn allowed(&self) -> bool {
        self.segment.allowed != 0
    }
}

/// Names the connection that the segment belongs to, and begins to fetch what [`track`] needs.
#[inline(always)]
pub(crate) fn approach<T: Tables>(tables: &T, settings: &Settings, segment: &mut Segment) {
    segment.tag = half_open::tag(&segment.tuple, settings.seed);
    if segment.length == 0 {
        half_open::approach(tables, settings, segment.tag);
    }
    if !segment.is_syn() {
        place::approach(tables, settings, segment.tag);
    }
}

/// Follows the connection that the segment belongs to. Gives why the segment is to be refused, if it is.
#[inline(always)]
pub(crate) fn track<T: Tables>(
    frame: &T::Frame,
    tables: &T,
    clock: &impl Clock,
    settings: &Settings,
    segment: &mut Segment,
) -> Option<DropReason> {
    if segment.is_syn() {
        segment.now_ns = clock.attempt_ns();
        if segment.length > 0 || traffic::is_protected(tables, segment) {
            return handshake::open(&Context { frame, tables, settings, segment });
        }
        return handshake::attempted(tables, settings, segment);
    }
    match place::glance(tables, settings, segment.tag) {
        Some(connection) if segment.is_bare_ack() && !awaits_ack(connection.stage) && is_open(segment, connection) => {
            connection.last_seen_ns = segment.now_ns;
            if is_current(segment, connection) {
                connection.ack = segment.ack;
            }
            traffic::protect(tables, segment);
            None
        }
        _ => advance(frame, tables, clock, settings, segment),
    }
}

/// Whether an acknowledgement may be evidence at this stage.
#[inline(always)]
const fn awaits_ack(stage: u8) -> bool {
    matches!(stage, stage::SYN | stage::HELLO)
}

/// Whether the server is likely to hold this connection open still.
#[inline(always)]
pub(crate) fn is_open(segment: &Segment, known: &Connection) -> bool {
    let idle = segment.now_ns.saturating_sub(known.last_seen_ns);
    let lively = idle < ALIVE_NS || known.refused_until_ns > segment.now_ns;
    known.stage != stage::SYN && known.flags & flag::CLOSED == 0 && lively
}

/// Any other segment than a SYN, or an acknowledgement that tells nothing new.
#[inline(never)]
fn advance<T: Tables>(
    frame: &T::Frame,
    tables: &T,
    clock: &impl Clock,
    settings: &Settings,
    segment: &mut Segment,
) -> Option<DropReason> {
    let found = place::find(tables, settings, &segment.tuple, segment.tag);
    let alive = found.as_ref().is_some_and(|connection| is_open(segment, connection));
    // Evidence is timed; once it is complete, the clock of the timer tick at hand will do.
    if !alive || found.as_ref().is_none_or(|connection| connection.stage != stage::DONE) {
        segment.now_ns = clock.now_ns();
    }
    let context = Context { frame, tables, settings, segment };
    // One that ended gives way to a new one with the same addresses and ports.
    let attempt = if alive { None } else { handshake::attempt(&context) };
    let connection = match (found, attempt) {
        (former, Some(attempt)) => {
            // Many handshakes may be under way at once: here is where the limit holds.
            if settings.enforce != 0 && handshake::at_connection_limit(&context) {
                return Some(DropReason::ConnectionLimit);
            }
            handshake::complete(&context, former.is_some(), attempt.isn, attempt.started_ns)?
        }
        (Some(connection), None) => connection,
        (None, None) => {
            tables.count(Counter::Untracked, 1);
            return None;
        }
    };
    if connection.stage != stage::SYN {
        traffic::protect(tables, segment);
    }
    follow(&context, connection)
}

/// A segment of a connection whose record is there.
#[inline(always)]
fn follow<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> Option<DropReason> {
    connection.last_seen_ns = context.segment.now_ns;
    if context.segment.has_rst() {
        return reset(context, connection);
    }
    if !context.segment.has_ack() || context.segment.has_syn() {
        return None;
    }
    if context.segment.length > 0 && is_refused(context, connection) && !context.allowed() {
        return Some(DropReason::from_code(connection.refused_by));
    }
    if connection.stage == stage::SYN {
        // Data came with its SYN (TCP Fast Open), so its record is older than its handshake.
        if !handshake::completes(context, connection) {
            return None;
        }
        if context.settings.enforce != 0 && handshake::at_connection_limit(context) {
            return Some(DropReason::ConnectionLimit);
        }
        handshake::established(context, connection);
    }
    if is_current(context.segment, connection) {
        connection.ack = context.segment.ack;
    }
    let verdict = if context.segment.length > 0 {
        payload(context, connection)
    } else {
        acknowledge(context, connection);
        None
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

/// A reset ends the connection, if it is one that the server would take (RFC 5961 section 3).
#[inline(never)]
fn reset<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> Option<DropReason> {
    if ends(context, connection, context.segment.seq) {
        connection.flags |= flag::CLOSED;
        report(context, connection);
        if !is_refused(context, connection) {
            place::free(context);
        }
    }
    None
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
fn payload<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> Option<DropReason> {
    let end = context.segment.seq.wrapping_add(context.segment.length);
    if !after(end, connection.next_seq) {
        // A retransmission: it was looked at when it came first.
        return None;
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
    let verdict = limit::count_requests(context, connection);
    if is_ready(connection) {
        limit::count_gap(context, connection);
        let judged = limit::judge_class(context, connection);
        report(context, connection);
        if judged.is_some() {
            return judged;
        }
    }
    verdict
}

/// Feeds the payload behind its first `known` bytes to the stream parser.
#[inline(always)]
fn consume<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, known: u32) {
    if read(context, connection, known) > 0 {
        context.tables.count(Counter::UnknownGap, 1);
        stream::lose(connection);
    }
}

/// As [`consume`]. How many bytes it could not read although they matter.
#[inline(never)]
fn read<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, known: u32) -> u32 {
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
            return 0;
        }
        let skipped = stream::skippable(connection).min(rest);
        if skipped > 0 {
            stream::skip(connection, skipped);
        }
        offset += skipped as usize;
        rest -= skipped;
        if rest == 0 {
            return 0;
        }
        let piece = (rest as usize).min(SEGMENT_BYTES);
        if !context.tables.scan(context.frame, offset, piece, connection) {
            break;
        }
        offset += piece;
        rest -= piece as u32;
        if connection.flags & flag::MALFORMED != 0 {
            context.tables.count(Counter::UnknownMalformed, 1);
            return 0;
        }
    }
    if connection.protocol == protocol::OTHER { 0 } else { rest }
}

/// Whether all evidence that comes before the first request is there, and has not been judged yet.
#[inline(always)]
fn is_ready(connection: &Connection) -> bool {
    if connection.flags & flag::REPORTED != 0 {
        return false;
    }
    if protocol::is_plaintext(connection.protocol) {
        return connection.flags & flag::REQUESTED != 0;
    }
    connection.stage == stage::DONE
}

/// Sends the connection's record, once, if the second's budget has room for it.
#[inline(always)]
fn report<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if connection.flags & (flag::REPORTED | flag::ESTABLISHED) != flag::ESTABLISHED {
        return;
    }
    connection.flags |= flag::REPORTED;
    let fate = send(context, connection);
    context.tables.count(fate, 1);
}

/// Sends the record. What is to be counted for it.
#[inline(never)]
fn send<T: Tables>(context: &Context<'_, T>, connection: &Connection) -> Counter {
    if !budget::admits(context.tables, context.settings, context.segment.now_ns) {
        return Counter::ShedEvents;
    }
    let sent = context.tables.report(&context.segment.tuple, connection, context.segment.now_ns);
    if sent { Counter::Events } else { Counter::LostEvents }
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
