//! Lists of prefixes, part by part: what each line would do, or does. The kernel follows in slices.

use sensor_common::address::Prefix;
use sensor_common::capacity;

use super::Daemon;
use crate::control::bulk;
use crate::control::protocol::{Answer, Bulk, BulkDone, Deed, Refusal};
use crate::engine::plan::Subject;
use crate::engine::time::{Span, Time};
use crate::kernel::Kernel;

impl<K: Kernel> Daemon<K> {
    /// Checks or carries out one part of a list. Bad lines are left out: whether the list is carried out at all was
    /// decided before its first part is.
    pub(super) fn bulk(&mut self, list: &Bulk, now: Time) -> Result<Answer, Refusal> {
        let mut done = BulkDone::new(list.deed);
        for (line, read) in bulk::read(list) {
            done.prefixes += 1;
            match read.and_then(|prefix| self.entry(list, prefix, &mut done, now)) {
                Ok(true) => done.applied += 1,
                Ok(false) => done.unchanged += 1,
                Err(error) => done.note_bad(line, error),
            }
        }
        if list.check {
            done.room = self.room(list.deed);
        } else {
            self.follow(now);
            done.pending = self.enforcement.pending();
            done.refused = self.enforcement.refused.len();
            if list.deed == Deed::Block && !self.config.enforce {
                done.warnings.push("dry run: they are only counted; start with --enforce to refuse them".to_owned());
            }
        }
        Ok(Answer::Bulk(Box::new(done)))
    }

    /// One line; whether it changes more than a rule's life.
    fn entry(&mut self, list: &Bulk, prefix: Prefix, done: &mut BulkDone, now: Time) -> Result<bool, String> {
        let subject = match list.deed {
            Deed::Allow => Subject::Allow(prefix),
            Deed::Block | Deed::Unblock => Subject::Deny(prefix),
        };
        if list.deed == Deed::Block {
            for warning in self.standing.guard(&prefix, list.force).map_err(|refusal| refusal.error)? {
                done.warnings.push(warning);
            }
        }
        let stands = self.rule(&subject).is_some();
        let is_change = stands == (list.deed == Deed::Unblock);
        if list.check {
            return Ok(is_change);
        }
        if list.deed == Deed::Unblock {
            self.standing.take(&subject);
            if let Some(rule) = self.engine.rules().get(&subject) {
                let until = rule.expires.unwrap_or(Time(u64::MAX));
                self.enforcement.lift(subject, until);
                self.consider(subject);
            }
        } else {
            let reason = match (list.deed, list.reason.as_str()) {
                (Deed::Allow, "") => "allowed by an operator",
                (_, "") => "blocked by an operator",
                (_, reason) => reason,
            };
            let expires = list.ttl_s.map(|seconds| now + Span::seconds(seconds));
            self.standing.put(subject, expires, reason.to_owned());
            self.enforcement.unlift(&subject);
        }
        Ok(is_change)
    }

    /// Rules of a deed's kind that there is room for.
    fn room(&self, deed: Deed) -> usize {
        let (capacity, standing, detected) = match deed {
            Deed::Allow => (capacity::ALLOW, self.standing.rules().kinds().allow, 0),
            Deed::Block | Deed::Unblock => {
                (capacity::DENY, self.standing.rules().kinds().deny, self.engine.rules().kinds().deny)
            }
        };
        (capacity as usize).saturating_sub(standing + detected)
    }
}
