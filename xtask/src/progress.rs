//! What the user sees while a step runs: a spinner on a terminal, plain lines elsewhere.
//! Everything goes to standard error; standard output is for results.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One step under way. Dropped without [`Step::done`], it leaves no "done" line behind.
pub(crate) struct Step {
    title: String,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Announces a step.
    pub(crate) fn begin(title: impl Into<String>) -> Self {
        let title = title.into();
        if !stderr().is_terminal() {
            eprintln!("setup: {title}");
            return Self { title, bar: None };
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is a constant");
        let bar = ProgressBar::new_spinner().with_style(style).with_message(title.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { title, bar: Some(bar) }
    }

    /// What the step is doing now; shown on a terminal only, where the line is rewritten.
    pub(crate) fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let text: String = text.chars().take(60).collect();
            bar.set_message(format!("{}: {text}", self.title));
        }
    }

    /// Ends the step with its result.
    pub(crate) fn done(self, result: &str) {
        match &self.bar {
            Some(bar) => {
                bar.finish_and_clear();
                eprintln!("✓ {}: {result}", self.title);
            }
            None => eprintln!("setup: {}: {result}", self.title),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
