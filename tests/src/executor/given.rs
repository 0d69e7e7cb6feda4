//! The world of a row, in words: a cell that begins with `given`, items separated by commas.
//!
//! | item | meaning |
//! |---|---|
//! | `dry` | verdicts are only counted |
//! | `watch N N ...` | the watched ports, in place of the lab's two |
//! | `allow PREFIX` | an allow rule |
//! | `deny PREFIX for TIME`, `deny PREFIX since TIME` | a deny rule that ends in, or ended before, that time |
//! | `tier PREFIX N` | the prefix belongs to tier N |
//! | `limit N connections M`, `limit N requests M` | limits of tier N, per second and per minute |
//! | `gap N`, `share N` | relay gap in milliseconds, and its share of the round trip in percent |

use std::net::IpAddr;
use std::time::Duration;

use sensor_common::address::Prefix;
use sensor_common::rule::TierLimit;

use super::{RelativeNs, World};

/// Reads the cell behind `given`.
///
/// # Errors
/// The item that is not understood.
pub fn read(text: &str) -> Result<World, String> {
    let mut world = World::default();
    for item in text.split(',') {
        let words: Vec<&str> = item.split_whitespace().collect();
        apply(&mut world, &words).ok_or_else(|| format!("`{}` is no part of a world", item.trim()))?;
    }
    Ok(world)
}

fn apply(world: &mut World, words: &[&str]) -> Option<()> {
    match *words {
        ["dry"] => world.settings.enforce = 0,
        ["watch", ref ports @ ..] => {
            world.services = ports.iter().map(|port| port.parse().ok()).collect::<Option<_>>()?;
        }
        ["allow", text] => world.allow.push(prefix(text)?),
        ["deny", text, "for", time] => world.deny.push((prefix(text)?, relative(time)?)),
        ["deny", text, "since", time] => world.deny.push((prefix(text)?, relative(time)?.saturating_neg())),
        ["tier", text, tier] => world.tiers.push((prefix(text)?, tier.parse().ok()?)),
        ["limit", tier, what, most] => limit(world, tier.parse().ok()?, what, most.parse().ok()?)?,
        ["gap", ms] => world.settings.relay_gap_us = ms.parse::<u32>().ok()?.checked_mul(1_000)?,
        ["share", percent] => world.settings.relay_gap_rtt_percent = percent.parse().ok()?,
        _ => return None,
    }
    Some(())
}

fn limit(world: &mut World, tier: u32, what: &str, most: u32) -> Option<()> {
    if !world.limits.iter().any(|(known, _)| *known == tier) {
        world.limits.push((tier, TierLimit { connections_per_s: 0, requests_per_min: 0 }));
    }
    let (_, limit) = world.limits.iter_mut().find(|(known, _)| *known == tier)?;
    match what {
        "connections" => limit.connections_per_s = most,
        "requests" => limit.requests_per_min = most,
        _ => return None,
    }
    Some(())
}

/// A prefix as people write it; a bare address is a whole one.
#[must_use]
pub fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    Prefix::new(address, length.map_or(Some(whole), |length| length.parse().ok())?)
}

/// A duration: `500us`, `30ms`, `2s`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1_000_000), ("us", 1_000), ("s", 1_000_000_000)];
    let (number, ns) = units.iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, *ns)))?;
    Some(Duration::from_nanos(number.parse::<u64>().ok()?.checked_mul(ns)?))
}

fn relative(text: &str) -> Option<RelativeNs> {
    RelativeNs::try_from(duration(text)?.as_nanos()).ok()
}
