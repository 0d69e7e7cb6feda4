//! The evaluation end to end on a small day: what is found, what is left alone, and that the books balance.

use std::path::Path;
use std::sync::Arc;

use sensor::engine::plan::Notice;
use sensor::engine::time::Time;
use sensor::replay::Replay;
use sensor::replay::evidence::Evidence;
use sensor::replay::read::Events;
use sensor::replay::report::Report;
use sensor::tunable::Tunables;
use sensor_eval::evaluate::{self, Work};
use sensor_eval::run::{Pasts, Settings, check_seeds};
use sensor_eval::scenario::{Attack, Benign, Scenario};
use sensor_eval::site::Witness;
use sensor_eval::summary::Summary;
use sensor_eval::trace::{Part, Trace};
use sensor_eval::{record, sheet, suite};

/// Two hours of calm, of which one teaches enough.
fn small() -> Settings {
    let tunables = Tunables { learn_s: 3_600, ..Tunables::default() };
    Settings { assumptions: Arc::default(), tunables, trace: None, past_s: 7_200, rivals: true }
}

fn hydra() -> Scenario {
    let attack = Attack { after_s: 600, length_s: 3_000, ..Attack::hydra(0.5) };
    Scenario::attack("hydra-5pct", "a small one", attack)
}

fn calm() -> Scenario {
    Scenario { length_s: 3_600, ..Scenario::benign("all", "a small one", Benign::all()) }
}

#[test]
fn a_campaign_is_found_and_calm_is_left_alone() {
    let settings = small();
    let work =
        Work { seeds: vec![1_000], scenarios: vec![calm(), hydra()], sensitivity: false, adaptive: false, threads: 1 };
    let results = evaluate::run(&work, &settings, &|_| {});
    let [calm, hydra] = results.outcomes.as_slice() else { panic!("two scenarios have run") };
    assert_eq!((calm.account.alarms.len(), calm.account.class_rules), (0, 0), "{:?}", calm.account.alarms);
    assert!(hydra.alarm_min().is_some_and(|minutes| minutes < 20.0), "{:?}", hydra.account.alarms);
    assert!(hydra.account.alarms.iter().all(|alarm| alarm.is_true), "{:?}", hydra.account.alarms);
    assert!(hydra.account.served_after_rule().is_some_and(|share| share < 0.5), "{:?}", hydra.account.after_rule);
    for outcomes in [calm, hydra] {
        for (class, tally) in &outcomes.account.classes {
            assert_eq!(tally.offered, tally.served + tally.refused(), "{class:?} of {}", outcomes.scenario);
            assert!(tally.quota <= tally.served, "{class:?}");
        }
        assert_eq!(outcomes.account.benign().refused_established, 0);
    }
    let (attack, after) = (hydra.account.attack(), hydra.account.after_rule);
    assert!(after.offered <= attack.offered && after.refused() == attack.refused(), "{attack:?} {after:?}");
    let summary = Summary::of(&results, &work.seeds, vec![1.0]);
    assert_eq!(summary.false_alarms_per_30d.worst, Some(0.0));
    assert_eq!(summary.alarm_min_1pct.median, None, "it was not run");
    let json = serde_json::to_value(&summary).expect("it is plain data");
    for name in [
        "false_alarms_per_30d",
        "rules_on_benign",
        "alarm_min_5pct",
        "alarm_min_1pct",
        "alarm_min_025pct",
        "source_precision",
        "served_after_rule",
        "benign_refused_ppm_deny",
        "benign_refused_ppm_quota",
        "established_refused",
        "simulated_days_per_s",
        "tick_1m_ms",
    ] {
        assert!(json[name].get("median").is_some() && json[name].get("worst").is_some(), "{name}: {json}");
    }
    assert_eq!(sheet::attacks(&results, &work.scenarios).rows.len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let settings = small();
    let run = || Pasts::new(&settings, 7).run(&hydra()).account;
    assert_eq!(run(), run());
}

/// Everything that a site tells.
#[derive(Default)]
struct Listener {
    evidence: Vec<Evidence>,
    told: Vec<(Time, Notice)>,
}

impl Witness for Listener {
    fn see(&mut self, evidence: &Evidence) {
        self.evidence.push(evidence.clone());
    }

    fn told(&mut self, now: Time, notice: &Notice) {
        self.told.push((now, notice.clone()));
    }
}

#[test]
fn a_replay_tells_what_the_site_told() {
    let settings = Settings { past_s: 3_600, tunables: Tunables { learn_s: 1_200, ..Tunables::default() }, ..small() };
    let mut site = record::dry_run(&settings, &hydra(), 3);
    let mut listener = Listener::default();
    site.run(7_200, &mut listener);
    assert!(listener.told.iter().any(|(_, notice)| notice.kind == "class_rule"), "{:?}", listener.told);
    let mut replay = Replay::new(&settings.tunables);
    for evidence in &listener.evidence {
        replay.feed(evidence).expect("they are in order");
    }
    replay.finish();
    assert_eq!(replay.notices, listener.told);
    assert_eq!(replay.engine().rules(), site.engine().rules());
}

#[test]
fn an_event_file_is_what_was_written() {
    let settings = Settings { past_s: 3_600, tunables: Tunables { learn_s: 1_200, ..Tunables::default() }, ..small() };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let report = |name: &str| {
        let path = folder.path().join(name);
        let written = record::write(&settings, &hydra(), 3, &path).expect("it can be written");
        let file = std::io::BufReader::new(std::fs::File::open(&path).expect("it is there"));
        let mut replay = Replay::new(&settings.tunables);
        for event in Events::new(file).expect("it has events") {
            replay.feed(&event.expect("every line is good")).expect("they are in order");
        }
        replay.finish();
        assert_eq!(replay.events, written, "{name}");
        Report::of(&replay)
    };
    let (lines, csv) = (report("a.jsonl"), report("a.csv"));
    let truth = lines.summary.truth.expect("it is labelled");
    assert_eq!((truth.true_campaigns, truth.false_campaigns), (1, 0));
    let text = |report: &Report| serde_json::to_string(report).expect("it is plain data");
    assert_eq!(text(&lines), text(&csv), "both forms say the same");
}

#[test]
fn tuning_and_reporting_are_not_mixed() {
    check_seeds(&[1, 999], Part::Tune).expect("they are for tuning");
    check_seeds(&[1_000, 2_000], Part::HeldOut).expect("they are held out");
    for (seeds, part) in [(&[999, 1_000], Part::Tune), (&[999, 1_000], Part::HeldOut)] {
        let error = check_seeds(seeds, part).expect_err("they are mixed").to_string();
        assert!(error.contains("never what is reported"), "{error}");
    }
}

#[test]
fn every_scenario_draws_what_it_says() {
    let settings = small();
    for scenario in suite::every(&settings.assumptions) {
        let mut site = record::dry_run(&settings, &scenario, 5);
        let mut listener = Listener::default();
        let started_s = scenario.attack.as_ref().map_or(0, |attack| attack.after_s);
        site.run(600, &mut listener);
        assert!(!listener.evidence.is_empty(), "{}", scenario.name);
        assert!(started_s.is_multiple_of(600) && scenario.length_s > started_s, "{}", scenario.name);
    }
}

/// Recorded traces, where they are at hand: `SENSOR_TRACES` names their folder.
#[test]
fn published_traces_are_read() {
    let Some(folder) = std::env::var_os("SENSOR_TRACES") else {
        println!("SKIP traces: SENSOR_TRACES names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let rates = folder.join("servegen/m-large.csv.gz");
    for part in [Part::Tune, Part::HeldOut] {
        let trace = Arc::new(Trace::read(&rates, part).expect("ServeGen's trace is read"));
        let settings = Settings { trace: Some(trace), ..small() };
        let outcomes = Pasts::new(&settings, 1_000).run(&calm());
        assert!(outcomes.account.benign().offered > 1_000, "{:?}", outcomes.account.benign());
    }
    let arrivals = folder.join("azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz");
    Trace::read(&arrivals, Part::HeldOut).expect("Azure's trace is read");
    Trace::read(&arrivals, Part::Tune).expect_err("it is no longer than a week");
}
