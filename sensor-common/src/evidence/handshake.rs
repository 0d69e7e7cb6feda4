//! The handshake: which SYN begins a connection, which segment completes it, and the limit on how many may.

use super::limit::{SECOND_NS, count_requests};
use super::place::{self, Entry};
use super::{Context, consume, is_open, microseconds};
use crate::connection::{Connection, stage};
use crate::counter::Counter;
use crate::event::flag;
use crate::half_open::{self, Attempt};
use crate::path::DropReason;
use crate::settings::Settings;
use crate::tables::Tables;
use crate::wire::{Segment, timestamp};

/// A connection attempt. All it leaves is a half-open entry: anybody can send it in anybody's name.
#[inline(always)]
pub(super) fn attempted<T: Tables>(tables: &T, settings: &Settings, segment: &Segment) -> Option<DropReason> {
    tables.count(Counter::Syns, 1);
    remember(tables, settings, segment);
    None
}

#[inline(always)]
fn remember<T: Tables>(tables: &T, settings: &Settings, segment: &Segment) {
    if half_open::remember(tables, settings, segment.tag, segment.seq, segment.now_ns).is_none() {
        tables.count(Counter::LostConnections, 1);
    }
}

/// An attempt of a source that completed a handshake before, or one that brings data.
#[inline(never)]
pub(super) fn open<T: Tables>(context: &Context<'_, T>) -> Option<DropReason> {
    let segment = context.segment;
    context.tables.count(Counter::Syns, 1);
    // Where a handshake is completed the limit is asked again: here it only spares the server the attempt.
    if at_connection_limit(context) {
        return Some(DropReason::ConnectionLimit);
    }
    let former = place::find(context.tables, context.settings, &segment.tuple, segment.tag);
    if let Some(known) = &former
        && (known.isn == segment.seq || is_open(segment, known))
    {
        // A retransmitted SYN changes nothing. Neither does one in the midst of a connection: the server answers it
        // with a challenge and goes on (RFC 5961 section 4); taken for a new start, it would hide what follows.
        return None;
    }
    if segment.length == 0 {
        remember(context.tables, context.settings, segment);
    } else {
        open_fast(context, former);
    }
    None
}

/// An attempt that brings data (RFC 7413): its bytes have to be followed from here on, so it gets its record at once.
#[inline(always)]
fn open_fast<T: Tables>(context: &Context<'_, T>, former: Option<&mut Connection>) {
    let segment = context.segment;
    let entered = place::enter(context, former.is_some(), Entry::Attempt);
    let Some((connection, ours)) = place::taken_by(context, entered) else {
        context.tables.count(Counter::LostConnections, 1);
        return;
    };
    if !ours {
        return;
    }
    begin(context, connection, segment.seq, segment.now_ns);
    // The client speaks first, so nothing can be timed.
    connection.flags |= flag::FAST_OPEN;
    consume(context, connection, 0);
    connection.next_seq = connection.next_seq.wrapping_add(segment.length);
    place::settle(context, entered);
}

/// Writes what an attempt says into a fresh record.
#[inline(always)]
fn begin<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, isn: u32, started_ns: u64) {
    connection.started_ns = started_ns;
    connection.last_seen_ns = context.segment.now_ns;
    connection.isn = isn;
    connection.next_seq = isn.wrapping_add(1);
    connection.seed = context.settings.seed;
}

/// The half-open attempt whose handshake the segment completes, if it does.
#[inline(always)]
pub(super) fn attempt<T: Tables>(context: &Context<'_, T>) -> Option<Attempt> {
    let segment = context.segment;
    if !segment.has_ack() || segment.has_syn() || segment.has_rst() {
        return None;
    }
    half_open::find(context.tables, context.settings, segment.tag, segment.seq.wrapping_sub(1), segment.now_ns)
}

/// Enters the record of a connection whose handshake is complete now.
#[inline(never)]
pub(super) fn complete<'a, T: Tables>(
    context: &Context<'a, T>,
    former: bool,
    isn: u32,
    started_ns: u64,
) -> Option<&'a mut Connection> {
    let entered = place::enter(context, former, Entry::Completed);
    let Some((connection, ours)) = place::taken_by(context, entered) else {
        context.tables.count(Counter::LostConnections, 1);
        return None;
    };
    half_open::forget(context.tables, context.settings, context.segment.tag);
    if ours {
        begin(context, connection, isn, started_ns);
        establish(context, connection);
        place::settle(context, entered);
        count_established(context, connection);
    }
    Some(connection)
}

/// Whether the source has completed all the handshakes that its tier allows in this second. Attempts do not count:
/// anybody can send them in its name.
#[inline(never)]
pub(super) fn at_connection_limit<T: Tables>(context: &Context<'_, T>) -> bool {
    if context.allowed() {
        return false;
    }
    let Some(limit) = super::limit::of(context) else { return false };
    if limit.connections_per_s == 0 {
        return false;
    }
    let Some(source) = place::source(context) else { return false };
    context.segment.now_ns.saturating_sub(source.second_start_ns) < SECOND_NS
        && source.second_connections >= limit.connections_per_s
}

/// Whether this segment completes the handshake.
#[inline(always)]
pub(super) fn completes<T: Tables>(context: &Context<'_, T>, connection: &Connection) -> bool {
    // With TCP Fast Open the server may not have taken the data in the SYN.
    let first = connection.isn.wrapping_add(1);
    context.segment.seq == connection.next_seq || context.segment.seq == first
}

/// The handshake is complete: the first thing that only somebody at the client's address can bring about.
#[inline(always)]
pub(super) fn established<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    establish(context, connection);
    count_established(context, connection);
}

/// Writes what a completed handshake says into the record.
#[inline(always)]
fn establish<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    let now_ns = context.segment.now_ns;
    connection.established_ns = now_ns;
    connection.rtt_us = microseconds(now_ns.saturating_sub(connection.started_ns));
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
}

/// Counts a completed handshake for the source and its network.
#[inline(always)]
fn count_established<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if is_first_of_network(context) {
        connection.flags |= flag::NEW_NETWORK;
    }
    // Requests in the SYN's data count now that the client is known to be there. A limit they exceed holds from the
    // next payload on: these are with the server already.
    let _ = count_requests(context, connection);
}

/// As [`count_established`]. Whether its network was met for the first time.
#[inline(never)]
fn is_first_of_network<T: Tables>(context: &Context<'_, T>) -> bool {
    let tables = context.tables;
    let now_ns = context.segment.now_ns;
    tables.count(Counter::Connections, 1);
    match place::enter_source(context) {
        Some(source) => {
            tables.add(&mut source.connections, 1);
            source.last_seen_ns = now_ns;
            if now_ns.saturating_sub(source.second_start_ns) >= SECOND_NS {
                source.second_start_ns = now_ns;
                source.second_connections = 0;
            }
            source.second_connections = source.second_connections.saturating_add(1);
        }
        None => tables.count(Counter::LostRecords, 1),
    }
    match place::enter_network(context) {
        Some(network) => {
            let first = network.last_seen_ns == 0;
            network.last_seen_ns = now_ns;
            first
        }
        None => {
            tables.count(Counter::LostNetworks, 1);
            false
        }
    }
}
