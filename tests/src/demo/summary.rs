//! The figures of a run and the verdict over them. Refuses to measure: it only adds up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::DemoOptions;
use super::tally::{Count, Tally};
use super::watch::Watch;

/// Largest share of the attack that may be served after the rule.
pub const SERVED_SHARE_MAX: f64 = 0.10;
/// Fewer attempts after the rule say nothing about it.
pub const ATTEMPTS_MIN: u64 = 20;

/// What `--json` writes. Times count from the first request of the hydra, or of the crowd.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The verdict: everything that this scenario asks for happened.
    pub passed: bool,
    /// What did not, in words.
    pub failures: Vec<String>,
    /// `hydra`, `flash_crowd`, with `without_sensor` where none ran.
    pub scenario: String,
    /// A campaign was raised.
    pub campaign_found: bool,
    /// Seconds to the first campaign.
    pub alarm_after_s: Option<f64>,
    /// Seconds to the first rule made by a detector.
    pub rule_after_s: Option<f64>,
    /// Attempts of the harvester.
    pub attack_sent: u64,
    /// Attempts with a complete answer.
    pub attack_served: u64,
    /// Attempts that began after the rule.
    pub attack_sent_after_rule: u64,
    /// Of these, the ones with a complete answer.
    pub attack_served_after_rule: u64,
    /// Share of attempts after the rule with a complete answer.
    pub served_share_after_rule: Option<f64>,
    /// Requests of benign users.
    pub benign_sent: u64,
    /// Requests of benign users without a complete answer.
    pub benign_refused: u64,
    /// Benign requests by kind of client.
    pub benign_by_kind: BTreeMap<String, Count>,
    /// Why benign requests were refused.
    pub benign_errors: BTreeMap<String, u64>,
    /// Why attempts were refused.
    pub attack_errors: BTreeMap<String, u64>,
    /// Requests of the flash crowd.
    pub crowd: Count,
    /// Exit or crowd addresses that took part.
    pub addresses_used: usize,
    /// Packets that the router sent to the server from the sensor's start to the end of all traffic.
    pub packets_sent: u64,
    /// Frames that the sensor counted over the same span.
    pub packets_counted: u64,
    /// Packets that the delay line lost: not zero means that the lab was overloaded.
    pub line_drops: u64,
    /// Connections that the sensor counted.
    pub connections_counted: u64,
    /// Requests that the sensor counted.
    pub requests_counted: u64,
    /// Frames that the sensor dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// `native` or `generic`.
    pub xdp_mode: String,
    /// `enforce` or `dry_run`.
    pub mode: String,
    /// Words of each alarm.
    pub why: Vec<String>,
    /// Rules that detectors made: kind, subject, hits, reason.
    pub rules: Vec<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Number of relays, or of the crowd's users.
    pub relays: u32,
    /// Seconds of traffic.
    pub duration_s: u64,
    /// Kernel release.
    pub kernel: String,
    /// The sensor's version.
    pub sensor_version: String,
    /// How to look around, when the lab stays up.
    #[serde(skip)]
    pub(crate) around: Option<String>,
    #[serde(skip)]
    with_sensor: bool,
    #[serde(skip)]
    flash_crowd: bool,
}

impl Summary {
    pub(crate) fn add_up(options: &DemoOptions, watch: &Watch, tally: &Tally, packets_sent: u64) -> Self {
        let label = if options.flash_crowd { "crowd" } else { "attack" };
        let after_first = |at: Option<f64>| Some(round(at? - tally.first(label)?, 1));
        let attack = tally.count("attack", f64::MIN);
        let after = watch.rule_at().map_or(Count::default(), |rule| tally.count("attack", rule));
        let benign = tally.count("benign", f64::MIN);
        let status = watch.status();
        let scenario = if options.flash_crowd { "flash_crowd" } else { "hydra" };
        Self {
            passed: false,
            failures: Vec::new(),
            scenario: if watch.watching() { scenario.to_owned() } else { format!("{scenario}_without_sensor") },
            campaign_found: watch.alarm_at().is_some(),
            alarm_after_s: after_first(watch.alarm_at()),
            rule_after_s: after_first(watch.rule_at()),
            attack_sent: attack.sent,
            attack_served: attack.served,
            attack_sent_after_rule: after.sent,
            attack_served_after_rule: after.served,
            served_share_after_rule: (after.sent > 0).then(|| round(ratio(after.served, after.sent), 4)),
            benign_sent: benign.sent,
            benign_refused: benign.refused,
            benign_by_kind: tally.by_kind("benign"),
            benign_errors: tally.errors("benign"),
            attack_errors: tally.errors("attack"),
            crowd: tally.count("crowd", f64::MIN),
            addresses_used: tally.addresses(label),
            packets_sent,
            packets_counted: watch.frames(),
            line_drops: 0,
            connections_counted: status.connections,
            requests_counted: status.requests,
            dropped: status.dropped.clone(),
            xdp_mode: status.xdp_mode.clone(),
            mode: status.mode.clone(),
            why: watch.campaigns().iter().map(|campaign| campaign.why.clone()).collect(),
            rules: watch
                .rules()
                .map(|rule| format!("{} {}, {} hits: {}", rule.kind, rule.subject, rule.hits, rule.reason))
                .collect(),
            seed: options.seed,
            relays: options.relays,
            duration_s: options.duration,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            sensor_version: status.sensor_version.clone(),
            around: None,
            with_sensor: watch.watching(),
            flash_crowd: options.flash_crowd,
        }
    }

    /// Decides `passed` and fills `failures`.
    pub(crate) fn judge(&mut self) {
        let mut failures = Vec::new();
        if self.benign_refused > 0 {
            failures.push(format!("{} of {} benign requests were refused", self.benign_refused, self.benign_sent));
        }
        if self.benign_sent == 0 {
            failures.push("no benign request was made".to_owned());
        }
        match (self.with_sensor, self.flash_crowd) {
            (true, false) => self.judge_hydra(&mut failures),
            (true, true) => self.judge_crowd(&mut failures),
            (false, _) => {
                let served = self.attack_served + self.crowd.served;
                let sent = self.attack_sent + self.crowd.sent;
                if served < sent || sent == 0 {
                    failures.push(format!("without a sensor only {served} of {sent} attempts were served"));
                }
            }
        }
        self.passed = failures.is_empty();
        self.failures = failures;
    }

    fn judge_hydra(&self, failures: &mut Vec<String>) {
        if !self.campaign_found {
            failures.push("no campaign was found".to_owned());
        }
        let (sent, served) = (self.attack_sent_after_rule, self.attack_served_after_rule);
        if self.rule_after_s.is_none() {
            failures.push("no rule was made".to_owned());
        } else if sent < ATTEMPTS_MIN {
            failures.push(format!("only {sent} attempts after the rule: too few to say that it holds"));
        } else if ratio(served, sent) > SERVED_SHARE_MAX {
            failures.push(format!("{served} of {sent} attempts after the rule were served"));
        }
    }

    fn judge_crowd(&self, failures: &mut Vec<String>) {
        if self.campaign_found {
            failures.push("a campaign was raised against a flash crowd".to_owned());
        }
        if self.rule_after_s.is_some() {
            failures.push("a rule was made against a flash crowd".to_owned());
        }
        if self.crowd.refused > 0 || self.crowd.sent == 0 {
            failures.push(format!("{} of {} requests of the crowd were refused", self.crowd.refused, self.crowd.sent));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run, far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
