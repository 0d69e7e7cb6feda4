//! Campaigns without any relay gap, each beside what only looks like one: new clients, members in step, rented ranges.

use sensor::engine::time::Span;
use sensor::tunable::Tunables;
use sensor_common::address::Address;

use crate::scenario::{CLIENT, World, home, quick};

/// A second client that everyone knows, by few.
const TOOL: u64 = 0x7001;

/// A client that was never seen.
const FRESH: u64 = 0xf4e5;

/// A site: each minute 20 connections of 400 homes and one of 40 users of a tool, and two newcomers.
struct Site {
    world: World,
    minute: u64,
}

impl Site {
    /// One that has learned for two hours.
    fn new(seed: u64) -> Self {
        let mut world = World::new(&Tunables { class_rule_ttl_s: 600, ..quick(600) });
        world.seed(seed);
        let mut site = Self { world, minute: 0 };
        site.pass(120, |_, _| {});
        assert!(site.world.engine.learning().complete);
        site
    }

    /// So many minutes pass, in each of which besides something is done.
    fn pass(&mut self, minutes: u64, mut besides: impl FnMut(&mut World, u64)) {
        for _ in 0..minutes {
            let world = &mut self.world;
            for _ in 0..20 {
                let who = world.below(400);
                world.connect(home(20, who), Some(2));
            }
            let who = world.below(40);
            world.connect_as(home(40, who), TOOL, Some(2));
            for k in 0..2 {
                world.connect(home(60, self.minute * 2 + k), Some(2));
            }
            besides(world, self.minute);
            world.now = world.now + Span::seconds(59);
            world.tick();
            world.totals.clear();
            self.minute += 1;
        }
    }

    /// The detectors that raised campaigns, in order.
    fn raised(&self) -> Vec<String> {
        let mut campaigns = self.world.engine.campaign_answers(true);
        campaigns.sort_by_key(|campaign| campaign.id);
        campaigns.into_iter().map(|campaign| campaign.detector).collect()
    }
}

#[test]
fn a_new_client_in_many_new_networks_is_found_and_refuses_nobody() {
    let mut site = Site::new(1);
    let began = site.world.now;
    site.pass(60, |world, minute| {
        for k in 0..3 {
            world.connect_as(home(120, minute * 3 + k), FRESH, Some(2));
        }
    });
    assert_eq!(site.raised(), ["new_client"], "{:?}", site.world.notices);
    let (at, notice) = site.world.notices.iter().find(|(_, n)| n.kind == "campaign_opened").expect("it is told");
    assert!(at.since(began) <= Span::seconds(15 * 60), "after {:?}", at.since(began));
    assert!(notice.text.contains("never seen here before, came from "), "{}", notice.text);
    assert!(notice.text.contains(", 0 of which were known"), "{}", notice.text);
    assert!(site.world.installed.is_empty(), "fingerprint and novelty refuse nobody: {:?}", site.world.installed);
}

#[test]
fn a_new_client_over_relays_is_refused() {
    let mut site = Site::new(2);
    site.pass(90, |world, minute| {
        for k in 0..3 {
            let exit = home(120, minute * 3 + k);
            world.connect_as(exit, FRESH, Some(80));
            world.connect_as(exit, FRESH, Some(80));
        }
    });
    assert_eq!(site.raised().len(), 1, "{:?}", site.world.notices);
    assert_eq!(site.world.classes(), 1, "{:?}", site.world.notices);
}

#[test]
fn a_release_is_taken_up_by_known_networks() {
    for seed in 0..4 {
        let mut site = Site::new(seed);
        // Within six hours everybody takes the new release; one in eight of its users is new.
        site.pass(360, |world, minute| {
            for k in 0..3 {
                let (who, is_new) = (world.below(400), world.below(8) == 0);
                let user = if is_new { home(120, minute * 3 + k) } else { home(20, who) };
                world.connect_as(user, FRESH, Some(2));
            }
        });
        assert_eq!(site.raised(), [""; 0], "{:?}", site.world.notices);
    }
}

#[test]
fn a_flash_crowd_on_a_common_client_is_no_new_client() {
    let mut site = Site::new(3);
    site.pass(360, |world, minute| {
        for k in 0..40 {
            world.connect(home(120, minute * 40 + k), Some(2));
        }
    });
    assert_eq!(site.raised(), [""; 0], "{:?}", site.world.notices);
}

#[test]
fn homes_that_move_to_other_addresses_overnight_are_no_campaign() {
    let mut site = Site::new(4);
    site.pass(600, |world, _| {
        for _ in 0..20 {
            let who = world.below(400);
            // 256 neighbours share a /24, with all kinds of clients.
            let [.., a, b] = who.to_be_bytes();
            let client = 100 + who % 7;
            world.connect_as(Address::v4([150, a, b & 0xf0, b]), client, Some(2));
            world.connect(Address::v4([150, a, b & 0xf0, b]), Some(2));
        }
    });
    assert_eq!(site.raised(), [""; 0], "{:?}", site.world.notices);
}

#[test]
fn a_balancer_that_restarts_brings_everyone_back_at_once() {
    let mut site = Site::new(5);
    site.pass(30, |world, minute| {
        if minute.is_multiple_of(10) {
            (0..400).for_each(|who| {
                world.connect(home(20, who), Some(2));
            });
        }
    });
    assert_eq!(site.raised(), [""; 0], "{:?}", site.world.notices);
}

/// 60 minutes of work, 40 of rest.
fn works(minute: u64) -> bool {
    minute % 100 < 60
}

#[test]
fn members_that_work_and_rest_together_are_found() {
    let mut site = Site::new(6);
    site.pass(600, |world, minute| {
        // Each once in ten minutes, at a time of its own.
        for bot in (0..40).filter(|bot| works(minute) && bot % 10 == minute % 10) {
            world.connect_as(home(120, bot), TOOL, Some(2));
        }
    });
    assert_eq!(site.raised(), ["lockstep"], "{:?}", site.world.notices);
    let why = site.world.engine.campaign(1).expect("open").why;
    assert!(why.contains("kept step with client 0000000000007001"), "{why}");
    assert!(site.world.installed.is_empty());
}

#[test]
fn people_with_the_same_working_hours_do_not_keep_step() {
    for seed in 0..4 {
        let mut site = Site::new(seed);
        site.pass(600, |world, minute| {
            for user in 0..40_u64 {
                // Some often, some now and then.
                if works(minute) && world.below(60) < 1 + user % 8 {
                    world.connect_as(home(120, user), TOOL, Some(2));
                }
            }
        });
        assert_eq!(site.raised(), [""; 0], "seed {seed}: {:?}", site.world.notices);
    }
}

#[test]
fn batch_jobs_of_known_networks_keep_step_and_are_left_alone() {
    let mut world = World::new(&quick(600));
    for minute in 0..1_200_u64 {
        for server in (0..40_u64).filter(|_| works(minute)) {
            world.connect_as(home(120, server), TOOL, Some(2));
        }
        world.connect(home(20, minute % 50), Some(2));
        world.now = world.now + Span::seconds(59);
        world.tick();
        world.totals.clear();
    }
    assert_eq!(world.noticed("campaign_opened"), 0, "{:?}", world.notices);
}

#[test]
fn ranges_that_fill_with_one_client_are_found() {
    let mut site = Site::new(7);
    site.pass(180, |world, minute| {
        // Every two minutes a rented /24 more; all rented ones are used in turn, 64 addresses of each.
        for k in 0..24 {
            let range = world.below(minute.saturating_sub(119) / 2 + 1);
            let [.., a, b] = range.to_be_bytes();
            let host = u8::try_from(world.below(64) + k % 2).expect("below 256");
            world.connect(Address::v4([140, a, b, host]), Some(2));
        }
    });
    assert_eq!(site.raised(), ["rented_ranges"], "{:?}", site.world.notices);
    assert!(site.world.engine.campaign(1).expect("open").why.contains("have filled with eight or more"));
    assert!(site.world.installed.is_empty());
}

#[test]
fn a_cloud_that_churns_is_no_rented_range() {
    let mut site = Site::new(8);
    // A platform with four known ranges that takes a new one now and then, for whatever its tenants run.
    site.pass(1_440, |world, minute| {
        for _ in 0..6 {
            let range = world.below(4 + minute / 240);
            let [.., b] = range.to_be_bytes();
            let host = u8::try_from(world.below(250)).expect("below 256");
            let client = if world.below(10) < 6 { CLIENT } else { TOOL };
            world.connect_as(Address::v4([13, 0, b, host]), client, Some(2));
        }
    });
    assert_eq!(site.raised(), [""; 0], "{:?}", site.world.notices);
}
