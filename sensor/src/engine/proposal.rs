//! What could be refused of a campaign, and what each would cost: three scopes, from narrow to wide.
//!
//! Of the connections of the campaign's own networks within ten minutes, `r` came over a relay, `d` did not, and `a` of
//! the relayed ones were from sources caught twice. With the normal relayed share `q`, `d` direct newcomers bring
//! `d q/(1-q)` relayed innocents with them, and `d q^2/(1-q)` whose second connection looks relayed too. So:
//!
//! | scope | what it refuses | reach | innocents |
//! |---|---|---|---|
//! | sources | sources caught twice, by address | `a/(r+d)` | `d q^2/(1-q)` |
//! | conjunction | the client, over a relay, from networks first seen since the onset | `r/(r+d)` | `d q/(1-q)` |
//! | class | the client, from networks first seen since the onset | all | `d + d q/(1-q)`, if what is direct is innocent |
//!
//! The kernel carries out the first two. The last one is never automatic: it rests on fingerprint and novelty alone.

use super::decide::ACCEPTED_MIN;
use super::fixed::{WHOLE_PPM, scale, share_ppm};

/// Which connections would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Sources,
    Conjunction,
    Class,
}

impl Scope {
    /// Its name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Conjunction => "conjunction",
            Self::Class => "class",
        }
    }

    /// What it refuses, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sources => "sources that came over a relay twice, by address",
            Self::Conjunction => "this client over a relay from networks first seen since the onset",
            Self::Class => "this client from networks first seen since the onset, relayed or not (never automatic)",
        }
    }
}

/// Connections of a campaign's own networks within ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    pub relayed: u64,
    pub direct: u64,
    /// Relayed ones of sources caught twice.
    pub again: u64,
}

/// One scope, weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub scope: Scope,
    /// Share of the campaign's own connections that it refuses, parts per million.
    pub coverage_ppm: u64,
    /// Innocent connections that it would refuse in ten minutes, millionths.
    pub innocents_millionths: u64,
    /// The same per million accepted connections.
    pub innocent_ppm: u64,
}

/// Weighs the scopes, narrowest first. `accepted`: all accepted connections within ten minutes.
#[must_use]
pub fn weigh(normal_ppm: u64, own: Own, accepted: u64) -> [Proposal; 3] {
    let Own { relayed, direct, again } = own;
    let all = relayed.saturating_add(direct);
    let direct_millionths = direct.saturating_mul(WHOLE_PPM);
    let by_chance = scale(direct_millionths, normal_ppm, WHOLE_PPM.saturating_sub(normal_ppm));
    let proposal = |scope, reach, innocents_millionths: u64| Proposal {
        scope,
        coverage_ppm: share_ppm(reach, all).min(WHOLE_PPM),
        innocents_millionths,
        innocent_ppm: innocents_millionths / accepted.max(ACCEPTED_MIN),
    };
    [
        proposal(Scope::Sources, again, scale(by_chance, normal_ppm, WHOLE_PPM)),
        proposal(Scope::Conjunction, relayed, by_chance),
        proposal(Scope::Class, all, direct_millionths.saturating_add(by_chance)),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Own, weigh};

    #[test]
    fn the_wider_the_scope_the_more_it_reaches_and_costs() {
        let [sources, conjunction, class] = weigh(20_000, Own { relayed: 850, direct: 150, again: 500 }, 100_000);
        assert_eq!([sources, conjunction, class].map(|p| p.coverage_ppm), [500_000, 850_000, 1_000_000]);
        // 150 * 0.02 / 0.98 = 3.06 by chance, a fiftieth of it twice.
        assert_eq!([sources, conjunction, class].map(|p| p.innocents_millionths), [61_224, 3_061_224, 153_061_224]);
        assert_eq!([sources, conjunction, class].map(|p| p.innocent_ppm), [0, 30, 1_530]);
        assert_eq!(weigh(20_000, Own::default(), 0).map(|p| (p.coverage_ppm, p.innocent_ppm)), [(0, 0); 3]);
    }
}
