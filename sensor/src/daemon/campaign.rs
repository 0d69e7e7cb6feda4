//! Campaigns for the operator: reports to hand on, and verdicts that the engine learns from.

use super::Daemon;
use crate::control::protocol::{Answer, Refusal, Verdict};
use crate::engine::VerdictError;
use crate::engine::campaign;
use crate::engine::time::Time;
use crate::kernel::Kernel;

impl<K: Kernel> Daemon<K> {
    /// Everything about a campaign.
    pub(super) fn report(&self, id: u64, unmasked: bool, now: Time) -> Result<Answer, Refusal> {
        let mut report = self.engine.report(id, unmasked, now).ok_or_else(|| unknown(id))?;
        let own = self.desired().filter(|(_, rule)| rule.campaign == Some(id));
        // Rules against single sources name them.
        let shown = own.filter(|(subject, _)| unmasked || subject.kind() == "class");
        report.rules = shown.map(|(subject, rule)| self.rule_answer(subject, rule, now)).collect();
        Ok(Answer::Report(Box::new(report)))
    }

    /// Takes the operator's word on a campaign. Rules that go are taken out with the next tick.
    pub(super) fn judge(&mut self, id: u64, verdict: Verdict, note: &str, now: Time) -> Result<Answer, Refusal> {
        let (taken, done) = match verdict {
            Verdict::Confirm => (
                campaign::Verdict::Confirmed,
                format!("campaign {id} is confirmed: nothing of it will be learned as normal"),
            ),
            Verdict::Dismiss => (
                campaign::Verdict::Dismissed,
                format!("campaign {id} is dismissed: its rules go, and what it looks like is normal from now on"),
            ),
        };
        let notices = self.engine.judge(id, taken, note, now).map_err(|error| match error {
            VerdictError::Unknown(id) => unknown(id),
            VerdictError::Learned(_) => {
                Refusal::new("refused", error.to_string(), "traffic like it raises a campaign anew once it has faded")
            }
        })?;
        self.journal(&notices);
        self.judged = true;
        Ok(Answer::Done { done, warnings: Vec::new() })
    }
}

pub(super) fn unknown(id: u64) -> Refusal {
    Refusal::new("not_found", format!("there is no campaign {id}"), "`sensor campaigns --all` lists those there are")
}
