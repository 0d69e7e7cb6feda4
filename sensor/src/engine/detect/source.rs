//! D4, heavy source: one source over a limit that the operator set for its tier.
//!
//! Plain counting over one minute, ten minutes and one day. The limits are the operator's own, so nothing has to be
//! learned first.

use super::Detector;
use crate::engine::source::Source;
use crate::engine::tier::Tier;
use crate::engine::window::{Length, Moment};

/// The detector has no settings of its own: limits belong to tiers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heavy;

/// A limit that is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// `connections` or `requests`.
    pub what: &'static str,
    pub length: Length,
    pub count: u64,
    pub limit: u64,
}

impl Detector for Heavy {
    const NAME: &'static str = "heavy_source";
    type State = Source;
    type Sample<'a> = (&'a Tier, Moment);
    type Finding = Exceeded;

    fn judge(&self, source: &mut Source, (tier, now): (&Tier, Moment)) -> Option<Exceeded> {
        let requests = source.requests.over(now, tier.request_limits()).map(|over| ("requests", over));
        let over = requests
            .or_else(|| source.connections.over(now, tier.connection_limits()).map(|over| ("connections", over)));
        over.map(|(what, (length, count, limit))| Exceeded { what, length, count, limit })
    }
}
