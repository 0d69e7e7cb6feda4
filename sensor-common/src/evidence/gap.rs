//! The relay gap: how much later the client answers than its TCP acknowledges.
//!
//! A relay's exit ends TCP, the distant client ends TLS. The exit acknowledges at once; the client's next flight comes
//! one exit-client round trip later. Measured with the sender's own timestamps where it sends them, so that jitter of
//! the path does not matter. What contradicts itself is unknown, never clean.

use super::{Context, after, microseconds};
use crate::connection::{Connection, stage};
use crate::counter::Counter;
use crate::event::{UNKNOWN_US, flag, protocol};
use crate::tables::Tables;
use crate::wire::timestamp;

/// Sender timestamps count milliseconds on every stack measured.
const TSVAL_US: u32 = 1_000;

/// How a gap was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    Direct(u32),
    Relayed(u32),
    /// Sender timestamps contradict arrival times.
    Contradiction,
}

/// F1a, when the first payload comes: handshake acknowledgement to first payload.
#[inline(always)]
pub(super) fn first_flight<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if connection.stage != stage::ESTABLISHED {
        return;
    }
    connection.stage = stage::HELLO;
    connection.hello_ack = context.segment.ack;
    // The handshake's own acknowledgement was lost or left out: there is nothing to measure from.
    if connection.established_ns == context.segment.now_ns {
        return;
    }
    let arrival = microseconds(context.segment.now_ns.saturating_sub(connection.established_ns));
    let sample = measure(context, connection, connection.established_tsval, arrival);
    match sample {
        Sample::Direct(us) => connection.hello_gap_us = us,
        Sample::Relayed(us) => {
            connection.hello_gap_us = us;
            connection.flags |= flag::HELLO_GAP_FLAGGED;
        }
        Sample::Contradiction => connection.flags |= flag::TIMESTAMPS_DISAGREE,
    }
}

/// F1b, when the client's second flight comes: first pure acknowledgement of the server's flight to that flight.
#[inline(always)]
pub(super) fn second_flight<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if connection.stage == stage::DONE || !after(context.segment.ack, connection.hello_ack) {
        return;
    }
    let acked = connection.stage == stage::FLIGHT_ACKED;
    connection.stage = stage::DONE;
    if connection.flags & flag::STREAM_GAP != 0 {
        return;
    }
    if !acked {
        connection.flags |= flag::NO_PURE_ACK;
        context.tables.count(Counter::UnknownNoAck, 1);
        return;
    }
    let arrival = microseconds(context.segment.now_ns.saturating_sub(connection.flight_ack_ns));
    match measure(context, connection, connection.flight_ack_tsval, arrival) {
        Sample::Direct(us) | Sample::Relayed(us) => {
            connection.flight_gap_us = us;
            connection.flags &= !flag::TIMESTAMPS_DISAGREE;
        }
        Sample::Contradiction => {
            connection.flags |= flag::TIMESTAMPS_DISAGREE;
            context.tables.count(Counter::UnknownTimestamps, 1);
        }
    }
}

/// Judges the connection's gap once its protocol is known: F1b for TLS, F1a for plaintext HTTP.
#[inline(always)]
pub(super) fn settle<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) -> bool {
    let us = match connection.protocol {
        protocol::TLS => connection.flight_gap_us,
        code if protocol::is_plaintext(code) => connection.hello_gap_us,
        _ => UNKNOWN_US,
    };
    if us == UNKNOWN_US {
        if protocol::is_plaintext(connection.protocol) {
            give_up(context, connection);
        }
        return false;
    }
    connection.flags |= flag::GAP_SAMPLE;
    if us >= threshold(context, connection) {
        connection.flags |= flag::GAP_FLAGGED;
    }
    true
}

/// Says why a plaintext connection has no sample.
#[inline(always)]
fn give_up<T: Tables>(context: &Context<'_, T>, connection: &mut Connection) {
    if connection.flags & flag::TIMESTAMPS_DISAGREE != 0 {
        context.tables.count(Counter::UnknownTimestamps, 1);
    } else if connection.flags & flag::FAST_OPEN == 0 {
        connection.flags |= flag::NO_PURE_ACK;
        context.tables.count(Counter::UnknownNoAck, 1);
    }
}

/// The gap from which on this connection counts as relayed, microseconds.
#[inline(always)]
fn threshold<T: Tables>(context: &Context<'_, T>, connection: &Connection) -> u32 {
    let gap = context.settings.relay_gap_us;
    if connection.flags & flag::TIMESTAMPS != 0 {
        return gap;
    }
    let share = u64::from(connection.rtt_us) * u64::from(context.settings.relay_gap_rtt_percent) / 100;
    gap.max(share.min(u64::from(u32::MAX - 1)) as u32)
}

/// Judges the time between an earlier segment and this one.
#[inline(always)]
fn measure<T: Tables>(context: &Context<'_, T>, connection: &mut Connection, earlier: u32, arrival_us: u32) -> Sample {
    let tsval = if connection.flags & flag::TIMESTAMPS == 0 { None } else { timestamp(context.frame, context.segment) };
    let Some(tsval) = tsval else {
        connection.flags &= !flag::TIMESTAMPS;
        let limit = threshold(context, connection);
        return if arrival_us >= limit { Sample::Relayed(arrival_us) } else { Sample::Direct(arrival_us) };
    };
    let elapsed = tsval.wrapping_sub(earlier);
    let limit = context.settings.relay_gap_us;
    // Half the range is the past: RFC 7323 section 5.2.
    if elapsed > u32::MAX / 2 {
        return Sample::Contradiction;
    }
    let sent_us = elapsed.saturating_mul(TSVAL_US).min(UNKNOWN_US - 1);
    if sent_us >= limit {
        // Nobody can send later than it arrives, but for jitter between the two.
        return if arrival_us >= sent_us / 2 { Sample::Relayed(sent_us) } else { Sample::Contradiction };
    }
    // Small by its own clock, late on the wire: jitter explains some of it, a bent clock all of it.
    let jitter = limit.saturating_mul(2).max(connection.rtt_us / 2);
    if arrival_us > sent_us.saturating_add(jitter) { Sample::Contradiction } else { Sample::Direct(sent_us) }
}
