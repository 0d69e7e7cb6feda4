//! Frames of every source, spoofed ones too: the table a flood meets.
//!
//! Set-associative, four places to a bucket, two neighbouring cache lines. Each CPU has a part of its own, so nothing is
//! shared and nothing is atomic; the daemon maps the array and adds up. What does not fit is counted as evicted or
//! lost. Counters wrap: readers take differences, at least once per 2^32 of anything.
//!
//! Who may stay: a source that completed a handshake keeps its place until it has been idle for
//! [`PROTECTED_TICKS`]; among the others the one goes that sent least, where each second of silence halves what it
//! sent. A newcomer starts at nothing: inheriting the counts of the evicted (Space-Saving) would turn a flood of
//! random sources into heavy ones.

use crate::counter::Counter;
use crate::hash::mix;
use crate::lane;
use crate::plain;
use crate::plain::fetch;
use crate::settings::Settings;
use crate::tables::Tables;
use crate::wire::Segment;

/// Places in a bucket.
pub const WAYS: usize = 4;

plain! {
    /// Four sources of one CPU.
    pub struct TrafficBucket {
        /// [`crate::address::Address::key`]; 0: free.
        pub keys: [u64; 4],
        /// Frames, refused ones included.
        pub packets: [u32; 4],
        /// TCP connection attempts (SYN without ACK) to any port.
        pub syns: [u32; 4],
        /// Bytes of the frames, Ethernet header included.
        pub bytes: [u32; 4],
        /// When the latest frame came, in ticks (see [`tick`]); the top bit: it completed a handshake.
        pub seen: [u32; 4],
        /// Frames refused, or in dry run those that would have been.
        pub dropped: [u32; 4],
        /// The rule it was last found under, see [`crate::rule::Reference::pack`]; 0: none.
        pub rules: [u32; 4],
    }
}

/// Monotonic time in units of 2^26 ns, about 67 ms. 31 bits of it last for four years.
#[must_use]
#[inline(always)]
pub const fn tick(now_ns: u64) -> u32 {
    (now_ns >> 26) as u32 & TICKS
}

/// The bits of `seen` that tell the time.
pub const TICKS: u32 = u32::MAX >> 1;
/// The bit of `seen` that protects a place.
pub const PROTECTED: u32 = 1 << 31;
/// How long a protected source keeps its place without sending: ten minutes.
pub const PROTECTED_TICKS: u32 = (600_000_000_000_u64 >> 26) as u32;

/// Above every score of a place that may be given to another source.
const TAKEN: u64 = 1 << 62;

/// The bucket of the segment's source, in the part of this CPU.
#[inline(always)]
fn index<T: Tables>(tables: &T, settings: &Settings, segment: &Segment) -> u32 {
    let sizes = &settings.sizes;
    let region = tables.cpu() & sizes.regions.wrapping_sub(1);
    let hash = mix(segment.source, settings.seed);
    region.wrapping_mul(sizes.traffic).wrapping_add(hash as u32 & sizes.traffic.wrapping_sub(1))
}

/// Begins to fetch what [`account`] needs.
#[inline(always)]
pub(crate) fn approach<T: Tables>(tables: &T, settings: &Settings, segment: &mut Segment) {
    segment.bucket = index(tables, settings, segment);
    if let Some(bucket) = tables.traffic(segment.bucket) {
        fetch(&bucket.keys);
        fetch(&bucket.bytes);
    }
}

/// Counts the frame for its source and writes down where that stands. `None` if all places of its bucket are protected.
#[inline(always)]
pub(crate) fn account<'a, T: Tables>(tables: &'a T, segment: &mut Segment) -> Option<&'a TrafficBucket> {
    segment.way = WAYS as u8;
    let Some(bucket) = tables.traffic(segment.bucket) else {
        tables.count(Counter::LostSources, 1);
        return None;
    };
    let now = tick(segment.now_ns);
    let place = lane::place(&bucket.keys, segment.source);
    let place = if place == 0 { enter(tables, bucket, segment.source, now) } else { place };
    if place == 0 {
        return None;
    }
    let way = (place - 1) & (WAYS - 1);
    bucket.packets[way] = bucket.packets[way].wrapping_add(1);
    bucket.syns[way] = bucket.syns[way].wrapping_add(u32::from(segment.is_syn()));
    bucket.bytes[way] = bucket.bytes[way].wrapping_add(segment.frame_bytes);
    bucket.seen[way] = bucket.seen[way] & PROTECTED | now;
    segment.way = way as u8;
    Some(bucket)
}

/// The bucket and the place of the segment's source.
#[inline(always)]
fn seat<'a, T: Tables>(tables: &'a T, segment: &Segment) -> Option<(&'a mut TrafficBucket, usize)> {
    let way = usize::from(segment.way);
    if way >= WAYS {
        return None;
    }
    tables.traffic(segment.bucket).map(|bucket| (bucket, way & (WAYS - 1)))
}

/// One more frame of the segment's source was refused.
#[inline(always)]
pub(crate) fn count_dropped<T: Tables>(tables: &T, segment: &Segment) {
    if let Some((bucket, way)) = seat(tables, segment) {
        bucket.dropped[way] = bucket.dropped[way].wrapping_add(1);
    }
}

/// The rule that the segment's source was found under.
#[inline(always)]
pub(crate) fn keep_rule<T: Tables>(tables: &T, segment: &Segment, packed: u32) {
    if let Some((bucket, way)) = seat(tables, segment) {
        bucket.rules[way] = packed;
    }
}

/// The segment's source completed a handshake.
#[inline(always)]
pub(crate) fn protect<T: Tables>(tables: &T, segment: &Segment) {
    if let Some((bucket, way)) = seat(tables, segment) {
        bucket.seen[way] |= PROTECTED;
    }
}

/// Whether it did, as far as this CPU knows.
#[inline(always)]
pub(crate) fn is_protected<T: Tables>(tables: &T, segment: &Segment) -> bool {
    seat(tables, segment).is_some_and(|(bucket, way)| bucket.seen[way] & PROTECTED != 0)
}

/// Gives the place that matters least to a new source. Counted from 1; 0: all are protected. A function of its
/// own: inlined it would take most of the stack that is left for what follows.
#[inline(never)]
fn enter<T: Tables>(tables: &T, bucket: &mut TrafficBucket, key: u64, now: u32) -> usize {
    let mut least = u64::MAX >> 1;
    for way in 0..WAYS {
        least = lane::least(least, score(bucket, way, now) << 2 | way as u64);
    }
    if least >= TAKEN {
        tables.count(Counter::LostSources, 1);
        return 0;
    }
    let way = least as usize & (WAYS - 1);
    if bucket.keys[way] != 0 {
        tables.count(Counter::EvictedSources, 1);
    }
    // A reader that finds the same key before and after has read that source's counters: while they change it is 0.
    set(&mut bucket.keys[way], 0);
    bucket.packets[way] = 0;
    bucket.syns[way] = 0;
    bucket.bytes[way] = 0;
    bucket.seen[way] = 0;
    bucket.dropped[way] = 0;
    bucket.rules[way] = 0;
    set(&mut bucket.keys[way], key);
    way + 1
}

/// How much a place is worth keeping; below 2^60.
#[inline(always)]
fn score(bucket: &TrafficBucket, way: usize, now: u32) -> u64 {
    let seen = bucket.seen[way];
    // One more than it is: another CPU of this part may be a tick ahead, and what it saw is not four years old.
    let age = now.wrapping_add(1).wrapping_sub(seen) & TICKS;
    // Sixteen ticks are about a second. The younger of two equals stays.
    let halvings = lane::least(u64::from(age >> 4), 31);
    let youth = 0xf_ffff - lane::least(u64::from(age), 0xf_ffff);
    let worth = ((u64::from(bucket.packets[way]) >> halvings) << 20) | youth;
    // All ones where the place is protected and was used lately.
    let protected = u64::from(seen >> 31).wrapping_neg();
    let lately = lane::less(u64::from(age), u64::from(PROTECTED_TICKS));
    let kept = protected & lately & (TAKEN >> 2);
    let used = !lane::same(bucket.keys[way], 0);
    ((worth + 1) | kept) & used
}

/// A store that stays where it is.
#[inline(always)]
fn set(cell: &mut u64, value: u64) {
    // SAFETY: a live, aligned u64 behind a unique reference.
    unsafe { core::ptr::from_mut(cell).write_volatile(value) };
}
