//! Heavy sources and tiers: plain limits over one minute, ten minutes and one day.

use ipnet::IpNet;
use sensor::engine::plan::Subject;
use sensor::engine::tier::{Tier, TierError, Tiers};
use sensor::engine::time::Span;
use sensor::tunable::Tunables;
use sensor_common::address::Address;

use crate::scenario::{Fate, World, home, prefix, quick};

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn tiers() -> Tiers {
    let default = Tier { name: "default".into(), connections_1m: 30, requests_10m: 100, ..Tier::default() };
    let partner = Tier {
        name: "partner".into(),
        prefixes: vec![net("10.1.0.0/16"), net("2001:db8::/32")],
        connections_1d: 500,
        ..Tier::default()
    };
    let branch = Tier { name: "branch".into(), prefixes: vec![net("10.1.2.0/24")], ..Tier::default() };
    Tiers::new(vec![partner, default, branch]).expect("valid tiers")
}

#[test]
fn the_longest_prefix_names_the_tier() {
    let tiers = tiers();
    let rows = [
        ("10.1.9.9", "partner"),
        ("10.1.2.3", "branch"),
        ("10.2.0.1", "default"),
        ("2001:db8:7::1", "partner"),
        ("2001:db9::1", "default"),
        // Not the IPv4 prefix in disguise.
        ("::10.1.2.3", "default"),
    ];
    for (address, name) in rows {
        let address = Address::from(address.parse::<std::net::IpAddr>().expect("an address"));
        assert_eq!(tiers.of(&address).name, name, "{address}");
    }
    assert_eq!(tiers.all()[0].name, "default");
    assert_eq!(tiers.prefixes().len(), 3);
    assert!(tiers.prefixes().contains(&(prefix("10.1.2.0/24"), 2)));
}

#[test]
fn bad_tiers_are_refused_in_words() {
    let tier = |name: &str, prefixes: &[&str]| Tier {
        name: name.into(),
        prefixes: prefixes.iter().map(|p| net(p)).collect(),
        ..Tier::default()
    };
    let rows: [(Vec<Tier>, &str); 7] = [
        (vec![tier("", &["10.0.0.0/8"])], "has no name"),
        (vec![tier("Big Ones", &["10.0.0.0/8"])], "`Big Ones` is not usable"),
        (vec![tier("a", &["10.0.0.0/8"]), tier("a", &["11.0.0.0/8"])], "two tiers are called `a`"),
        (vec![tier("default", &["10.0.0.0/8"])], "take its `prefixes` away"),
        (vec![tier("a", &[])], "so nobody is in it"),
        (vec![tier("a", &["10.0.0.1/8"]), tier("b", &["10.0.0.0/8"])], "10.0.0.0/8 is in tier `a` and in tier `b`"),
        ((0..64).map(|n| tier(&format!("t{n}"), &[&format!("10.{n}.0.0/16")])).collect(), "65 tiers with `default`"),
    ];
    for (given, words) in rows {
        let error: TierError = Tiers::new(given).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
    let parsed: Result<Tier, _> = toml::from_str("name = 'a'\nconnections_1h = 3");
    assert!(parsed.expect_err("unknown key").to_string().contains("connections_1h"));
}

#[test]
fn a_source_over_its_limit_is_refused_for_a_while_without_any_learning() {
    let mut world = World::with_tiers(&Tunables { learn_s: 2_592_000, ..Tunables::default() }, tiers());
    world.tick();
    let (heavy, steady, partner) = (home(30, 1), home(31, 1), Address::v4([10, 1, 9, 9]));
    for _ in 0..20 {
        for _ in 0..3 {
            world.connect(heavy, Some(2));
        }
        for _ in 0..4 {
            world.connect(partner, Some(2));
        }
        world.connect(steady, Some(2));
        world.tick();
    }
    let rule = &world.installed[&Subject::Deny(heavy.host_prefix())];
    assert_eq!(rule.reason, "33 connections in a minute: tier `default` allows 30");
    assert_eq!(rule.campaign, None);
    assert_eq!(world.installed.len(), 1, "{:?}", world.installed);
    assert_eq!(world.noticed("heavy_source"), 1);
    let lines = world.engine.explain(&heavy).lines;
    assert!(lines[0].starts_with("Refused by address for another"), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("connections within a minute 33 of 30")), "{lines:?}");
    assert_eq!(world.engine.source(&heavy).connections_1m, 33);
    world.idle(320, 1);
    assert!(world.installed.is_empty());
    assert_eq!(world.connect(heavy, Some(2)), Fate::Served);
    // The partner's own limit is over a day.
    for _ in 0..50 {
        for _ in 0..10 {
            world.connect(partner, Some(2));
        }
        world.tick();
    }
    assert!(world.is_denied(&partner));
    assert!(world.installed[&Subject::Deny(partner.host_prefix())].reason.contains("in a day"));
}

#[test]
fn the_request_limit_counts_requests() {
    let mut world = World::with_tiers(&quick(15), tiers());
    world.tick();
    let client = home(30, 1);
    world.connect(client, Some(2));
    world.totals.get_mut(&client).expect("connected").requests += 100;
    world.tick();
    assert!(world.is_denied(&client));
    assert!(world.installed.values().next().expect("one rule").reason.starts_with("101 requests in ten minutes"));
}

#[test]
fn totals_that_fall_or_return_are_never_negative_nor_huge() {
    let mut world = World::with_tiers(&quick(15), tiers());
    let client = home(30, 1);
    // Known to the kernel long before the daemon started: its past has no date.
    world.connect(client, Some(2));
    world.totals.get_mut(&client).expect("connected").connections = 1_000_000;
    world.tick();
    assert_eq!(world.engine.source(&client).connections_1d, 0);
    let set = |world: &mut World, connections, fresh: bool| {
        let now = world.now;
        let totals = world.totals.get_mut(&client).expect("connected");
        (totals.connections, totals.last_seen) = (connections, now);
        totals.first_seen = if fresh { now } else { totals.first_seen };
        world.tick();
        world.engine.source(&client).connections_1d
    };
    assert_eq!(set(&mut world, 1_000_005, false), 5);
    // Evicted and entered again by the kernel.
    assert_eq!(set(&mut world, 3, true), 8);
    // The same without a word about it.
    assert_eq!(set(&mut world, 2, false), 10);
    assert_eq!(set(&mut world, 2, false), 10);
    // Evicted and back with more than before.
    world.idle(10, 1);
    assert_eq!(set(&mut world, 4, true), 14);
    assert!(world.installed.is_empty());
}

#[test]
fn the_operator_changes_limits_while_it_runs() {
    let mut world = World::new(&quick(15));
    world.tick();
    let client = home(30, 1);
    for _ in 0..5 {
        for _ in 0..10 {
            world.connect(client, Some(2));
        }
        world.tick();
    }
    assert!(world.installed.is_empty());
    world.engine.retune(&Tunables { heavy_source_ttl_s: 7, ..quick(15) }, tiers());
    world.connect(client, Some(2));
    world.tick();
    let rule = &world.installed[&Subject::Deny(client.host_prefix())];
    assert_eq!(rule.expires, Some(world.now + Span::seconds(7)));
}
