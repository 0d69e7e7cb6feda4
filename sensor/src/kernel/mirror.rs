//! The daemon's running totals of what the packet path counts for each place of the traffic table.
//!
//! The kernel's counters are 32 bits wide and wrap; here they go on in 64. One look reads `seen` of every place and the
//! counters of those only that had a frame since the look before; nothing of it is a system call. A place that has
//! another key, or fewer frames than before, began anew. All counters must be looked at once per 2^32, frames once per
//! 2^31: at one look a second one source may send 34 Gbit/s to one CPU.
//!
//! Costs 48 bytes for each place that was ever used, taken from the host as they come into use.

use std::sync::atomic::{Ordering, fence};

use sensor_common::hash::mix;
use sensor_common::settings::Settings;
use sensor_common::traffic::{TICKS, WAYS, tick};

use super::shared::TrafficCells;

/// Ticks by which the kernel's clock may be behind ours, and a frame's count behind its time.
const SLACK: u32 = 2;

/// Nanoseconds of a tick, as a shift.
const TICK_SHIFT: u32 = 26;

/// A place's totals since it began. An array, since zeroed arrays cost nothing until they are used.
type Place = [u64; 6];
const KEY: usize = 0;
const PACKETS: usize = 1;
const BYTES: usize = 2;
const SYNS: usize = 3;
const DROPPED: usize = 4;
/// When this daemon first saw it, ticks; as many as there were since the machine came up, whatever [`TICKS`] holds.
const FIRST: usize = 5;

/// See the module.
pub(super) struct Mirror {
    places: Vec<Place>,
    regions: usize,
    /// Buckets in one region.
    buckets: usize,
    seed: u64,
    /// Tick of the latest look; `None` before the first, which takes in everything.
    latest: Option<u32>,
    used: u64,
}

/// What the packet path counted for one source, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) syns: u64,
    pub(super) dropped: u64,
    /// When this daemon first saw it, monotonic nanoseconds.
    pub(super) first_seen_ns: u64,
    /// Its latest frame, to 67 ms.
    pub(super) last_seen_ns: u64,
}

/// One place as the kernel has it.
struct Reading {
    key: u64,
    packets: u32,
    bytes: u32,
    syns: u32,
    dropped: u32,
}

impl Mirror {
    /// Totals for a table of the sizes in `settings`, whose seed it is filled by.
    pub(super) fn new(settings: &Settings) -> Self {
        let (regions, buckets) = (settings.sizes.regions as usize, settings.sizes.traffic as usize);
        Self {
            places: vec![[0; 6]; regions * buckets * WAYS],
            regions,
            buckets,
            seed: settings.seed,
            latest: None,
            used: 0,
        }
    }

    /// Takes in what was counted since the latest look.
    pub(super) fn look(&mut self, table: &[TrafficCells], now_ns: u64) {
        let now = tick(now_ns);
        let window = self.latest.map_or(TICKS, |latest| (now.wrapping_sub(latest) & TICKS).saturating_add(SLACK));
        let mut used = 0;
        for (bucket, cells) in table.iter().enumerate() {
            let seen = cells.seen.each_ref().map(|seen| seen.load(Ordering::Relaxed));
            used += seen.iter().filter(|seen| **seen != 0).count() as u64;
            // Frames that come during this look are ahead of `now`: the next look takes them in.
            let moved = seen.map(|seen| now.wrapping_sub(seen) & TICKS <= window);
            if moved != [false; WAYS] {
                for way in (0..WAYS).filter(|way| moved[*way]) {
                    self.follow(bucket * WAYS + way, cells, way, now_ns);
                }
            }
        }
        self.used = used;
        self.latest = Some(now);
    }

    fn follow(&mut self, index: usize, cells: &TrafficCells, way: usize, now_ns: u64) {
        let Some(reading) = read(cells, way) else { return };
        let Some(place) = self.places.get_mut(index) else { return };
        let fewer = reading.packets.wrapping_sub(place[PACKETS] as u32) > u32::MAX / 2;
        if place[KEY] != reading.key || fewer {
            let first = if place[KEY] == reading.key { place[FIRST] } else { now_ns >> TICK_SHIFT };
            *place = [reading.key, 0, 0, 0, 0, first];
        }
        let advance = |total: &mut u64, now: u32| *total += u64::from(now.wrapping_sub(*total as u32));
        advance(&mut place[PACKETS], reading.packets);
        advance(&mut place[BYTES], reading.bytes);
        advance(&mut place[SYNS], reading.syns);
        advance(&mut place[DROPPED], reading.dropped);
    }

    /// Every source, in no order, as the latest look found it.
    pub(super) fn each(&self, table: &[TrafficCells], now_ns: u64, mut visit: impl FnMut(u64, &Traffic)) {
        let mut found = Vec::new();
        for bucket in 0..self.buckets {
            self.bucket(bucket, |index, place| found.push((place[KEY], index)));
            // A source stands in the same bucket of every region.
            found.sort_unstable();
            for same in found.chunk_by(|a, b| a.0 == b.0) {
                let mut sum = Traffic::default();
                same.iter().for_each(|(_, index)| self.add(&mut sum, *index, table, now_ns));
                visit(same[0].0, &sum);
            }
            found.clear();
        }
    }

    /// One source, as the latest look found it.
    pub(super) fn get(&self, table: &[TrafficCells], now_ns: u64, key: u64) -> Option<Traffic> {
        let bucket = mix(key, self.seed) as usize & self.buckets.saturating_sub(1);
        let mut sum = None;
        self.bucket(bucket, |index, place| {
            if place[KEY] == key {
                self.add(sum.get_or_insert_default(), index, table, now_ns);
            }
        });
        sum
    }

    /// Visits the used places of one bucket in every region.
    fn bucket(&self, bucket: usize, mut visit: impl FnMut(usize, &Place)) {
        for region in 0..self.regions {
            let first = (region * self.buckets + bucket) * WAYS;
            for (index, place) in (first..).zip(&self.places[first..first + WAYS]) {
                if place[KEY] != 0 {
                    visit(index, place);
                }
            }
        }
    }

    fn add(&self, sum: &mut Traffic, index: usize, table: &[TrafficCells], now_ns: u64) {
        let place = &self.places[index];
        sum.packets = sum.packets.wrapping_add(place[PACKETS]);
        sum.bytes = sum.bytes.wrapping_add(place[BYTES]);
        sum.syns = sum.syns.wrapping_add(place[SYNS]);
        sum.dropped = sum.dropped.wrapping_add(place[DROPPED]);
        let first = place[FIRST] << TICK_SHIFT;
        sum.first_seen_ns = if sum.first_seen_ns == 0 { first } else { sum.first_seen_ns.min(first) };
        let seen = table.get(index / WAYS).map_or(0, |cells| cells.seen[index % WAYS].load(Ordering::Relaxed));
        let age = tick(now_ns).wrapping_sub(seen) & TICKS;
        // A frame that came just now is ahead of `now_ns`.
        let age = if age > TICKS - SLACK { 0 } else { u64::from(age) };
        sum.last_seen_ns = sum.last_seen_ns.max((now_ns >> TICK_SHIFT).saturating_sub(age) << TICK_SHIFT);
    }

    /// Places in use at the latest look.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Bytes it takes once every place has been used.
    pub(super) fn bytes(&self) -> u64 {
        (self.places.len() * size_of::<Place>()) as u64
    }
}

/// A place whose key was the same before and after; while the kernel gives it away its key is 0.
fn read(cells: &TrafficCells, way: usize) -> Option<Reading> {
    let key = cells.keys[way].load(Ordering::Acquire);
    if key == 0 {
        return None;
    }
    let reading = Reading {
        key,
        packets: cells.packets[way].load(Ordering::Relaxed),
        bytes: cells.bytes[way].load(Ordering::Relaxed),
        syns: cells.syns[way].load(Ordering::Relaxed),
        dropped: cells.dropped[way].load(Ordering::Relaxed),
    };
    fence(Ordering::Acquire);
    (cells.keys[way].load(Ordering::Relaxed) == key).then_some(reading)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use sensor_common::hash::mix;
    use sensor_common::plain::Plain;
    use sensor_common::settings::{Settings, Sizes};
    use sensor_common::traffic::{PROTECTED, tick};

    use super::{Mirror, read};
    use crate::kernel::shared::{Mapped, TrafficCells};

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 100 * SECOND;
    const KEY: u64 = 0x1_c000_0207;

    fn settings() -> Settings {
        let sizes = Sizes { regions: 2, traffic: 4, half_open: 64, sources: 64, networks: 64, connections: 64 };
        Settings { seed: 7, sizes, ..Settings::zeroed() }
    }

    /// Where `KEY` stands in a region.
    fn bucket(region: usize) -> usize {
        region * 4 + (mix(KEY, 7) as usize & 3)
    }

    /// What the kernel would write for a place.
    fn write(table: &[TrafficCells], index: usize, way: usize, key: u64, counts: [u32; 4], at_ns: u64) {
        let cells = &table[index];
        cells.keys[way].store(key, Ordering::Relaxed);
        cells.packets[way].store(counts[0], Ordering::Relaxed);
        cells.bytes[way].store(counts[1], Ordering::Relaxed);
        cells.syns[way].store(counts[2], Ordering::Relaxed);
        cells.dropped[way].store(counts[3], Ordering::Relaxed);
        cells.seen[way].store(tick(at_ns) | PROTECTED, Ordering::Relaxed);
    }

    #[test]
    fn counters_go_on_past_32_bits() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let mut mirror = Mirror::new(&settings());
        let mut bytes = 0_u64;
        for second in 0..10 {
            let now = START + second * SECOND;
            bytes += 3_000_000_000;
            write(&table, bucket(0), 1, KEY, [1_000 * (second as u32 + 1), bytes as u32, 1, 0], now);
            mirror.look(&table, now);
        }
        let source = mirror.get(&table, START + 9 * SECOND, KEY).expect("it was seen");
        assert_eq!((source.packets, source.bytes, source.syns), (10_000, 30_000_000_000, 1));
        assert_eq!(source.first_seen_ns >> 26, START >> 26, "when the daemon saw it first");
        assert_eq!(source.last_seen_ns >> 26, (START + 9 * SECOND) >> 26);
    }

    #[test]
    fn packets_wrap_too() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let mut mirror = Mirror::new(&settings());
        for (second, packets) in [(0, u32::MAX - 9), (1, 10)] {
            write(&table, bucket(0), 0, KEY, [packets, 0, 0, 0], START + second * SECOND);
            mirror.look(&table, START + second * SECOND);
        }
        let source = mirror.get(&table, START + SECOND, KEY).expect("it was seen");
        assert_eq!(source.packets, (1 << 32) + 10);
    }

    #[test]
    fn a_place_given_to_another_source_begins_anew() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let mut mirror = Mirror::new(&settings());
        write(&table, bucket(0), 2, KEY, [500, 500, 500, 500], START);
        mirror.look(&table, START);
        let other = KEY + 1;
        write(&table, bucket(0), 2, other, [700, 700, 0, 0], START + SECOND);
        mirror.look(&table, START + SECOND);
        assert_eq!(mirror.get(&table, START + SECOND, KEY), None, "it lost its place");
        let mut all = Vec::new();
        mirror.each(&table, START + SECOND, |key, traffic| all.push((key, traffic.packets, traffic.syns)));
        assert_eq!(all, [(other, 700, 0)]);
        // The same source, evicted and back between two looks.
        write(&table, bucket(0), 2, other, [3, 180, 1, 0], START + 2 * SECOND);
        mirror.look(&table, START + 2 * SECOND);
        mirror.each(&table, START + 2 * SECOND, |key, traffic| all.push((key, traffic.packets, traffic.syns)));
        assert_eq!(all[1], (other, 3, 1));
    }

    #[test]
    fn cpus_are_added_up() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let mut mirror = Mirror::new(&settings());
        write(&table, bucket(0), 0, KEY, [10, 600, 1, 0], START);
        write(&table, bucket(1), 3, KEY, [20, 1_200, 0, 5], START + SECOND);
        mirror.look(&table, START + SECOND);
        let source = mirror.get(&table, START + SECOND, KEY).expect("it was seen");
        assert_eq!((source.packets, source.bytes, source.syns, source.dropped), (30, 1_800, 1, 5));
        let mut all = Vec::new();
        mirror.each(&table, START + SECOND, |key, traffic| all.push((key, traffic.packets)));
        assert_eq!(all, [(KEY, 30)], "once");
        assert_eq!(mirror.used(), 2, "on each CPU a place");
    }

    #[test]
    fn what_did_not_move_is_not_read_again() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let mut mirror = Mirror::new(&settings());
        write(&table, bucket(0), 0, KEY, [10, 0, 0, 0], START - SECOND);
        mirror.look(&table, START);
        // A counter that changes without a frame is nobody's: it is not looked at.
        table[bucket(0)].packets[0].store(11, Ordering::Relaxed);
        mirror.look(&table, START + SECOND);
        assert_eq!(mirror.get(&table, START + SECOND, KEY).map(|source| source.packets), Some(10));
        table[bucket(0)].seen[0].store(tick(START + SECOND), Ordering::Relaxed);
        mirror.look(&table, START + 2 * SECOND);
        assert_eq!(mirror.get(&table, START + SECOND, KEY).map(|source| source.packets), Some(11));
    }

    #[test]
    fn a_frame_ahead_of_the_look_is_taken_in_by_the_next() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let mut mirror = Mirror::new(&settings());
        mirror.look(&table, START);
        write(&table, bucket(0), 0, KEY, [10, 0, 0, 0], START + SECOND + 70_000_000);
        mirror.look(&table, START + SECOND);
        mirror.look(&table, START + 2 * SECOND);
        assert_eq!(mirror.get(&table, START + 2 * SECOND, KEY).map(|source| source.packets), Some(10));
    }

    /// A writer that gives the place away again and again, as the kernel does; what is read is never a mixture.
    #[test]
    fn a_torn_read_is_left_out() {
        let table = Mapped::<TrafficCells>::anonymous(8);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let cells = &table[0];
                for round in 1..200_000_u32 {
                    cells.keys[0].store(0, Ordering::Release);
                    std::sync::atomic::fence(Ordering::Release);
                    cells.packets[0].store(round, Ordering::Relaxed);
                    cells.dropped[0].store(round, Ordering::Relaxed);
                    cells.keys[0].store(u64::from(round) + 10, Ordering::Release);
                }
                done.store(true, Ordering::Release);
            });
            let mut whole = 0_u64;
            while !done.load(Ordering::Acquire) || whole == 0 {
                if let Some(reading) = read(&table[0], 0) {
                    let key = reading.key - 10;
                    assert_eq!((u64::from(reading.packets), u64::from(reading.dropped)), (key, key));
                    whole += 1;
                }
            }
        });
    }
}
