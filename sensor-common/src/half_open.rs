//! Connection attempts that wait for their handshake to be completed: all that a SYN may leave behind.
//!
//! Four to a cache line, each CPU a part of its own (a connection's segments come by one receive queue). The oldest
//! gives way, so a flood of spoofed SYNs shortens how long an attempt may take and touches nothing else.

use crate::connection::Tuple;
use crate::hash::mix;
use crate::lane;
use crate::plain;
use crate::plain::fetch;
use crate::settings::Settings;
use crate::tables::Tables;

plain! {
    /// Four attempts.
    pub struct HalfOpenBucket {
        /// Hash of addresses and ports; 0: free.
        pub tags: [u64; 4],
        /// Client's initial sequence number.
        pub isns: [u32; 4],
        /// When the SYN came: monotonic microseconds, modulo 2^32.
        pub times: [u32; 4],
    }
}

/// An attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) isn: u32,
    /// When the SYN came, monotonic nanoseconds; right for 71 minutes.
    pub(crate) started_ns: u64,
}

/// Hash of a connection's addresses and ports; never 0 or 1.
#[must_use]
#[inline(always)]
pub const fn tag(tuple: &Tuple, seed: u64) -> u64 {
    let client = mix(tuple.client[0] ^ tuple.client[1].rotate_left(17), seed ^ tuple.client[1]);
    let server = tuple.server[0].rotate_left(29) ^ tuple.server[1] ^ tuple.ports << 24;
    mix(client ^ server, seed.rotate_left(13)) | 2
}

/// Begins to fetch what [`remember`] needs.
#[inline(always)]
pub(crate) fn approach<T: Tables>(tables: &T, settings: &Settings, tag: u64) {
    if let Some(bucket) = tables.half_open(index(tables, settings, tag)) {
        fetch(bucket);
    }
}

/// Remembers a SYN. One that is sent again changes nothing.
#[inline(always)]
pub(crate) fn remember<T: Tables>(tables: &T, settings: &Settings, tag: u64, isn: u32, now_ns: u64) -> Option<()> {
    let bucket = tables.half_open(index(tables, settings, tag))?;
    let now = (now_ns / 1_000) as u32;
    let place = lane::place(&bucket.tags, tag);
    let way = if place != 0 {
        if bucket.isns[(place - 1) & 3] == isn {
            return Some(());
        }
        (place - 1) & 3
    } else {
        oldest(bucket, now)
    };
    bucket.tags[way] = tag;
    bucket.isns[way] = isn;
    bucket.times[way] = now;
    Some(())
}

/// The attempt that began with this sequence number.
#[inline(always)]
pub(crate) fn find<T: Tables>(tables: &T, settings: &Settings, tag: u64, isn: u32, now_ns: u64) -> Option<Attempt> {
    let bucket = tables.half_open(index(tables, settings, tag))?;
    let place = lane::place(&bucket.tags, tag);
    if place == 0 || bucket.isns[(place - 1) & 3] != isn {
        return None;
    }
    let elapsed = ((now_ns / 1_000) as u32).wrapping_sub(bucket.times[(place - 1) & 3]);
    Some(Attempt { isn, started_ns: now_ns.saturating_sub(u64::from(elapsed) * 1_000) })
}

/// Forgets an attempt that was completed.
#[inline(always)]
pub(crate) fn forget<T: Tables>(tables: &T, settings: &Settings, tag: u64) {
    if let Some(bucket) = tables.half_open(index(tables, settings, tag)) {
        let place = lane::place(&bucket.tags, tag);
        if place != 0 {
            bucket.tags[(place - 1) & 3] = 0;
        }
    }
}

#[inline(always)]
fn index<T: Tables>(tables: &T, settings: &Settings, tag: u64) -> u32 {
    let sizes = &settings.sizes;
    let region = tables.cpu() & sizes.regions.wrapping_sub(1);
    region.wrapping_mul(sizes.half_open).wrapping_add((tag >> 32) as u32 & sizes.half_open.wrapping_sub(1))
}

/// The place that is free or was taken first.
#[inline(always)]
fn oldest(bucket: &HalfOpenBucket, now: u32) -> usize {
    let mut least = u64::MAX >> 1;
    for way in 0..4 {
        let youth = u64::from(u32::MAX - now.wrapping_sub(bucket.times[way])) + 1;
        let used = !lane::same(bucket.tags[way], 0);
        least = lane::least(least, (youth & used) << 2 | way as u64);
    }
    least as usize & 3
}
