//! Requests that change something: the operator's rules, tunables, the configuration. Each is carried out in the kernel
//! before it is answered, or taken back.

use sensor_common::address::Prefix;

use super::Daemon;
use super::answer::failed;
use crate::config::{Config, retuned};
use crate::control::protocol::{Answer, Refusal};
use crate::control::subject;
use crate::engine::plan::{Origin, Subject};
use crate::engine::time::{Span, Time};
use crate::kernel::Kernel;

impl<K: Kernel> Daemon<K> {
    pub(super) fn allow(&mut self, text: &str, note: String, ttl_s: Option<u64>, now: Time) -> Result<Answer, Refusal> {
        let prefix = parse(text)?;
        let reason = if note.is_empty() { "allowed by an operator".to_owned() } else { note };
        self.stand(Subject::Allow(prefix), ttl_s, reason, now)?;
        Ok(done(format!("{prefix} is allowed {}", life(ttl_s)), Vec::new()))
    }

    pub(super) fn disallow(&mut self, text: &str, now: Time) -> Result<Answer, Refusal> {
        let prefix = parse(text)?;
        let subject = Subject::Allow(prefix);
        if self.standing.take(&subject) {
            self.settle(&subject, now);
            let mut warnings = Vec::new();
            if let Some(rule) = self.rule(&subject) {
                warnings.push(format!("{prefix} stays allowed: {}", rule.reason));
            }
            return Ok(done(format!("{prefix} is no longer allowed by an operator"), warnings));
        }
        Err(match self.rule(&subject).map(|rule| rule.origin) {
            Some(Origin::Config) => Refusal::new(
                "refused",
                format!("{prefix} is allowed by the configuration"),
                "take it out of `allow` there, then `sensor reload`",
            ),
            Some(Origin::Protected) => Refusal::new(
                "refused",
                format!("{prefix} is protected: losing it would lock you out"),
                "it ends by itself an hour after the session or route is gone",
            ),
            Some(Origin::Operator | Origin::Detector) | None => Refusal::new(
                "not_found",
                format!("{prefix} is not allowed"),
                "`sensor rules --kind allow` lists what is",
            ),
        })
    }

    pub(super) fn block(
        &mut self,
        text: &str,
        reason: String,
        ttl_s: u64,
        force: bool,
        now: Time,
    ) -> Result<Answer, Refusal> {
        let prefix = parse(text)?;
        let mut warnings = self.standing.guard(&prefix, force)?;
        let reason = if reason.is_empty() { "blocked by an operator".to_owned() } else { reason };
        self.stand(Subject::Deny(prefix), Some(ttl_s), reason, now)?;
        if !self.config.enforce {
            warnings.push("dry run: it is only counted; start with --enforce to refuse it".to_owned());
        }
        Ok(done(format!("{prefix} is blocked {}", life(Some(ttl_s))), warnings))
    }

    pub(super) fn unblock(&mut self, text: &str, now: Time) -> Result<Answer, Refusal> {
        let prefix = parse(text)?;
        let subject = Subject::Deny(prefix);
        let operators = self.standing.take(&subject);
        let detected = self.engine.rules().get(&subject).map(|rule| (rule.expires, rule.campaign));
        if let Some((expires, _)) = detected {
            self.enforcement.lift(subject, expires.unwrap_or(Time(u64::MAX)));
        }
        self.settle(&subject, now);
        if self.enforcement.get(&subject).is_some() {
            let cause = self.facts.kernel_error.clone().unwrap_or_else(|| "the kernel still holds the rule".to_owned());
            return Err(Refusal::new("failed", cause, "it is tried again each second; `sensor rules` shows it"));
        }
        match (operators, detected) {
            (false, None) => Err(self.not_blocked(&prefix)),
            (_, Some((_, campaign))) => {
                let whose = campaign.map_or_else(|| "a detector".to_owned(), |id| format!("campaign {id}"));
                let warning = format!("{whose} may refuse it again later; `sensor allow {prefix}` prevents that");
                Ok(done(format!("{prefix} is no longer blocked"), vec![warning]))
            }
            (true, None) => Ok(done(format!("{prefix} is no longer blocked"), Vec::new())),
        }
    }

    /// That there is nothing to unblock, naming the rules nearby.
    fn not_blocked(&self, prefix: &Prefix) -> Refusal {
        let near: Vec<String> = self
            .rules_on(prefix)
            .into_iter()
            .filter(|(subject, _)| matches!(subject, Subject::Deny(_)))
            .take(3)
            .map(|(subject, _)| subject.to_string())
            .collect();
        let hint = if near.is_empty() {
            "`sensor rules --kind deny` lists what is blocked".to_owned()
        } else {
            format!("rules that touch it: {}; name one of them as it stands", near.join(", "))
        };
        Refusal::new("not_found", format!("no rule blocks just {prefix}"), hint)
    }

    /// Enters an operator's rule; it stands in the kernel when this returns, or not at all.
    fn stand(&mut self, subject: Subject, ttl_s: Option<u64>, reason: String, now: Time) -> Result<(), Refusal> {
        let expires = ttl_s.map(|seconds| now + Span::seconds(seconds));
        self.standing.put(subject, expires, reason);
        self.enforcement.unlift(&subject);
        self.settle(&subject, now);
        if self.enforcement.get(&subject).is_some() && !self.enforcement.refused.contains_key(&subject) {
            return Ok(());
        }
        let cause = self.enforcement.refused.remove(&subject).or_else(|| self.facts.kernel_error.clone());
        self.standing.take(&subject);
        Err(Refusal::new(
            "failed",
            format!("the kernel did not take the rule: {}", cause.unwrap_or_default()),
            "`sensor status` shows how full its tables are",
        ))
    }

    pub(super) fn set(&mut self, name: &str, value: u64) -> Result<Answer, Refusal> {
        let mut tunables = self.config.tunables.clone();
        let old = tunables.get(name);
        tunables
            .set(name, value)
            .map_err(|error| Refusal::new("invalid", error.to_string(), "`sensor get` lists them"))?;
        let before = std::mem::replace(&mut self.config.tunables, tunables);
        if let Err(error) = self.configure() {
            self.config.tunables = before;
            return Err(failed(&error));
        }
        self.engine.retune(&self.config.tunables, self.config.tiers.clone());
        let old = old.unwrap_or_default();
        tracing::info!(event = "tunable_set", name, old, value, "{name}: {old} -> {value}");
        let warning = "until the next restart or reload; put it into [tunables] of the configuration to keep it";
        Ok(done(format!("{name} = {value} (was {old})"), vec![warning.to_owned()]))
    }

    /// Reads the configuration again. A bad one changes nothing and is remembered for `status`.
    ///
    /// # Errors
    /// `invalid` with the fault, or `refused` if there is no file.
    pub fn reload(&mut self, now: Time) -> Result<Answer, Refusal> {
        if self.config.path.is_none() && self.flags.config.is_none() {
            return Err(Refusal::new(
                "refused",
                "the sensor was started without a configuration file",
                "start it with --config FILE; `sensor set` changes tunables without one",
            ));
        }
        let new = match Config::load(&self.flags) {
            Ok(new) => new,
            Err(failure) => {
                self.facts.config_failures = self.facts.config_failures.saturating_add(1);
                self.facts.config_error = Some(failure.error.clone());
                tracing::error!(
                    event = "config_refused",
                    "{}; the earlier configuration stays in force",
                    failure.error
                );
                return Err(Refusal::new("invalid", failure.error, "the earlier configuration stays in force"));
            }
        };
        let fixed = self.config.fixed(&new);
        let changed = retuned(&self.config.tunables, &new.tunables);
        let adopted = self.config.adopt(new);
        let before = std::mem::replace(&mut self.config, adopted);
        if let Err(error) = self.configure() {
            self.config = before;
            return Err(failed(&error));
        }
        self.engine.retune(&self.config.tunables, self.config.tiers.clone());
        self.standing.configure(&self.config.allow);
        self.enforce(now);
        self.facts.config_error = None;
        self.facts.config_loaded = now;
        let mut warnings: Vec<String> =
            fixed.iter().map(|key| format!("`{key}` changed in the file: it takes effect at the next start")).collect();
        warnings.extend(changed.iter().map(|(name, old, new)| format!("{name}: {old} -> {new}")));
        tracing::info!(event = "config_loaded", ?warnings, "configuration read again");
        Ok(done("the configuration was read again".to_owned(), warnings))
    }
}

fn parse(text: &str) -> Result<Prefix, Refusal> {
    subject::prefix(text).map_err(|error| Refusal::new("invalid", error.to_string(), ""))
}

fn life(ttl_s: Option<u64>) -> String {
    ttl_s.map_or_else(|| "until taken back".to_owned(), |seconds| format!("for {seconds} s"))
}

fn done(done: String, warnings: Vec<String>) -> Answer {
    Answer::Done { done, warnings }
}
