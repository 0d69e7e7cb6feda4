//! What a campaign has taken away: answers, their bytes, an estimate of the tokens in them, and what they are worth.
//!
//! Counted from the running totals of the sources that belong to it: a source belongs to a campaign from its first
//! connection on that the campaign counts as its own, and to the latest one. Where nobody counts bytes, tokens are
//! estimated from the number of answers. The same volumes are evidence: what share of everything that was answered in
//! this time went to the campaign's sources. Tokens and cost are estimates by tunables and said to be.

use std::collections::BTreeMap;

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::fixed::scale;
use super::time::{Span, Time};
use crate::tunable::Tunables;

/// Sources that wait for their first totals: a connection's record may come before them.
const WAITING_MAX: usize = 65_536;
const WAIT: Span = Span::seconds(600);

/// Answers and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub answers: u64,
    pub bytes: u64,
}

impl Taken {
    pub(super) fn add(&mut self, more: Self) {
        self.answers = self.answers.saturating_add(more.answers);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// What was taken, and by whom. `by` is reckoned per tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership {
    waiting: BTreeMap<Address, (u32, Time)>,
    by: BTreeMap<u32, Taken>,
    all: Taken,
}

impl Ownership {
    /// Remembers whose a source is until its totals come.
    pub(super) fn expect(&mut self, source: Address, campaign: u32, at: Time) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(source, (campaign, at));
        }
    }

    /// Whose a source is that has just been met.
    pub(super) fn met(&mut self, source: &Address) -> u32 {
        self.waiting.remove(source).map_or(0, |(campaign, _)| campaign)
    }

    pub(super) fn take(&mut self, campaign: u32, taken: Taken) {
        self.all.add(taken);
        if campaign != 0 {
            self.by.entry(campaign).or_default().add(taken);
        }
    }

    /// What was taken since the last call, by campaign and by everyone.
    fn settle(&mut self, now: Time) -> (BTreeMap<u32, Taken>, Taken) {
        self.waiting.retain(|_, (_, at)| now.since(*at) < WAIT);
        (std::mem::take(&mut self.by), std::mem::take(&mut self.all))
    }
}

/// Tokens in what was taken, and their cost in hundredths of the currency.
#[must_use]
pub fn estimate(taken: Taken, tunables: &Tunables) -> (u64, u64) {
    let tokens = match taken.bytes {
        0 => taken.answers.saturating_mul(tunables.answer_tokens),
        bytes => bytes / tunables.token_bytes.max(1),
    };
    (tokens, scale(tokens, tunables.token_price, 1_000_000))
}

impl Engine {
    /// Books what the sources of open campaigns took in this tick.
    pub(super) fn book_taken(&mut self, now: Time) {
        let (by, all) = self.sources.ownership.settle(now);
        for id in &self.open {
            let Some(campaign) = self.campaigns.get_mut(id) else { continue };
            let own = u32::try_from(*id).ok().and_then(|id| by.get(&id)).copied().unwrap_or_default();
            campaign.taken.add(own);
            campaign.taken_by_all.add(all);
        }
    }
}
