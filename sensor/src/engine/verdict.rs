//! What the operator says about a campaign, and what the baselines make of it.
//!
//! Dismissed: it was ordinary traffic. Its rules go, its networks are no suspects, its share of relayed networks is
//! normal from now on, and its client may spread as it likes. Confirmed: it was an attack. It never ends by being taken
//! as normal, its networks stay suspects, and nothing of it is learned. The latest verdict holds.

use std::fmt;

use sensor_common::address::{Address, Prefix};

use super::Engine;
use super::campaign::{Campaign, Verdict};
use super::plan::{Notice, Subject};
use super::time::{Span, Time};

/// Why a verdict was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictError {
    /// No campaign has this number.
    Unknown(u64),
    /// It was dismissed: its traffic has been learned, which cannot be undone.
    Learned(u64),
}

impl fmt::Display for VerdictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "there is no campaign {id}"),
            Self::Learned(id) => {
                write!(f, "campaign {id} was dismissed: its traffic has been learned as normal, which fades by itself")
            }
        }
    }
}

impl std::error::Error for VerdictError {}

impl Engine {
    /// Notes what the operator says about a campaign. Rules that go are in the next plan. Saying the same again changes
    /// nothing.
    ///
    /// # Errors
    /// If there is no such campaign, or if it was dismissed before and is to be confirmed now.
    pub fn judge(&mut self, id: u64, verdict: Verdict, note: &str, now: Time) -> Result<Vec<Notice>, VerdictError> {
        let now = now.max(self.now.unwrap_or_default());
        let mut campaign = self.campaigns.remove(&id).ok_or(VerdictError::Unknown(id))?;
        let mut notices = Vec::new();
        let result = match (campaign.verdict, verdict) {
            (Some(Verdict::Dismissed), Verdict::Confirmed) => Err(VerdictError::Learned(id)),
            (before, verdict) => {
                if before != Some(verdict) {
                    self.take_verdict(&mut campaign, verdict, note, now, &mut notices);
                }
                Ok(())
            }
        };
        self.campaigns.insert(id, campaign);
        self.changed_campaigns.note(id);
        result.map(|()| notices)
    }

    fn take_verdict(
        &mut self,
        campaign: &mut Campaign,
        verdict: Verdict,
        note: &str,
        now: Time,
        notices: &mut Vec<Notice>,
    ) {
        campaign.verdict = Some(verdict);
        let because = if note.is_empty() { String::new() } else { format!(": {note}") };
        let (kind, text) = match verdict {
            Verdict::Confirmed => ("campaign_confirmed", format!("confirmed by the operator as an attack{because}")),
            Verdict::Dismissed => ("campaign_dismissed", format!("dismissed by the operator as ordinary{because}")),
        };
        campaign.note(now, &text);
        notices.push(Notice { kind, campaign: Some(campaign.id), text });
        match verdict {
            Verdict::Confirmed => {
                if let Some(cohort) = self.cohorts.change(&campaign.cohort) {
                    cohort.baseline.forget_waiting();
                }
            }
            Verdict::Dismissed => self.learn_dismissed(campaign, now, notices),
        }
    }

    fn learn_dismissed(&mut self, campaign: &mut Campaign, now: Time, notices: &mut Vec<Notice>) {
        let members: Vec<Address> = campaign.members();
        for network in members {
            self.networks.suspect(&network.network(), false);
        }
        let memory = Span::seconds(self.tunables.baseline_memory_s);
        let counts = [campaign.relayed, campaign.direct].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        if let Some(cohort) = self.cohorts.change(&campaign.cohort) {
            cohort.baseline.add(counts.into(), now, memory);
            cohort.accepted = true;
        }
        let denied: Vec<Prefix> = self.ledger.denied_by(campaign.id).map(|(prefix, _)| *prefix).collect();
        for prefix in denied {
            self.ledger.withdraw(&Subject::Deny(prefix));
            self.offences.remove(&prefix.address);
            self.changed_offences.note(prefix.address);
        }
        let class = Subject::Class(campaign.cohort.class());
        if self.ledger.get(&class).is_some_and(|rule| rule.campaign == Some(campaign.id)) {
            self.ledger.withdraw(&class);
        }
        if campaign.closed.is_none() {
            self.close_campaign(campaign, now, notices);
        }
    }
}
