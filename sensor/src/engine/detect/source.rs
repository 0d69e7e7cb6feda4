//! D4, heavy source: one source over a limit that the operator set for its tier.
//!
//! Plain counting over one minute, ten minutes and one day. The limits are the operator's own, so nothing has to be
//! learned first.

use super::Detector;
use crate::engine::source::Source;
use crate::engine::tier::Tier;
use crate::engine::time::Time;
use crate::engine::window::Length;

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
    type Sample<'a> = (&'a Tier, Time);
    type Finding = Exceeded;

    fn judge(&self, source: &mut Source, (tier, now): (&Tier, Time)) -> Option<Exceeded> {
        let (connections, requests) = (tier.connection_limits(), tier.request_limits());
        let exceeded = |what, limits: [u64; 3], sums: &dyn Fn() -> [u64; 3]| {
            if limits == [0; 3] {
                return None;
            }
            let over = sums().into_iter().zip(limits).zip(Length::ALL).find(|((n, limit), _)| *limit > 0 && n > limit);
            over.map(|((count, limit), length)| Exceeded { what, length, count, limit })
        };
        exceeded("requests", requests, &|| source.requests.sums(now))
            .or_else(|| exceeded("connections", connections, &|| source.connections.sums(now)))
    }
}
