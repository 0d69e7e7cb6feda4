//! Records of connections, sources and networks: where they stand, and who gives way.

use super::{ALIVE_NS, Context};
use crate::address::network_key;
use crate::connection::{Connection, EMPTY, Tuple, stage};
use crate::counter::Counter;
use crate::event::flag;
use crate::lane;
use crate::plain::{copy, fetch};
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

/// Begins to fetch what [`glance`] needs.
#[inline(always)]
pub(super) fn approach<T: Tables>(tables: &T, settings: &Settings, tag: u64) {
    if let Some(bucket) = tables.connections(connection_index(settings, tag)) {
        fetch(&bucket.tags);
        fetch(&bucket.records[seat::likely(tag)]);
    }
}

/// The record at a tag, whose owner is very likely the connection of that tag: enough to note that it is there.
#[inline(always)]
pub(super) fn glance<'a, T: Tables>(tables: &'a T, settings: &Settings, tag: u64) -> Option<&'a mut Connection> {
    let bucket = tables.connections(connection_index(settings, tag))?;
    let way = seat::find(&bucket.tags, tag)?;
    Some(&mut bucket.records[way])
}

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

/// Takes a place for the record of the connection at hand, that of its former one if it has `former`. What became of it,
/// see [`taken_by`].
#[inline(never)]
pub(super) fn enter<T: Tables>(context: &Context<'_, T>, former: bool, entry: Entry) -> u32 {
    let tables = context.tables;
    let now_ns = context.segment.now_ns;
    let tag = context.segment.tag;
    let Some(bucket) = tables.connections(connection_index(context.settings, tag)) else { return 0 };
    if former
        && let Some(way) = seat::find(&bucket.tags, tag)
        && seat::reclaim(tables, &mut bucket.tags, way, tag)
    {
        copy(&EMPTY, &mut bucket.records[way]);
        return OURS | way as u32;
    }
    let most = if entry == Entry::Attempt { OPEN } else { ANY };
    let records = &bucket.records;
    let way = match seat::claim(tables, &mut bucket.tags, tag, most, |way| worth(&records[way], now_ns)) {
        Claim::Lost => return 0,
        Claim::Found(way) => return THEIRS | way as u32,
        Claim::Free(way) => way,
        Claim::Evicted(way, worth) => {
            tables.count(Counter::EvictedConnections, u64::from(worth >= OPEN));
            way
        }
    };
    copy(&context.segment.tuple, &mut bucket.keys[way]);
    copy(&EMPTY, &mut bucket.records[way]);
    OURS | way as u32
}

/// The place is the caller's, who writes the record and then calls [`settle`].
const OURS: u32 = 8;
/// Another CPU has entered the connection.
const THEIRS: u32 = 16;

/// What [`enter`] gave: the record, and whether it is the caller's to write.
#[inline(always)]
pub(super) fn taken_by<'a, T: Tables>(context: &Context<'a, T>, entered: u32) -> Option<(&'a mut Connection, bool)> {
    if entered == 0 {
        return None;
    }
    let bucket = context.tables.connections(connection_index(context.settings, context.segment.tag))?;
    Some((&mut bucket.records[entered as usize & (seat::WAYS - 1)], entered & OURS != 0))
}

/// The record is written: from here on it is found.
#[inline(always)]
pub(super) fn settle<T: Tables>(context: &Context<'_, T>, entered: u32) {
    let tag = context.segment.tag;
    if let Some(bucket) = context.tables.connections(connection_index(context.settings, tag)) {
        seat::settle(&mut bucket.tags, entered as usize, tag);
    }
}

/// Gives the place of the connection at hand back.
#[inline(always)]
pub(super) fn free<T: Tables>(context: &Context<'_, T>) {
    if let Some(bucket) = context.tables.connections(connection_index(context.settings, context.segment.tag))
        && let Some(way) = seat::find(&bucket.tags, context.segment.tag)
    {
        // Unless another CPU has it by now.
        let _ = context.tables.replace(&mut bucket.tags[way], context.segment.tag, FREE);
    }
}

/// What a record is worth, without branches: eight of them would have the verifier follow every combination.
#[inline(always)]
fn worth(connection: &Connection, now_ns: u64) -> u64 {
    let attempt = lane::same(u64::from(connection.stage), u64::from(stage::SYN));
    let closed = !lane::same(u64::from(connection.flags & flag::CLOSED), 0);
    let silent = !lane::less(now_ns, (connection.last_seen_ns & TIME) + ALIVE_NS);
    let refused = lane::less(now_ns, connection.refused_until_ns & TIME);
    let open = !(attempt | closed | silent & !refused);
    OPEN & open | connection.last_seen_ns & TIME
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
    let claim = seat::claim(tables, &mut bucket.keys, key, ANY, |way| records[way].last_seen_ns & TIME);
    if let Claim::Found(way) = claim {
        return Some(&mut bucket.records[way]);
    }
    let way = taken(tables, claim, Counter::EvictedRecords)?;
    copy(&NEW_SOURCE, &mut bucket.records[way]);
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

/// What is known of the segment's network, entered if need be: then its `last_seen_ns` is still 0. The one not seen for
/// longest gives way.
#[inline(never)]
pub(super) fn enter_network<'a, T: Tables>(context: &Context<'a, T>) -> Option<&'a mut NetworkStats> {
    let tables = context.tables;
    let now_ns = context.segment.now_ns;
    let key = network_key(context.segment.source);
    let bucket = tables.networks(network_bucket(context.settings, key))?;
    if let Some(way) = seat::find(&bucket.keys, key) {
        return Some(&mut bucket.records[way]);
    }
    let records = &bucket.records;
    let claim = seat::claim(tables, &mut bucket.keys, key, ANY, |way| records[way].last_seen_ns & TIME);
    if let Claim::Found(way) = claim {
        return Some(&mut bucket.records[way]);
    }
    let way = taken(tables, claim, Counter::EvictedNetworks)?;
    bucket.records[way] = NetworkStats { first_seen_ns: now_ns, last_seen_ns: 0 };
    seat::settle(&mut bucket.keys, way, key);
    Some(&mut bucket.records[way])
}

/// The place that was claimed; who lost it is counted.
#[inline(always)]
fn taken<T: Tables>(tables: &T, claim: Claim, evicted: Counter) -> Option<usize> {
    match claim {
        Claim::Lost => None,
        Claim::Found(way) | Claim::Free(way) => Some(way),
        Claim::Evicted(way, _) => {
            tables.count(evicted, 1);
            Some(way)
        }
    }
}

#[inline(always)]
fn connection_index(settings: &Settings, tag: u64) -> u32 {
    (tag >> 8) as u32 & settings.sizes.connections.wrapping_sub(1)
}

#[inline(always)]
fn source_index<T: Tables>(context: &Context<'_, T>) -> u32 {
    source_bucket(context.settings, context.segment.source)
}
