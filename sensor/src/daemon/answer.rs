//! Answers to reading requests, made from engine, kernel and configuration. Nothing here changes anything.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sensor_common::address::{Address, Prefix};

use super::Daemon;
use crate::control::protocol::{
    Answer, Explanation, Refusal, Request, Rule as RuleAnswer, SortKey, Source, Tunable as TunableAnswer,
};
use crate::control::subject::{self, Subject as Asked};
use crate::engine::plan::{Rule, Subject};
use crate::engine::source_prefix;
use crate::engine::time::Time;
use crate::kernel::{Kernel, KernelError, SourceStats};
use crate::tunable::ROWS;

impl<K: Kernel> Daemon<K> {
    /// Answers one request, and carries it out if it is one to change something.
    ///
    /// # Errors
    /// A refusal that says what to do next.
    pub fn answer(&mut self, request: Request, now: Time) -> Result<Answer, Refusal> {
        let answer = self.carry_out(request, now);
        // What an operator decided must not wait for the next batch.
        if self.is_unsaved() {
            self.store();
        }
        answer
    }

    fn carry_out(&mut self, request: Request, now: Time) -> Result<Answer, Refusal> {
        match request {
            Request::Status => Ok(Answer::Status(Box::new(self.status(now)))),
            Request::Sources { limit, sort, tier } => self.sources(limit, sort, tier.as_deref(), now),
            Request::Campaigns { all } => Ok(Answer::Campaigns { campaigns: self.engine.campaign_answers(all) }),
            Request::Connections { limit, after, source } => self.connections(limit, after, source.as_deref()),
            Request::Rules { kind, limit, offset } => Ok(self.rules(kind.as_deref(), limit, offset, now)),
            Request::Explain { subject } => self.explain(&subject, now),
            Request::Report { id, unmasked } => self.report(id, unmasked, now),
            Request::Judge { id, verdict, note } => self.judge(id, verdict, &note, now),
            Request::Get { name } => tunables(&self.config.tunables, name.as_deref()),
            Request::Allow { prefix, note, ttl_s } => self.allow(&prefix, note, ttl_s, now),
            Request::Disallow { prefix } => self.disallow(&prefix, now),
            Request::Block { prefix, reason, ttl_s, force } => self.block(&prefix, reason, ttl_s, force, now),
            Request::Unblock { prefix } => self.unblock(&prefix, now),
            Request::Bulk(list) => self.bulk(&list, now),
            Request::Set { name, value } => self.set(&name, value),
            Request::Reload => self.reload(now),
        }
    }

    fn rules(&self, kind: Option<&str>, limit: usize, offset: usize, now: Time) -> Answer {
        let rules = || self.desired().filter(|(subject, _)| kind.is_none_or(|kind| kind == subject.kind()));
        let shown = rules().skip(offset).take(limit);
        let shown = shown.map(|(subject, rule)| self.rule_answer(subject, rule, now)).collect();
        Answer::Rules { rules: shown, total: rules().count() }
    }

    fn sources(&mut self, limit: usize, sort: SortKey, tier: Option<&str>, now: Time) -> Result<Answer, Refusal> {
        if let Some(tier) = tier
            && !self.config.tiers.all().iter().any(|known| known.name == tier)
        {
            let names: Vec<&str> = self.config.tiers.all().iter().map(|tier| tier.name.as_str()).collect();
            let hint = format!("tiers are {}", names.join(", "));
            return Err(Refusal::new("not_found", format!("there is no tier `{tier}`"), hint));
        }
        let tiers = &self.config.tiers;
        // There may be millions: no more than what is asked for is kept.
        let mut first = BTreeMap::new();
        let mut total = 0;
        let mut enter = |source: Address, stats: &SourceStats| {
            if tier.is_some_and(|tier| tiers.of(&source).name != tier) {
                return;
            }
            total += 1;
            let place = (Reverse(weight(stats, sort)), source);
            let is_full = first.len() >= limit;
            if !is_full || first.last_key_value().is_some_and(|(last, _)| place < *last) {
                first.insert(place, *stats);
                if is_full {
                    first.pop_last();
                }
            }
        };
        self.kernel.each_source(self.clock.monotonic_ns(now), &mut enter).map_err(|error| failed(&error))?;
        let sources = first.iter().map(|((_, source), stats)| self.source_answer(source, stats)).collect();
        Ok(Answer::Sources { sources, total })
    }

    fn source_answer(&self, source: &Address, stats: &SourceStats) -> Source {
        let known = self.engine.source(source);
        let SourceStats { packets, bytes, syns, connections, requests, dropped, gap_samples, gap_flagged, .. } = *stats;
        Source {
            packets,
            bytes,
            syns,
            connections,
            requests,
            dropped,
            gap_samples,
            gap_flagged,
            first_seen_unix_s: self.clock.time(stats.first_seen_ns).unix_s(),
            last_seen_unix_s: self.clock.time(stats.last_seen_ns).unix_s(),
            ..known
        }
    }

    /// A rule with what the kernel counted for it.
    pub(super) fn rule_answer(&self, subject: &Subject, rule: &Rule, now: Time) -> RuleAnswer {
        let reason = match self.enforcement.refused.get(subject) {
            Some(cause) => format!("{} (not installed: {cause})", rule.reason),
            None => rule.reason.clone(),
        };
        RuleAnswer {
            kind: subject.kind().to_owned(),
            subject: subject.to_string(),
            origin: rule.origin.name().to_owned(),
            reason,
            campaign: rule.campaign,
            expires_in_s: rule.expires.map(|at| at.since(now).as_seconds()),
            hits: self.enforcement.get(subject).map_or(0, |installed| installed.hits),
        }
    }

    fn explain(&mut self, text: &str, now: Time) -> Result<Answer, Refusal> {
        match subject::subject(text).map_err(|error| Refusal::new("invalid", error.to_string(), ""))? {
            Asked::Campaign(id) => self.explain_campaign(id, now),
            Asked::Prefix(prefix) => self.explain_prefix(&prefix, now),
        }
    }

    fn explain_campaign(&self, id: u64, now: Time) -> Result<Answer, Refusal> {
        let (Some(lines), Some(campaign)) = (self.engine.explain_campaign(id), self.engine.campaign(id)) else {
            return Err(super::campaign::unknown(id));
        };
        let own = self.desired().filter(|(_, rule)| rule.campaign == Some(id));
        let rules: Vec<_> = own.map(|(subject, rule)| self.rule_answer(subject, rule, now)).collect();
        let refusing = if rules.is_empty() { "passes" } else { self.refusal_word() };
        Ok(Answer::Explain(Box::new(Explanation {
            subject: format!("campaign {id} ({})", campaign.state),
            verdict: refusing.to_owned(),
            lines,
            source: None,
            rules,
            campaigns: vec![id],
        })))
    }

    fn explain_prefix(&mut self, prefix: &Prefix, now: Time) -> Result<Answer, Refusal> {
        let now_ns = self.clock.monotonic_ns(now);
        let stats = self.kernel.source(&prefix.address.source(), now_ns).map_err(|error| failed(&error))?;
        let is_one = source_prefix(&prefix.address).bits <= prefix.bits;
        let mut inside = 0_u64;
        if !is_one {
            let mut count = |source: Address, _: &SourceStats| inside += u64::from(prefix.contains(&source));
            self.kernel.each_source(now_ns, &mut count).map_err(|error| failed(&error))?;
        }
        let rules = self.rules_on(prefix);
        let covers = |subject: &Subject, allow: bool| match subject {
            Subject::Allow(other) => allow && other.bits <= prefix.bits,
            Subject::Deny(other) => !allow && other.bits <= prefix.bits,
            Subject::Class(_) => false,
        };
        let allowed = rules.iter().find(|(subject, _)| covers(subject, true));
        let denied = rules.iter().find(|(subject, _)| covers(subject, false));
        let mut lines = Vec::new();
        let verdict = match (allowed, denied) {
            (Some((subject, rule)), denied) => {
                lines.push(format!("Allowed by {subject}: {}. Nothing refuses it.", rule.reason));
                if let Some((subject, rule)) = denied {
                    lines.push(format!("The rule against {subject} ({}) does not reach it.", rule.reason));
                }
                "allowed"
            }
            (None, Some((subject, rule))) => {
                let left = rule.expires.map_or_else(
                    || "without end".to_owned(),
                    |at| format!("for another {} s", at.since(now).as_seconds()),
                );
                lines.push(format!("A rule on {subject} refuses it {left}: {}.", rule.reason));
                self.refusal_word()
            }
            (None, None) => "passes",
        };
        let mut campaigns = Vec::new();
        if is_one {
            let account = self.engine.explain(&prefix.address);
            lines.extend(account.lines);
            lines.extend(self.explain_connections(&prefix.address.source()));
            campaigns = account.campaigns;
        } else {
            lines.push(format!("{inside} of its sources are in the kernel's table."));
        }
        Ok(Answer::Explain(Box::new(Explanation {
            subject: prefix.to_string(),
            verdict: verdict.to_owned(),
            lines,
            source: stats.filter(|_| is_one).map(|stats| self.source_answer(&prefix.address.source(), &stats)),
            rules: rules.into_iter().map(|(subject, rule)| self.rule_answer(subject, rule, now)).collect(),
            campaigns,
        })))
    }

    /// What a rule that matches comes down to.
    const fn refusal_word(&self) -> &'static str {
        if self.config.enforce { "refused" } else { "would be refused" }
    }
}

/// What a source is ordered by.
const fn weight(stats: &SourceStats, sort: SortKey) -> u64 {
    match sort {
        SortKey::Requests => stats.requests,
        SortKey::Connections => stats.connections,
        SortKey::Packets => stats.packets,
        SortKey::Bytes => stats.bytes,
        SortKey::Dropped => stats.dropped,
        SortKey::LastSeen => stats.last_seen_ns,
    }
}

fn tunables(tunables: &crate::tunable::Tunables, name: Option<&str>) -> Result<Answer, Refusal> {
    let rows = ROWS.iter().filter(|row| name.is_none_or(|name| name == row.name));
    let answers: Vec<TunableAnswer> = rows
        .map(|row| TunableAnswer {
            name: row.name.to_owned(),
            value: tunables.get(row.name).unwrap_or(row.default),
            default: row.default,
            low: row.range.0,
            high: row.range.1,
            unit: row.unit.to_owned(),
            help: row.help.to_owned(),
        })
        .collect();
    if answers.is_empty() {
        let error = format!("no tunable is called `{}`", name.unwrap_or_default());
        return Err(Refusal::new("not_found", error, "`sensor get` lists them all"));
    }
    Ok(Answer::Tunables { tunables: answers })
}

/// The refusal behind a kernel's.
pub(super) fn failed(error: &KernelError) -> Refusal {
    Refusal::new("failed", error.to_string(), "`sensor status` shows what is wrong; the log has more")
}
