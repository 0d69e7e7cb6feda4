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

impl Window {
    /// Counts `n` at `now`. A moment before the newest slot counts as that slot.
    pub fn add(&mut self, length: Length, now: Time, n: u64) {
        let number = slot_number(length, now);
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
        let number = slot_number(length, now).max(self.head);
        let elapsed = if slot_number(length, now) < number { 0 } else { now.0 % length.slot_ns() };
        let mut sum = 0;
        for back in 0..=SLOTS {
            let age = u64::from(number) - u64::from(self.head).min(u64::from(number));
            // Slots newer than the head are empty, older ones than seven are gone.
            if back < age || back - age > SLOTS {
                continue;
            }
            let Some(slot) = u64::from(number).checked_sub(back) else { break };
            let count = u64::from(self.slots[(slot % (SLOTS + 1)) as usize]);
            sum += if back < SLOTS { count } else { share(count, length.slot_ns() - elapsed, length.slot_ns()) };
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
    let product = u128::from(count) * u128::from(part) + u128::from(whole / 2);
    u64::try_from(product / u128::from(whole)).unwrap_or(u64::MAX)
}

/// One kind of event over all three lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows([Window; 3]);

impl Windows {
    /// Counts `n` at `now`.
    pub fn add(&mut self, now: Time, n: u64) {
        if n == 0 {
            return;
        }
        for (window, length) in self.0.iter_mut().zip(Length::ALL) {
            window.add(length, now, n);
        }
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
    pub fn sums(&self, now: Time) -> [u64; 3] {
        let [minute, ten, day] = &self.0;
        [minute.sum(Length::Minute, now), ten.sum(Length::TenMinutes, now), day.sum(Length::Day, now)]
    }
}
