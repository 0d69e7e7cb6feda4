//! Campaigns as objects: what they took, what could be refused, what the operator says, and what is learned from it.

use sensor::engine::VerdictError;
use sensor::engine::campaign::Verdict;
use sensor::engine::time::Span;

use crate::scenario::{Fate, World, calm, home, quick};

/// A hydra of 300 exits; each connection that is served takes one answer of 4,000 bytes.
fn attack(world: &mut World, seconds: u64) -> u64 {
    let mut served = 0;
    for _ in 0..seconds {
        for _ in 0..15 {
            world.turn += 1;
            let exit = home(100, world.turn % 300);
            let fate = world.connect(exit, Some(80));
            if fate == Fate::Served {
                served += 1;
                world.totals.get_mut(&exit.source()).expect("met").answer_bytes += 4_000;
            }
        }
        // A customer beside it.
        world.connect(home(20, 1), Some(2));
        world.totals.get_mut(&home(20, 1).source()).expect("met").answer_bytes += 1_000_000;
        world.tick();
    }
    served
}

fn attacked(enforce: bool) -> (World, u64) {
    let mut world = World::new(&quick(15));
    world.enforce = enforce;
    calm(&mut world, 25, 3, 0);
    let served = attack(&mut world, 40);
    (world, served)
}

#[test]
fn what_was_taken_is_counted_for_its_sources_alone() {
    let (world, served) = attacked(true);
    let campaign = world.engine.campaign(1).expect("open");
    let damage = &campaign.damage;
    // All but what was taken before the alarm.
    assert!(damage.answers > 0 && damage.answers <= served + 15, "{damage:?} of {served}");
    assert_eq!(damage.answer_bytes, damage.answers * 4_000);
    assert!(damage.sources.abs_diff(300) <= 30, "{damage:?}");
    assert_eq!(damage.estimated_tokens, damage.answer_bytes / 200);
    assert!((damage.estimated_cost - damage.estimated_tokens as f64 * 15.0 / 1e6).abs() < 0.01, "{damage:?}");
    let lines = world.engine.explain_campaign(1).expect("known").join("\n");
    assert!(
        lines.contains("of its own took") && lines.contains("To refuse sources that came over a relay twice"),
        "{lines}"
    );
}

#[test]
fn proposals_say_what_each_scope_reaches_and_costs() {
    let (world, _) = attacked(false);
    let proposals = world.engine.campaign(1).expect("open").proposals;
    let scopes: Vec<&str> = proposals.iter().map(|p| p.scope.as_str()).collect();
    assert_eq!(scopes, ["sources", "conjunction", "class"]);
    assert!(proposals.windows(2).all(|pair| pair[0].coverage <= pair[1].coverage), "{proposals:?}");
    assert!(proposals.windows(2).all(|pair| pair[0].expected_innocents <= pair[1].expected_innocents), "{proposals:?}");
    assert!(proposals[1].coverage > 0.9, "{proposals:?}");
}

#[test]
fn a_dismissed_campaign_ends_with_its_rules_and_is_normal_from_then_on() {
    let (mut world, _) = attacked(true);
    assert!(world.classes() == 1 && world.denials() > 0);
    let now = world.now;
    let notices = world.engine.judge(1, Verdict::Dismissed, "a partner", now).expect("known");
    assert_eq!(notices[0].kind, "campaign_dismissed");
    world.tick();
    assert!(world.installed.is_empty(), "{:?}", world.installed);
    let campaign = world.engine.campaign(1).expect("remembered");
    assert_eq!((campaign.state.as_str(), campaign.verdict.as_deref()), ("closed", Some("dismissed")));
    assert!(campaign.actions.iter().any(|deed| deed.ends_with("as ordinary: a partner")), "{:?}", campaign.actions);
    // The same partner goes on, also after a pause that would let the exits of an attack count again.
    attack(&mut world, 60);
    world.idle(7_200, 60);
    attack(&mut world, 60);
    assert_eq!(world.noticed("campaign_opened"), 1, "{:?}", world.notices);
    assert!(world.installed.is_empty());
    assert_eq!(world.engine.judge(1, Verdict::Confirmed, "", world.now), Err(VerdictError::Learned(1)));
    assert_eq!(world.engine.judge(9, Verdict::Confirmed, "", world.now), Err(VerdictError::Unknown(9)));
}

#[test]
fn a_confirmed_campaign_is_never_taken_as_normal() {
    // An eighth of the newcomers are relayed: too mixed for a rule, and after a day normal unless confirmed.
    for confirmed in [false, true] {
        let mut world = World::new(&quick(600));
        let mut newcomer = 0;
        for minute in 0..2_000_u64 {
            let permille = if minute < 60 { 10 } else { 125 };
            for _ in 0..20 {
                newcomer += 1;
                let gap = if world.below(1_000) < permille { 60 } else { 3 };
                world.connect(home(30, newcomer), Some(gap));
            }
            world.now = world.now + Span::seconds(59);
            world.tick();
            world.totals.clear();
            if confirmed && world.noticed("campaign_opened") == 1 {
                world.engine.judge(1, Verdict::Confirmed, "", world.now).expect("open");
            }
        }
        assert_eq!(world.noticed("taken_as_normal"), usize::from(!confirmed));
        let campaign = world.engine.campaign(1).expect("raised");
        assert_eq!(campaign.state, if confirmed { "open" } else { "closed" });
        assert!(!confirmed || campaign.expected_share < 0.03, "{}", campaign.expected_share);
    }
}

#[test]
fn a_report_is_masked_unless_asked_and_survives_a_restart() {
    let (mut world, _) = attacked(true);
    let _ = world.engine.judge(1, Verdict::Confirmed, "", world.now);
    let masked = world.engine.report(1, false, world.now).expect("known");
    assert!(masked.masked && !masked.members.is_empty() && masked.history.len() > 2, "{masked:?}");
    assert!(masked.members.iter().all(|member| member.source.ends_with(".0/24")), "{:?}", masked.members);
    let named = world.engine.report(1, true, world.now).expect("known");
    assert!(named.members.iter().all(|member| member.source.ends_with(".7/32")), "{:?}", named.members);
    let state = serde_json::to_string(&world.engine.save()).expect("plain data");
    let mut again = World::new(&quick(15));
    again.engine.restore(serde_json::from_str(&state).expect("what was written can be read"), world.now);
    assert_eq!(again.engine.report(1, false, world.now), Some(masked));
}
