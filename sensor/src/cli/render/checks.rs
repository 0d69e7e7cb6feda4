//! `sensor doctor`: a line for each check, what to do under it.

use std::fmt::Write;

use crate::cli::style::{Paint, Tone};
use crate::doctor::{Check, Grade, Report};

/// The whole page.
pub(super) fn render(report: &Report, paint: Paint) -> String {
    let mut page = String::new();
    for Check { name, grade, finding, advice, .. } in &report.checks {
        let (word, tone) = match grade {
            Grade::Ok => ("ok", Tone::Good),
            Grade::Warn => ("warn", Tone::Warning),
            Grade::Fail => ("FAIL", Tone::Bad),
        };
        let word = paint.text(tone, &format!("{word:<6}"));
        let _ = writeln!(page, "{word}{name:<11}{finding}");
        if !advice.is_empty() {
            let _ = writeln!(page, "{:17}{advice}", "");
        }
    }
    let _ = match (report.failed, report.warned) {
        (0, 0) => writeln!(page, "the sensor can run here"),
        (0, warned) => writeln!(page, "the sensor can run here; {warned} warning(s)"),
        (failed, warned) => writeln!(page, "the sensor cannot run like this: {failed} failed, {warned} warning(s)"),
    };
    page
}
