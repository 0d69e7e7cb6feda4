//! Records of connections, sources and networks: where they stand, and who gives way.

use super::{ALIVE_NS, Context};
use crate::address::network_key;
use crate::connection::{Connection, EMPTY, Tuple, stage};
use crate::counter::Counter;
use crate::event::flag;
use crate::seat::{self, Claim, FREE};
use crate::settings::Settings;
use crate::stats::{NEW_SOURCE, NetworkStats, SourceRecord, network_bucket, source_bucket};
use crate::tables::Tables;

/// What a connection's record is entered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An attempt: it takes the place of nothing that is open.
    Attempt,
    /// A completed handshake.
    Completed,
}

/// Worth of an open connection; attempts, and what ended or fell silent, are worth less.
const OPEN: u64 = 1 << 58;
/// Times as they count for worth: nine years of nanoseconds.
const TIME: u64 = OPEN - 1;
/// Above every worth.
const ANY: u64 = 1 << 60;

/// The record of a connection.
#[inline(always)]
pub(super) fn find<'a, T: Tables>(
    tables: &'a T,
    settings: &Settings,
    tuple: &Tuple,
    tag: u64,
) -> Option<&'a mut Connection> {
    let bucket = tables.connections(connection_index(settings, tag))?;
    let way = seat::find(&bucket.tags, tag)?;
    if bucket.keys[way].is(tuple) { Some(&mut bucket.records[way]) } else { None }
}

/// Enters an empty record for the connection at hand, in place of its former one if there is one.
#[inline(never)]
pub(super) fn enter<'a, T: Tables>(
    context: &Context<'a, T>,
    former: Option<&'a mut Connection>,
    entry: Entry,
) -> Option<&'a mut Connection> {
    if let Some(former) = former {
        *former = EMPTY;
        return Some(former);
    }
    let tables = context.tables;
    let now_ns = context.segment.now_ns;
    let bucket = tables.connections(connection_index(context.settings, context.tag))?;
    let most = if entry == Entry::Attempt { OPEN } else { ANY };
    let records = &bucket.records;
    let way = match seat::claim(tables, &mut bucket.tags, most, |way| worth(&records[way], now_ns)) {
        Claim::Lost => return None,
        Claim::Free(way) => way,
        Claim::Evicted(way, worth) => {
            tables.count(Counter::EvictedConnections, u64::from(worth >= OPEN));
            way
        }
    };
    bucket.keys[way] = context.segment.tuple;
    bucket.records[way] = EMPTY;
    seat::settle(&mut bucket.tags, way, context.tag);
    Some(&mut bucket.records[way])
}

/// Gives the place of the connection at hand back.
#[inline(always)]
pub(super) fn free<T: Tables>(context: &Context<'_, T>) {
    if let Some(bucket) = context.tables.connections(connection_index(context.settings, context.tag))
        && let Some(way) = seat::find(&bucket.tags, context.tag)
    {
        seat::settle(&mut bucket.tags, way, FREE);
    }
}

#[inline(always)]
fn worth(connection: &Connection, now_ns: u64) -> u64 {
    let seen = connection.last_seen_ns & TIME;
    let ended = connection.stage == stage::SYN || connection.flags & flag::CLOSED != 0;
    let silent = now_ns.saturating_sub(connection.last_seen_ns) >= ALIVE_NS && connection.refused_until_ns <= now_ns;
    if ended || silent { seen } else { OPEN | seen }
}

/// The record of the segment's source; `None` unless it completed a handshake.
#[inline(always)]
pub(super) fn source<'a, T: Tables>(context: &Context<'a, T>) -> Option<&'a mut SourceRecord> {
    let bucket = context.tables.sources(source_index(context))?;
    let way = seat::find(&bucket.keys, context.segment.source)?;
    Some(&mut bucket.records[way])
}

/// The record of the segment's source, entered if need be; the one not seen for longest gives way.
#[inline(never)]
pub(super) fn enter_source<'a, T: Tables>(context: &Context<'a, T>) -> Option<&'a mut SourceRecord> {
    let tables = context.tables;
    let key = context.segment.source;
    let bucket = tables.sources(source_index(context))?;
    if let Some(way) = seat::find(&bucket.keys, key) {
        return Some(&mut bucket.records[way]);
    }
    let records = &bucket.records;
    let way = match seat::claim(tables, &mut bucket.keys, ANY, |way| records[way].last_seen_ns & TIME) {
        Claim::Lost => return None,
        Claim::Free(way) => way,
        Claim::Evicted(way, _) => {
            tables.count(Counter::EvictedRecords, 1);
            way
        }
    };
    bucket.records[way] = NEW_SOURCE;
    bucket.records[way].first_seen_ns = context.segment.now_ns;
    bucket.records[way].last_seen_ns = context.segment.now_ns;
    seat::settle(&mut bucket.keys, way, key);
    Some(&mut bucket.records[way])
}

/// What is known of the segment's network.
#[inline(always)]
pub(super) fn network<'a, T: Tables>(context: &Context<'a, T>) -> Option<&'a mut NetworkStats> {
    let key = network_key(context.segment.source);
    let bucket = context.tables.networks(network_bucket(context.settings, key))?;
    let way = seat::find(&bucket.keys, key)?;
    Some(&mut bucket.records[way])
}

/// What is known of the segment's network, and whether it was entered just now; the one not seen for longest gives
/// way.
#[inline(never)]
pub(super) fn enter_network<'a, T: Tables>(context: &Context<'a, T>) -> Option<(&'a mut NetworkStats, bool)> {
    let tables = context.tables;
    let now_ns = context.segment.now_ns;
    let key = network_key(context.segment.source);
    let bucket = tables.networks(network_bucket(context.settings, key))?;
    if let Some(way) = seat::find(&bucket.keys, key) {
        return Some((&mut bucket.records[way], false));
    }
    let records = &bucket.records;
    let way = match seat::claim(tables, &mut bucket.keys, ANY, |way| records[way].last_seen_ns & TIME) {
        Claim::Lost => return None,
        Claim::Free(way) => way,
        Claim::Evicted(way, _) => {
            tables.count(Counter::EvictedNetworks, 1);
            way
        }
    };
    bucket.records[way] = NetworkStats { first_seen_ns: now_ns, last_seen_ns: now_ns };
    seat::settle(&mut bucket.keys, way, key);
    Some((&mut bucket.records[way], true))
}

#[inline(always)]
fn connection_index(settings: &Settings, tag: u64) -> u32 {
    (tag >> 8) as u32 & settings.sizes.connections.wrapping_sub(1)
}

#[inline(always)]
fn source_index<T: Tables>(context: &Context<'_, T>) -> u32 {
    source_bucket(context.settings, context.segment.source)
}
