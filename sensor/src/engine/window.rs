//! Sliding windows over one minute, ten minutes and one day.
//!
//! A window is cut into six slots. Its count is that of the slot at hand, the five before it, and of the seventh the
//! share that is still inside: exact but for the spread within that one slot, so off by less than what a sixth of the
//! window held. Integers only, 32 bytes a window; a slot holds up to 2^32 - 1 and stays there.

use serde::{Deserialize, Serialize};

use super::time::{Span, Time};

/// Slots that together are as long as the window; one more is kept, for the part of it that still counts.
const SLOTS: u64 = 6;

/// Length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Length {
    Minute,
    TenMinutes,
    Day,
}

impl Length {
    pub const ALL: [Self; 3] = [Self::Minute, Self::TenMinutes, Self::Day];

    #[must_use]
    pub const fn span(self) -> Span {
        Span::seconds(match self {
            Self::Minute => 60,
            Self::TenMinutes => 600,
            Self::Day => 86_400,
        })
    }

    /// `a minute`, as in "per a minute".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Minute => "a minute",
            Self::TenMinutes => "ten minutes",
            Self::Day => "a day",
        }
    }

    const fn slot_ns(self) -> u64 {
        self.span().0 / SLOTS
    }
}

/// What happened within the last minute, ten minutes or day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Number of the newest slot since 1970.
    head: u32,
    /// Counts; slot number `n` is at `n % 7`.
    slots: [u32; SLOTS as usize + 1],
}

/// A moment by its place in the slots of each length: reckoned once a tick for all sources.
#[derive(Clone, Copy, Debug)]
pub struct Moment([Place; 3]);

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Number of the slot since 1970.
    number: u32,
    /// What of the slot has not passed yet, and its length.
    rest_ns: u64,
    slot_ns: u64,
}

impl Place {
    fn new(length: Length, now: Time) -> Self {
        let slot_ns = length.slot_ns();
        Self { number: slot_number(length, now), rest_ns: slot_ns - now.0 % slot_ns, slot_ns }
    }
}

impl From<Time> for Moment {
    fn from(now: Time) -> Self {
        Self(Length::ALL.map(|length| Place::new(length, now)))
    }
}

impl Window {
    /// Counts `n` at `now`. A moment before the newest slot counts as that slot.
    pub fn add(&mut self, length: Length, now: Time, n: u64) {
        self.add_in(slot_number(length, now), n);
    }

    fn add_in(&mut self, number: u32, n: u64) {
        if number > self.head {
            let passed = u64::from(number - self.head).min(self.slots.len() as u64);
            for back in 0..passed {
                self.slots[index(number - u32::try_from(back).unwrap_or(0))] = 0;
            }
            self.head = number;
        }
        let slot = &mut self.slots[index(self.head)];
        *slot = slot.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// A stored window; one from the future is dropped.
    #[must_use]
    pub(super) fn sane(self, length: Length, now: Time) -> Self {
        if self.head > slot_number(length, now) { Self::default() } else { self }
    }

    /// What was counted within the window that ends at `now`.
    #[must_use]
    pub fn sum(&self, length: Length, now: Time) -> u64 {
        self.sum_at(Place::new(length, now))
    }

    fn sum_at(&self, Place { number, rest_ns, slot_ns }: Place) -> u64 {
        // Before the newest slot nothing of that one has passed, as seen from then.
        let rest_ns = if number < self.head { slot_ns } else { rest_ns };
        let age = number.saturating_sub(self.head);
        if u64::from(age) > SLOTS {
            return 0;
        }
        // Slots newer than the head are empty; the seventh counting from now counts by its share.
        let mut at = index(self.head);
        let mut sum = 0;
        for back in u64::from(age)..=SLOTS {
            let count = u64::from(self.slots[at]);
            sum += if back < SLOTS { count } else { share(count, rest_ns, slot_ns) };
            at = at.checked_sub(1).unwrap_or(self.slots.len() - 1);
        }
        sum
    }
}

fn slot_number(length: Length, now: Time) -> u32 {
    u32::try_from(now.0 / length.slot_ns()).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    (u64::from(number) % (SLOTS + 1)) as usize
}

/// `count * part / whole`, to the nearest.
fn share(count: u64, part: u64, whole: u64) -> u64 {
    // Nearly always: a division of 128 bits is the dearest thing in a tick.
    if let Some(product) = count.checked_mul(part).and_then(|product| product.checked_add(whole / 2)) {
        return product / whole;
    }
    let product = u128::from(count) * u128::from(part) + u128::from(whole / 2);
    u64::try_from(product / u128::from(whole)).unwrap_or(u64::MAX)
}

/// One kind of event over all three lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows([Window; 3]);

impl Windows {
    /// Counts `n` at a moment.
    pub fn add(&mut self, now: impl Into<Moment>, n: u64) {
        if n == 0 {
            return;
        }
        let Moment(places) = now.into();
        for (window, place) in self.0.iter_mut().zip(places) {
            window.add_in(place.number, n);
        }
    }

    /// A word from each end.
    pub(super) fn reach(&self) -> u64 {
        let [minute, _, day] = &self.0;
        u64::from(minute.head) ^ u64::from(day.slots[6])
    }

    /// Stored windows; what claims to lie in the future is dropped.
    #[must_use]
    pub(super) fn sane(self, now: Time) -> Self {
        let mut windows = self;
        for (window, length) in windows.0.iter_mut().zip(Length::ALL) {
            *window = window.sane(length, now);
        }
        windows
    }

    /// Counts of the last minute, ten minutes and day.
    #[must_use]
    pub fn sums(&self, now: impl Into<Moment>) -> [u64; 3] {
        let Moment([minute, ten, day]) = now.into();
        let [of_minute, of_ten, of_day] = &self.0;
        [of_minute.sum_at(minute), of_ten.sum_at(ten), of_day.sum_at(day)]
    }

    /// The shortest length over its limit, with what was counted; a limit of 0 is none.
    #[must_use]
    pub fn over(&self, now: Moment, limits: [u64; 3]) -> Option<(Length, u64, u64)> {
        let each = self.0.iter().zip(now.0).zip(limits).zip(Length::ALL).filter(|((_, limit), _)| *limit > 0);
        let mut counted = each.map(|(((window, place), limit), length)| (length, window.sum_at(place), limit));
        counted.find(|(_, count, limit)| count > limit)
    }
}
