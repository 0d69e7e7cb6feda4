//! Long runs: ordinary months that must stay silent, and rotations that hide in them.

use crate::scenario::{CLIENT, Fate, World, calm, home, quick};
use sensor::engine::time::Span;
use sensor::tunable::Tunables;

#[test]
fn a_month_of_ordinary_traffic_raises_nothing() {
    // Clients with false gaps of 0.5 to 15 % of their newcomers; nights are quiet, and on one day in seven a launch
    // brings ten times as many for six hours.
    let tunables = Tunables { learn_s: 259_200, ..Tunables::default() };
    let mut world = World::new(&tunables);
    let clients: [(u64, u64); 5] = [(1, 5), (2, 15), (3, 50), (4, 80), (5, 150)];
    let mut newcomer = 0;
    for minute in 0..30 * 1_440_u64 {
        let (hour, day) = (minute / 60 % 24, minute / 1_440);
        let launch = if day % 7 == 5 && (9..15).contains(&hour) { 10 } else { 1 };
        let often = if (8..20).contains(&hour) { 60 } else { 10 } * launch;
        for (fingerprint, permille) in clients {
            for _ in 0..often / 100 + u64::from(world.below(100) < often % 100) {
                newcomer += 1;
                let gap = if world.below(1_000) < permille { 60 } else { 3 };
                world.connect_as(home(30, newcomer), fingerprint, Some(gap));
            }
        }
        world.now = world.now + Span::seconds(59);
        world.tick();
        world.totals.clear();
    }
    assert_eq!(world.noticed("campaign_opened"), 0, "{:?}", world.notices);
    assert!(world.engine.learning().calm_s > 0 && newcomer > 100_000);
}

#[test]
fn a_rotation_that_changes_its_client_too_is_found_in_the_service() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 60, 5, 10);
    for second in 0..90_u64 {
        for k in 0..15 {
            let exit = home(100, (second * 15 + k) % 300);
            let client = 1_000_000 + world.below(1 << 40);
            world.connect_as(exit, client, Some(80));
        }
        for k in 0..5 {
            assert_eq!(world.connect(home(20, k), Some(2)), Fate::Served);
            world.connect(home(60, second * 5 + k), Some(2));
        }
        world.tick();
    }
    let campaign = world.engine.campaign(1).expect("not found");
    assert!(campaign.why.contains("used many different clients on port 8443"), "{}", campaign.why);
    assert_eq!(world.noticed("campaign_opened"), 1);
    // No class can be named; the exits are refused one by one.
    assert_eq!(world.classes(), 0);
    assert!(world.denials() >= 250, "{} denied: {:?}", world.denials(), world.notices);
    assert!((0..450).all(|n| !world.is_denied(&home(60, n))));
}

#[test]
fn a_crowd_of_a_client_that_is_often_late_does_not_blame_the_service() {
    // The service's usual client shows 1 % false gaps, the crowd's own client always showed 10 %.
    let mut world = World::new(&quick(900));
    let mut newcomer = 0;
    for second in 0..1_800 {
        let crowd = if second < 1_200 { 1 } else { 15 };
        for (client, permille, often) in [(CLIENT, 10, 5), (7, 100, crowd)] {
            for _ in 0..often {
                newcomer += 1;
                let gap = if world.below(1_000) < permille { 60 } else { 3 };
                world.connect_as(home(30, newcomer), client, Some(gap));
            }
        }
        world.tick();
        world.totals.clear();
    }
    assert_eq!(world.noticed("campaign_opened"), 0, "{:?}", world.notices);
}

#[test]
fn a_new_habit_is_taken_as_normal_after_a_day() {
    let mut world = World::new(&quick(600));
    let mut newcomer = 0;
    for minute in 0..2_900_u64 {
        // From the second hour on an eighth of the newcomers come over a company's relays.
        let permille = if minute < 60 { 10 } else { 125 };
        for _ in 0..20 {
            newcomer += 1;
            let gap = if world.below(1_000) < permille { 60 } else { 3 };
            world.connect(home(30, newcomer), Some(gap));
        }
        world.now = world.now + Span::seconds(59);
        world.tick();
        world.totals.clear();
    }
    assert!(world.installed.is_empty());
    let kinds: Vec<_> = world.notices.iter().map(|(_, n)| n.kind).collect();
    assert_eq!(kinds, ["campaign_opened", "held_back", "taken_as_normal", "campaign_closed"], "{:?}", world.notices);
}

#[test]
fn a_slow_rotation_is_found_in_time_that_its_evidence_allows() {
    // Relayed newcomers per hour, beside 1,200 direct ones; hours until the alarm at most.
    for (per_hour, hours) in [(600, 1), (120, 2), (60, 6)] {
        let mut world = World::new(&quick(15));
        calm(&mut world, 600, 5, 10);
        let start = world.now;
        let mut newcomer = 0;
        while world.noticed("campaign_opened") == 0 && world.now.since(start) < Span::seconds(hours * 3_600) {
            for _ in 0..20 {
                newcomer += 1;
                let gap = if world.below(1_000) < 10 { 60 } else { 3 };
                world.connect(home(100, newcomer), Some(gap));
                if world.below(1_200) < per_hour {
                    world.connect(home(160, newcomer), Some(80));
                }
            }
            world.now = world.now + Span::seconds(59);
            world.tick();
            world.totals.clear();
        }
        assert_eq!(world.noticed("campaign_opened"), 1, "{per_hour} an hour not found within {hours} h");
    }
}
