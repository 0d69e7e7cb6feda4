//! Rotation scenarios: what must raise a campaign, what must never, and what follows.

use crate::scenario::{CLIENT, Fate, SERVICE, START, World, calm, home, prefix, quick};
use sensor::engine::plan::Subject;
use sensor::engine::record::ConnectionRecord;
use sensor::engine::time::Span;
use sensor::tunable::Tunables;
use sensor_common::address::Address;
use sensor_common::event::{flag, protocol};
use sensor_common::rule::ClassKey;

const CLASS: Subject = Subject::Class(ClassKey::new(SERVICE, CLIENT));

/// `per_second` connections over `exits` relays in turn; counts those served.
fn rotate(world: &mut World, seconds: u64, per_second: u64, exits: u64) -> u64 {
    let mut served = 0;
    for _ in 0..seconds {
        for _ in 0..per_second {
            let exit = home(100, world.turn % exits);
            world.turn += 1;
            served += u64::from(world.connect(exit, Some(80)) == Fate::Served);
        }
        // A few regulars go on beside it.
        for k in 0..5 {
            assert_eq!(world.connect(home(20, k), Some(2)), Fate::Served, "a regular was harmed");
        }
        world.tick();
    }
    served
}

#[test]
fn a_hydra_is_found_and_stopped_within_seconds() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    assert_eq!(world.noticed("campaign_opened"), 0);
    let before = world.now;
    let served = rotate(&mut world, 60, 15, 300);
    let opened = world.notices.iter().find(|(_, n)| n.kind == "campaign_opened").expect("no campaign").0;
    assert!(opened.since(before) <= Span::seconds(4), "alarm after {:?}", opened.since(before));
    let ruled = world.notices.iter().find(|(_, n)| n.kind == "class_rule").expect("no class rule").0;
    assert_eq!(ruled, opened, "the guards held back without need");
    // Each exit is served once: the second time its gap is certain.
    assert!(served <= 300 + 30, "served {served} of 900");
    assert!(world.denials() >= 250, "{} sources denied", world.denials());
    let campaign = world.engine.campaign(1).expect("campaign 1");
    assert_eq!(campaign.state, "open");
    assert_eq!(campaign.relayed_networks, 300);
    assert!(campaign.attack_share > 0.98, "{}", campaign.attack_share);
    assert!(campaign.why.contains("300 of them answered TLS 80 ms (median) later"), "{}", campaign.why);
    for n in 0..75 {
        assert!(!world.is_denied(&home(20, n)), "a regular is denied");
    }
}

#[test]
fn a_flash_crowd_raises_nothing() {
    // False gaps per thousand: learned, in the crowd; whether a campaign may be raised (a rule never may).
    for (learned, crowd, may_raise) in [(20, 20, false), (50, 50, false), (80, 80, false), (20, 50, true)] {
        for seed in 0..8 {
            let mut world = World::new(&quick(15));
            world.seed(seed * 7_919);
            calm(&mut world, 200, 5, learned);
            for second in 0..60 {
                for k in 0..15 {
                    let newcomer = home(100, second * 15 + k);
                    for _ in 0..2 {
                        let gap = if world.below(1_000) < crowd { 60 } else { 3 };
                        assert_eq!(world.connect(newcomer, Some(gap)), Fate::Served);
                    }
                }
                world.tick();
            }
            assert!(world.installed.is_empty(), "{learned}/{crowd} seed {seed}: {:?}", world.installed);
            let raised = world.noticed("campaign_opened");
            assert!(may_raise || raised == 0, "{learned}/{crowd} seed {seed}: {:?}", world.notices);
        }
    }
}

#[test]
fn a_first_crowd_on_a_cold_host_makes_no_rule() {
    for permille in [20, 50, 80, 150] {
        let mut world = World::new(&quick(15));
        calm(&mut world, 120, 15, permille);
        assert!(world.installed.is_empty(), "{permille}: {:?}", world.installed);
        assert_eq!(world.noticed("campaign_opened"), 0, "{permille}: {:?}", world.notices);
    }
}

#[test]
fn one_busy_relay_user_is_one_network() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 30, 3, 10);
    for _ in 0..120 {
        for _ in 0..20 {
            assert_eq!(world.connect(home(100, 1), Some(90)), Fate::Served);
        }
        world.tick();
    }
    assert_eq!(world.noticed("campaign_opened"), 0);
    assert!(world.installed.is_empty());
}

#[test]
fn shared_addresses_are_never_denied() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    // Behind one new carrier address: direct phones, and one of the hydra's clients.
    let shared = home(90, 1);
    for second in 0..60 {
        rotate(&mut world, 1, 15, 300);
        world.connect(shared, Some(if second % 4 == 0 { 80 } else { 3 }));
    }
    assert_eq!(world.classes(), 1);
    assert!(!world.is_denied(&shared));
    // The same with the relayed ones first: let in again at the first direct connection.
    let turned = home(91, 1);
    for _ in 0..4 {
        world.connect(turned, Some(80));
        rotate(&mut world, 1, 15, 300);
    }
    assert!(world.is_denied(&turned));
    world.enforce = false;
    world.connect(turned, Some(2));
    world.tick();
    assert!(!world.is_denied(&turned));
    assert_eq!(world.noticed("source_cleared"), 1);
}

#[test]
fn a_cold_start_raises_but_makes_no_rule_and_says_so() {
    let mut world = World::new(&quick(3_600));
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 60, 15, 300);
    assert_eq!(world.noticed("campaign_opened"), 1);
    assert!(world.installed.is_empty(), "{:?}", world.installed);
    let held: Vec<_> = world.notices.iter().filter(|(_, n)| n.kind == "held_back").collect();
    assert_eq!(held.len(), 1, "said once: {held:?}");
    assert!(held[0].1.text.contains("of 3600 s of calm traffic"), "{}", held[0].1.text);
    assert!(!world.engine.learning().complete);
    let calm_s = world.engine.learning().calm_s;
    rotate(&mut world, 30, 15, 300);
    assert_eq!(world.engine.learning().calm_s, calm_s, "an open campaign is not calm");
}

#[test]
fn what_is_allowed_is_never_denied() {
    let mut world = World::new(&quick(15));
    world.stand(Subject::Allow(prefix("100.0.0.0/18")));
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 60, 15, 300);
    let allowed = |n: u64| n < 64;
    for n in 0..300 {
        assert!(!(allowed(n) && world.is_denied(&home(100, n))), "{n}");
    }
    assert!(world.is_denied(&home(100, 200)));
    // Allowed later, let go at once.
    world.stand(Subject::Allow(prefix("100.0.200.0/24")));
    world.tick();
    assert!(!world.is_denied(&home(100, 200)));
    // A subject that the operator blocks is the operator's: the detector gives it up without taking it out.
    let taken = Subject::Deny(home(100, 201).host_prefix());
    assert!(world.installed.remove(&taken).is_some());
    world.stand(taken);
    world.tick();
    assert!(!world.engine.rules().contains_key(&taken));
}

#[test]
fn the_budget_holds_back() {
    let tunables = Tunables { collateral_budget_ppm: 0, ..quick(15) };
    let mut world = World::new(&tunables);
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 30, 15, 300);
    assert!(world.installed.is_empty());
    let held = world.notices.iter().find(|(_, n)| n.kind == "held_back").expect("not said");
    assert!(held.1.text.contains("collateral_budget_ppm"), "{}", held.1.text);
    // Given room, it acts at the next tick.
    world.engine.retune(&quick(15), Default::default());
    rotate(&mut world, 1, 15, 300);
    assert_eq!(world.classes(), 1);
}

#[test]
fn a_mixed_class_is_left_alone() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 600, 5, 100);
    // Relayed newcomers among as many direct ones, where a tenth is normal.
    for second in 0..120 {
        for k in 0..10 {
            world.connect(home(100, second * 10 + k), Some(if k < 5 { 70 } else { 2 }));
        }
        world.tick();
    }
    assert_eq!(world.noticed("campaign_opened"), 1);
    assert!(world.installed.is_empty());
    let held = world.notices.iter().find(|(_, n)| n.kind == "held_back").expect("not said");
    assert!(held.1.text.contains("class_attack_percent"), "{}", held.1.text);
}

#[test]
fn a_quiet_campaign_closes_and_its_rules_run_out() {
    let tunables = Tunables { rotation_quiet_s: 120, class_rule_ttl_s: 300, source_rule_ttl_s: 200, ..quick(15) };
    let mut world = World::new(&tunables);
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 60, 15, 300);
    assert!(world.classes() == 1 && world.denials() > 0);
    // The exits knock until the end, refused or not.
    world.idle(118, 1);
    assert_eq!(world.noticed("campaign_closed"), 0);
    world.idle(2, 1);
    assert_eq!(world.noticed("campaign_closed"), 1);
    world.idle(300, 1);
    assert!(world.installed.is_empty(), "{:?}", world.installed);
    assert_eq!(world.engine.campaign(1).expect("remembered").state, "closed");
    // The same exits come back, on networks known by now.
    let served = rotate(&mut world, 60, 15, 300);
    let again = world.engine.campaign(2).expect("not found again");
    assert_eq!((again.state.as_str(), world.classes()), ("open", 1));
    assert!(served <= 60, "served {served} of 900");
}

#[test]
fn a_crowd_on_the_networks_of_an_earlier_campaign_is_no_campaign() {
    let tunables = Tunables { rotation_quiet_s: 120, class_rule_ttl_s: 60, source_rule_ttl_s: 60, ..quick(15) };
    let mut world = World::new(&tunables);
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 30, 15, 300);
    world.idle(200, 1);
    assert_eq!(world.noticed("campaign_closed"), 1);
    for second in 0..60 {
        for k in 0..15 {
            let n = second * 15 + k;
            let client = if n < 100 { home(100, n) } else { home(140, n) };
            let gap = if world.below(1_000) < 20 { 60 } else { 3 };
            assert_eq!(world.connect(client, Some(gap)), Fate::Served);
        }
        world.tick();
    }
    assert_eq!(world.noticed("campaign_opened"), 1);
}

#[test]
fn a_campaign_that_goes_on_keeps_its_rules() {
    let tunables = Tunables { rotation_quiet_s: 60, class_rule_ttl_s: 30, ..quick(15) };
    let mut world = World::new(&tunables);
    world.enforce = false;
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 400, 15, 300);
    // No new exits for six minutes, but the old ones are still at it.
    assert_eq!(world.noticed("campaign_closed"), 0);
    assert_eq!(world.classes(), 1);
}

#[test]
fn returning_sources_are_refused_for_longer() {
    let tunables = Tunables { rotation_quiet_s: 86_400, source_rule_ttl_s: 60, class_rule_ttl_s: 86_400, ..quick(15) };
    let mut world = World::new(&tunables);
    calm(&mut world, 25, 3, 0);
    rotate(&mut world, 40, 15, 300);
    let subject = Subject::Deny(home(100, 5).host_prefix());
    let life = |world: &World| world.installed[&subject].expires.expect("expires").since(world.now).as_seconds();
    assert!(life(&world) <= 60);
    world.idle(120, 1);
    assert!(!world.installed.contains_key(&subject));
    world.connect(home(100, 5), Some(80));
    world.tick();
    assert_eq!(life(&world), 120);
}

#[test]
fn ipv6_sources_are_denied_by_their_64() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    let exit = |n: u16| {
        let [a, b] = n.to_be_bytes();
        Address::v6([0x2a, 1, 2, 3, a, b, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9])
    };
    for second in 0..40_u16 {
        for k in 0..15 {
            world.connect(exit((second * 15 + k) % 300), Some(80));
        }
        world.tick();
    }
    assert_eq!(world.classes(), 1);
    assert!(world.installed.contains_key(&Subject::Deny(prefix("2a01:203:5:1::/64"))));
}

#[test]
fn an_empty_handshake_does_not_use_a_network_up() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    for n in 0..300 {
        world.connect(home(100, n), None);
    }
    world.tick();
    rotate(&mut world, 20, 15, 300);
    assert_eq!(world.noticed("campaign_opened"), 1);
}

#[test]
fn forged_and_repeated_records_are_no_evidence() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    let record = |world: &World, n: u64, flags: u32| ConnectionRecord {
        at: world.now,
        client: home(100, n),
        service: SERVICE,
        protocol: protocol::TLS,
        fingerprint: CLIENT,
        rtt_us: 20_000,
        hello_gap_us: None,
        flight_gap_us: Some(80_000),
        flags,
    };
    let relayed = flag::GAP_SAMPLE | flag::GAP_FLAGGED;
    for n in 0..300 {
        // Without a completed handshake anybody may have sent it.
        world.engine.observe(&record(&world, n, relayed));
        // One of the same network, over and over.
        world.engine.observe(&record(&world, 500, relayed | flag::ESTABLISHED));
        if n % 15 == 14 {
            world.tick();
        }
    }
    assert_eq!(world.noticed("campaign_opened"), 0);
    assert!(world.engine.counts().records_repeated >= 270);
    assert_eq!(world.engine.source(&home(100, 500)).gap_samples, 20);
}

#[test]
fn connections_without_a_sample_count_on_neither_side() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    for second in 0..60 {
        for k in 0..40 {
            world.connect(home(100, second * 40 + k), None);
        }
        world.tick();
    }
    assert_eq!(world.noticed("campaign_opened"), 0);
    let found = rotate_planes(&mut world);
    assert!(found <= 4, "unknown samples diluted the evidence: {found} s");
}

#[test]
fn the_regulars_of_the_same_client_pass_a_class_rule() {
    let mut world = World::new(&quick(15));
    calm(&mut world, 25, 3, 0);
    // A regular behind a relay, known since before the onset.
    world.connect(home(80, 1), Some(70));
    world.tick();
    world.idle(100, 1);
    rotate(&mut world, 40, 15, 300);
    let rule = &world.installed[&CLASS];
    assert!(rule.newer_than.expect("says since when") > START + Span::seconds(25));
    for _ in 0..5 {
        assert_eq!(world.connect(home(80, 1), Some(70)), Fate::Served);
        world.tick();
    }
    assert!(!world.is_denied(&home(80, 1)));
}

/// Seconds until a rotation on fresh networks is found, amid connections without a sample.
fn rotate_planes(world: &mut World) -> u64 {
    for second in 0..60 {
        for k in 0..15 {
            world.connect(home(150, second * 15 + k), Some(80));
            world.connect(home(160, second * 15 + k), None);
        }
        world.tick();
        if world.noticed("campaign_opened") > 0 {
            return second;
        }
    }
    u64::MAX
}
