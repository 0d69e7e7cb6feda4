//! The handshake: which SYN begins a connection, which segment completes it, and the limit on how many may.

use super::limit::{SECOND_NS, count_requests};
use super::{ALIVE_NS, Context, consume, is_refused, microseconds};
use crate::connection::{Connection, stage};
use crate::counter::Counter;
use crate::event::flag;
use crate::path::{DropReason, Verdict};
use crate::stats::SourceStats;
use crate::tables::Tables;
use crate::wire::timestamp;

/// A connection attempt.
#[inline(never)]
pub(super) fn open<T: Tables>(context: &Context<'_, T>, source: &mut SourceStats) -> Verdict {
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
pub(super) fn at_connection_limit<T: Tables>(context: &Context<'_, T>, source: &SourceStats) -> bool {
    let Some(limits) = context.tables.limits(&context.segment.client) else { return false };
    limits.connections_per_s != 0
        && !context.allowed()
        && context.segment.now_ns.saturating_sub(source.second_start_ns) < SECOND_NS
        && source.second_connections >= limits.connections_per_s
}

/// Whether this segment completes the handshake.
#[inline(always)]
pub(super) fn completes<T: Tables>(context: &Context<'_, T>, connection: &Connection) -> bool {
    // With TCP Fast Open the server may not have taken the data in the SYN.
    let first = connection.isn.wrapping_add(1);
    context.segment.seq == connection.next_seq || context.segment.seq == first
}

/// Completes the handshake.
#[inline(never)]
pub(super) fn establish<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, source: &mut SourceStats) {
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
