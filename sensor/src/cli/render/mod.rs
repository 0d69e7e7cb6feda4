//! Answers for people: short, one fact a line, numbers grouped.

mod checks;
mod detail;
mod evidence;
mod list;
mod number;
mod report;
mod status;

use super::style::Paint;
use crate::control::protocol::Answer;
use crate::doctor::Report;
use crate::evidence::Evidence;

/// The answer as text that ends with a line end.
#[must_use]
pub fn answer(answer: &Answer, paint: Paint) -> String {
    match answer {
        Answer::Status(status) => status::render(status, paint),
        Answer::Explain(explanation) => detail::explanation(explanation, paint),
        Answer::Report(one) => report::markdown(one),
        Answer::Connections(recent) => evidence::render(&recent.connections, paint),
        Answer::Sources { sources, total } => list::sources(sources, *total, paint),
        Answer::Campaigns { campaigns } => detail::campaigns(campaigns, paint),
        Answer::Rules { rules, total } => list::all_rules(rules, *total, paint),
        Answer::Bulk(done) => detail::bulk(done, paint),
        Answer::Tunables { tunables } => list::tunables(tunables, paint),
        Answer::Done { done, warnings } => detail::done(done, warnings, paint),
    }
}

/// What `sensor doctor` found.
#[must_use]
pub fn doctor(report: &Report, paint: Paint) -> String {
    checks::render(report, paint)
}

/// Evidence on connections, one a line.
#[must_use]
pub fn evidence(all: &[Evidence], paint: Paint) -> String {
    evidence::render(all, paint)
}
