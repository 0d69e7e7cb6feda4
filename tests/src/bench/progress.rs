//! What is being measured: one line that updates in place on a terminal, now and then a line elsewhere.

use std::time::{Duration, Instant};

use console::{Term, truncate_str};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where progress is shown.
#[derive(Debug)]
pub struct Progress {
    term: Option<Term>,
    start: Instant,
    latest: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Standard error: standard output is for the result.
    pub fn of_stderr() -> Self {
        Self { term: Some(Term::stderr()), start: Instant::now(), latest: None, shown: false }
    }

    /// Says nothing, for tests.
    pub fn silent() -> Self {
        Self { term: None, start: Instant::now(), latest: None, shown: false }
    }

    /// Says what is done.
    pub(super) fn say(&mut self, what: &str) {
        self.line(what);
    }

    /// Says how far the table has come.
    pub(super) fn show(&mut self, done: usize, total: usize, what: &str) {
        self.line(&format!("{done}/{total} {what}"));
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if let Some(term) = &self.term
            && std::mem::take(&mut self.shown)
        {
            let _ = term.clear_last_lines(1);
        }
    }

    fn line(&mut self, what: &str) {
        let Some(term) = &self.term else { return };
        let text = format!("{:>4} s {what}", self.start.elapsed().as_secs());
        if term.features().is_attended() {
            let width = usize::from(term.size().1).max(40);
            if std::mem::replace(&mut self.shown, true) {
                let _ = term.clear_last_lines(1);
            }
            let _ = term.write_line(&truncate_str(&text, width - 1, "…"));
        } else if self.latest.is_none_or(|latest| latest.elapsed() >= LINE_EVERY) {
            self.latest = Some(Instant::now());
            let _ = term.write_line(&text);
        }
    }
}
