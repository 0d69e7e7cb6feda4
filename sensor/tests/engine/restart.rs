//! What a restart keeps: campaigns, rules and their expiry, baselines, networks, learning, windows.

use sensor::engine::Engine;
use sensor::engine::plan::{Action, Subject};
use sensor::engine::state::{Rows, State};
use sensor::engine::tier::Tiers;
use sensor::engine::time::{Span, Time};
use sensor::tunable::Tunables;

use crate::scenario::{Fate, World, calm, home, quick};

fn attacked(tunables: &Tunables) -> World {
    let mut world = World::new(tunables);
    calm(&mut world, 25, 3, 0);
    attack(&mut world, 40);
    world
}

fn attack(world: &mut World, seconds: u64) -> u64 {
    let mut served = 0;
    for _ in 0..seconds {
        for _ in 0..15 {
            world.turn += 1;
            let exit = home(100, world.turn % 400);
            served += u64::from(world.connect(exit, Some(80)) == Fate::Served);
        }
        world.tick();
    }
    served
}

/// The daemon ends and comes back after so many seconds, through the store's text form.
fn restart(world: &mut World, tunables: &Tunables, down_s: u64) {
    let text = serde_json::to_string(&world.engine.save()).expect("state is plain data");
    let state: State = serde_json::from_str(&text).expect("what was written can be read");
    world.now = world.now + Span::seconds(down_s);
    world.engine = Engine::new(tunables, Tiers::default());
    world.engine.restore(state, world.now);
    // The first plan brings every rule again; the world starts from what the kernel still holds.
    world.installed.retain(|_, rule| rule.expires.is_some_and(|e| e > world.now));
}

#[test]
fn a_restart_in_the_middle_of_a_campaign_keeps_it() {
    let tunables = quick(15);
    let mut world = attacked(&tunables);
    let (rules, before) = (world.installed.clone(), world.engine.campaign(1).expect("open"));
    restart(&mut world, &tunables, 5);
    assert_eq!(world.engine.campaign(1).expect("kept"), before);
    assert_eq!(world.engine.rules(), &rules);
    let plan = world.tick();
    let installs = plan.actions.iter().filter(|a| matches!(a, Action::Install(..))).count();
    assert!(installs >= rules.len() && installs == plan.actions.len(), "every rule is installed again");
    for (subject, rule) in rules.iter() {
        assert_eq!(world.installed[subject].expires, rule.expires, "a restart is no renewal");
    }
    assert!(attack(&mut world, 20) <= 120, "the class rule goes on");
    assert_eq!(world.noticed("campaign_opened"), 1);
    assert!(world.engine.learning().complete);
}

#[test]
fn time_down_is_not_quiet_time() {
    let tunables = Tunables { rotation_quiet_s: 60, class_rule_ttl_s: 30, source_rule_ttl_s: 30, ..quick(15) };
    let mut world = attacked(&tunables);
    restart(&mut world, &tunables, 300);
    assert!(world.engine.rules().is_empty(), "rules do not outlive their time");
    world.tick();
    assert_eq!(world.engine.campaign(1).expect("kept").state, "open");
    assert_eq!(world.classes(), 1, "the campaign is still open, so its rule is made again");
}

#[test]
fn known_networks_stay_known() {
    let tunables = quick(15);
    let mut world = attacked(&tunables);
    restart(&mut world, &tunables, 3_600);
    assert_eq!(world.engine.counts().networks, 75 + 400);
}

#[test]
fn windows_go_on_and_the_first_tick_counts_nothing_twice() {
    let tunables = quick(15);
    let mut world = World::new(&tunables);
    world.tick();
    let client = home(20, 1);
    for _ in 0..10 {
        world.connect(client, Some(2));
        world.tick();
    }
    restart(&mut world, &tunables, 120);
    world.tick();
    assert_eq!(world.engine.source(&client).connections_1d, 10);
    assert_eq!(world.engine.source(&client).connections_1m, 0);
    world.connect(client, Some(2));
    world.tick();
    assert_eq!(world.engine.source(&client).connections_1d, 11);
}

#[test]
fn changes_add_up_to_the_whole() {
    let tunables = Tunables { networks_max: 300, rotation_quiet_s: 30, source_rule_ttl_s: 20, ..quick(15) };
    let mut world = World::new(&tunables);
    let mut stored = Stored::default();
    calm(&mut world, 25, 3, 0);
    for round in 0..30 {
        if round % 3 == 0 {
            attack(&mut world, 5);
        } else {
            calm(&mut world, 10, 40, 20);
        }
        stored.apply(world.engine.changes());
    }
    let whole = world.engine.save();
    assert!(world.engine.counts().networks_evicted > 0, "the test means to evict");
    assert_eq!(stored.0.rules, sorted(whole.rules));
    assert_eq!(stored.0.campaigns, sorted(whole.campaigns));
    assert_eq!(stored.0.offences, sorted(whole.offences));
    // Times of last sight are stored to the hour.
    let keys = |rows: &Rows<[u8; 16], _>| rows.put.iter().map(|(k, _)| *k).collect::<Vec<_>>();
    assert_eq!(keys(&stored.0.networks), keys(&sorted(whole.networks)));
    let ids = |rows: &Rows<_, _>| rows.put.iter().map(|(k, _)| *k).collect::<Vec<_>>();
    assert_eq!(ids(&stored.0.cohorts), ids(&sorted(whole.cohorts)));
    let empty = world.engine.changes();
    assert!(empty.networks.put.is_empty() && empty.rules.put.is_empty() && empty.sources.put.is_empty());
}

#[derive(Default)]
struct Stored(State);

impl Stored {
    fn apply(&mut self, changes: State) {
        let State { meta, networks, sources, offences, cohorts, campaigns, rules } = changes;
        self.0.meta = meta;
        merge(&mut self.0.networks, networks);
        merge(&mut self.0.sources, sources);
        merge(&mut self.0.offences, offences);
        merge(&mut self.0.cohorts, cohorts);
        merge(&mut self.0.campaigns, campaigns);
        merge(&mut self.0.rules, rules);
    }
}

fn merge<K: Ord + Copy, V>(into: &mut Rows<K, V>, rows: Rows<K, V>) {
    let Rows { put, gone, whole } = rows;
    let drops = |k: &K| whole || gone.contains(k) || put.iter().any(|(p, _)| p == k);
    into.put.retain(|(k, _)| !drops(k));
    into.put.extend(put);
    into.put.sort_by_key(|(k, _)| *k);
}

fn sorted<K: Ord + Copy, V>(rows: Rows<K, V>) -> Rows<K, V> {
    let mut rows = Rows { whole: false, ..rows };
    rows.put.sort_by_key(|(k, _)| *k);
    rows
}

#[test]
fn a_damaged_store_is_taken_up_in_parts() {
    let tunables = quick(15);
    let world = attacked(&tunables);
    let whole = world.engine.save();
    let later = world.now + Span::seconds(1);
    // Each table alone, and all of them as if written in the future.
    let parts = [
        State { networks: whole.networks.clone(), ..State::default() },
        State { cohorts: whole.cohorts.clone(), ..State::default() },
        State { campaigns: whole.campaigns.clone(), ..State::default() },
        State { rules: whole.rules.clone(), ..State::default() },
        State { meta: whole.meta.clone(), ..State::default() },
        whole.clone(),
    ];
    for (index, part) in parts.into_iter().enumerate() {
        for now in [later, Time(5), Time(u64::MAX)] {
            let mut engine = Engine::new(&tunables, Tiers::default());
            engine.restore(part.clone(), now);
            let plan = engine.step(now, &world.snapshot(), &world.standing);
            let lasting = plan.actions.iter().any(|a| match a {
                Action::Install(Subject::Class(_) | Subject::Deny(_), rule) => rule.expires.is_none(),
                Action::Install(..) => true,
                Action::Remove(_) => false,
            });
            assert!(!lasting, "part {index}");
        }
    }
}
