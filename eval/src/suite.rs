//! The scenarios that are run: the benign suite B1 to B14, the attack suite, and the named anchors H1 to H3.

use crate::assumption::Assumptions;
use crate::scenario::{Attack, Benign, Client, Pace, Place, Scenario};

/// Fleet-wide rate of the campaign that was reported in June 2026: 28.8 million exchanges in 45 days.
const H1_PER_S: f64 = 7.4;

/// More than 100,000 prompts in a week.
const H2_PER_S: f64 = 100_000.0 / 604_800.0;

/// Shares of the load in the table of rates, percent.
pub const SHARES: [f64; 7] = [0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 50.0];

/// The name of the hydra with this share of the load.
#[must_use]
pub fn hydra_name(percent: f64) -> String {
    format!("hydra-{percent}pct")
}

/// Requests per second that make up this share of the whole, percent.
#[must_use]
pub fn rate(assumptions: &Assumptions, percent: f64) -> f64 {
    assumptions.load_per_s() * percent / (100.0 - percent)
}

/// The benign suite.
#[must_use]
pub fn benign() -> Vec<Scenario> {
    let (all, plain) = (Benign::all(), Benign::plain());
    let row = |name: &str, summary: &str, benign: &Benign| Scenario::benign(name, summary, benign.clone());
    vec![
        row("all", "everything that is normal, together", &all),
        row("b1-tenants", "B1 tenants and people at home alone", &plain),
        row(
            "b2-cgnat",
            "B2 and 30 % of consumers behind 200 carrier addresses",
            &Benign { phones: Some(0.3), ..plain.clone() },
        ),
        row("b3-corporate", "B3 and companies behind NAT", &Benign { corporate: true, ..plain.clone() }),
        row("b4-sase", "B4 and filtering proxies that show the gap", &Benign { sase: true, ..plain.clone() }),
        row("b5-crowd-5x", "B5 launch: 5x consumers, new users only, 6 h", &Benign { crowd: Some(5.0), ..all.clone() }),
        row(
            "b5-crowd-20x",
            "B5 launch: 20x consumers, new users only, 6 h",
            &Benign { crowd: Some(20.0), ..all.clone() },
        ),
        row("b6-monoculture", "B6 80 % of programs use one SDK", &Benign { monoculture: Some(0.8), ..all.clone() }),
        row(
            "b7-release",
            "B7 the popular SDK is released anew, all move in a day",
            &Benign { release: true, ..all.clone() },
        ),
        row(
            "b8-serverless",
            "B8 30 % of tenants' addresses change in a day",
            &Benign { churn_per_day: Some(0.3), ..all.clone() },
        ),
        row("b9-readdress", "B9 all homes get new addresses in one night", &Benign { readdress: true, ..all.clone() }),
        row("b10-batch", "B10 health checks, batches on the hour", &Benign { batch: true, ..plain.clone() }),
        row(
            "b11-homes",
            "B11 a new customer's program in 2,000 homes",
            &Benign { new_tenant: Some(false), ..all.clone() },
        ),
        row(
            "x11-homes-relayed",
            "the same homes through a relay of the customer's own",
            &Benign { new_tenant: Some(true), ..all.clone() },
        ),
        row("b12-jitter-2pct", "B12 2 % false gaps", &Benign { gap_false: Some(0.02), ..all.clone() }),
        row("b12-jitter-8pct", "B12 8 % false gaps", &Benign { gap_false: Some(0.08), ..all.clone() }),
        row("b12-jitter-15pct", "B12 15 % false gaps", &Benign { gap_false: Some(0.15), ..all.clone() }),
        row(
            "b13-restart",
            "B13 the daemon is restarted, 10 % of records are lost",
            &Benign { restart: true, lost_records: 0.1, ..all.clone() },
        ),
        row("b14-hobbyists", "B14 three times as many hobbyists", &Benign { hobbyists: Some(3.0), ..all }),
    ]
}

/// The attack suite. Rates are shares of the whole load.
#[must_use]
pub fn attacks(assumptions: &Assumptions) -> Vec<Scenario> {
    let mut rows: Vec<Scenario> = SHARES
        .into_iter()
        .map(|percent| {
            let days = if percent < 0.5 { 2 } else { 1 };
            let attack = Attack { length_s: days * 86_400, ..Attack::hydra(rate(assumptions, percent)) };
            Scenario::attack(&hydra_name(percent), &format!("popular SDK, 25,000 exits, {percent} % of load"), attack)
        })
        .collect();
    let base = Attack::hydra(rate(assumptions, 5.0));
    let mut row = |name: &str, summary: &str, attack: Attack| rows.push(Scenario::attack(name, summary, attack));
    row("pool-500", "500 exits", Attack { exits: 500, ..base.clone() });
    row("pool-2k", "2,000 exits", Attack { exits: 2_000, ..base.clone() });
    row("pool-250k", "250,000 exits", Attack { exits: 250_000, ..base.clone() });
    row("sticky-1m", "identities of 1 min, even pace", Attack { sticky_s: Some(60), pace: Pace::Even, ..base.clone() });
    row("sticky-10m", "identities of 10 min", Attack { sticky_s: Some(600), ..base.clone() });
    row("sticky-30m", "identities of 30 min", Attack { sticky_s: Some(1_800), ..base.clone() });
    row("even", "no jitter at all", Attack { pace: Pace::Even, ..base.clone() });
    row("daily", "daily rhythm", Attack { pace: Pace::Daily, ..base.clone() });
    row("rare-client", "a client that nobody else uses", Attack { client: Client::Rare, ..base.clone() });
    row("browsers-3", "the three most popular browsers", Attack { client: Client::Browsers(3), ..base.clone() });
    row("browsers-10", "all ten browsers", Attack { client: Client::Browsers(10), ..base.clone() });
    row("fresh-client", "a new client with each connection", Attack { client: Client::Fresh, ..base.clone() });
    row("gap-50", "half of the exits show the gap", Attack { gap_visible: Some(0.5), ..base.clone() });
    row("gap-30", "30 % of the exits show the gap", Attack { gap_visible: Some(0.3), ..base.clone() });
    row("gap-0", "program on the exit itself: no gap", Attack { gap_visible: Some(0.0), ..base.clone() });
    row("ramp-3d", "grows over three days", Attack { ramp_s: 3 * 86_400, length_s: 3 * 86_400, ..base.clone() });
    row("rented", "rented /24s, 64 exits each", Attack { place: Place::Rented, ..base.clone() });
    row("v6-one", "/64s of one /48", Attack { place: Place::OneV6, ..base.clone() });
    row("v6-many", "a /48 for each exit", Attack { place: Place::ManyV6, ..base.clone() });
    row("mixed-50", "half of the gateway's traffic is ordinary", Attack { mixing: 0.5, ..base.clone() });
    row("mixed-90", "90 % of the gateway's traffic is ordinary", Attack { mixing: 0.9, ..base });
    rows.extend(anchors());
    rows
}

fn anchors() -> Vec<Scenario> {
    let seen = |hosts: f64, days: u64| Attack { length_s: days * 86_400, ..Attack::hydra(H1_PER_S / hosts) };
    let mimic = Attack {
        exits: 5_000,
        sticky_s: Some(1_800),
        pace: Pace::Daily,
        client: Client::Browsers(10),
        gap_visible: Some(0.0),
        ..Attack::hydra(H2_PER_S)
    };
    vec![
        Scenario::attack("h1-1-host", "H1 June 2026, all of it at one host", seen(1.0, 1)),
        Scenario::attack("h1-100-hosts", "H1 June 2026, one of 100 hosts", seen(100.0, 1)),
        Scenario::attack("h1-1000-hosts", "H1 June 2026, one of 1,000 hosts", seen(1_000.0, 2)),
        Scenario::attack(
            "h2-week",
            "H2 100,000 prompts a week, 2,000 exits",
            Attack { exits: 2_000, ..seen(H1_PER_S / H2_PER_S, 1) },
        ),
        Scenario::attack("h3-mimic", "H3 full mimic: browsers, no gap, sticky, human pace", mimic),
    ]
}

/// Every scenario, by name.
#[must_use]
pub fn every(assumptions: &Assumptions) -> Vec<Scenario> {
    benign().into_iter().chain(attacks(assumptions)).collect()
}

/// The few that `--quick` runs.
#[must_use]
pub fn quick(assumptions: &Assumptions) -> Vec<Scenario> {
    let chosen = ["all", "b5-crowd-5x", "b9-readdress", "hydra-5pct", "hydra-1pct", "hydra-0.25pct", "h3-mimic"];
    every(assumptions).into_iter().filter(|scenario| chosen.contains(&scenario.name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{every, quick};
    use crate::assumption::Assumptions;

    #[test]
    fn names_are_unique_and_lengths_whole_slots() {
        let every = every(&Assumptions::default());
        let names: BTreeSet<&str> = every.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names.len(), every.len());
        assert!(every.iter().all(|s| s.length_s.is_multiple_of(crate::traffic::SLOT_S)));
        assert_eq!(quick(&Assumptions::default()).len(), 7);
    }
}
