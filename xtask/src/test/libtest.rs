//! Reading what Rust's test harness prints, run with `--show-output`.
//! Counts come from its closing line, which no output of a test can garble; names and skips from the sections.

use std::collections::{BTreeMap, BTreeSet};

/// What one test binary did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    /// Names of failed tests.
    pub(crate) failures: BTreeSet<String>,
    /// Tests that could not run: name to (tier, reason).
    pub(crate) skips: BTreeMap<String, (String, String)>,
}

/// Reads the output of a binary that ended with `success`.
pub(crate) fn parse(text: &str, success: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut section = None;
    let mut in_failures = false;
    let mut results = 0_u32;
    for line in text.lines() {
        if let Some(name) = section_name(line) {
            section = Some(name.to_owned());
        } else if let Some(counts) = Counts::parse(line) {
            results = results.saturating_add(1);
            outcome.passed = outcome.passed.saturating_add(counts.passed);
            outcome.failed = outcome.failed.saturating_add(counts.failed);
            outcome.skipped = outcome.skipped.saturating_add(counts.ignored);
            (section, in_failures) = (None, false);
        } else if line == "failures:" || line == "successes:" {
            (section, in_failures) = (None, line == "failures:");
        } else if let Some((tier, reason)) = skip(line) {
            // A skip outside a section comes from a child process; the line itself stands for the test.
            let name = section.clone().unwrap_or_else(|| line.to_owned());
            outcome.skips.entry(name).or_insert((tier, reason));
        } else if in_failures && section.is_none() {
            outcome.failures.extend(line.strip_prefix("    ").map(str::to_owned));
        }
    }
    outcome.settle(results, success);
    outcome
}

impl Outcome {
    /// Makes the counts agree with skips and exit status.
    fn settle(&mut self, results: u32, success: bool) {
        let failures = &self.failures;
        self.skips.retain(|name, _| !failures.contains(name));
        let skips = u32::try_from(self.skips.len()).unwrap_or(u32::MAX).min(self.passed);
        self.passed -= skips;
        self.skipped = self.skipped.saturating_add(skips);
        if !success && self.failed == 0 {
            self.failed = 1;
            self.failures.insert("(the binary ended with an error)".to_owned());
        }
        // A harness of its own that says nothing of the kind counts as one test.
        if success && results == 0 && self.passed == 0 {
            self.passed = 1;
        }
    }

    /// Turns skips of tiers that must run into failures.
    pub(crate) fn require(&mut self, tiers: &BTreeSet<&str>) {
        for (name, (tier, reason)) in std::mem::take(&mut self.skips) {
            if tiers.contains(tier.as_str()) {
                self.skipped = self.skipped.saturating_sub(1);
                self.failed = self.failed.saturating_add(1);
                self.failures.insert(format!("{name} (skipped though {tier} is required: {reason})"));
            } else {
                self.skips.insert(name, (tier, reason));
            }
        }
    }
}

struct Counts {
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Counts {
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            let part = counts.split(';').find_map(|part| part.trim().strip_suffix(word))?;
            part.trim().parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
    }
}

/// `---- NAME stdout ----`
fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `SKIP tier: reason`
fn skip(line: &str) -> Option<(String, String)> {
    let (tier, reason) = line.strip_prefix("SKIP ")?.split_once(':')?;
    let one_word = !tier.is_empty() && !tier.contains(char::is_whitespace);
    one_word.then(|| (tier.to_owned(), reason.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, parse};
    use std::collections::BTreeSet;

    const MIXED: &str = "\nrunning 4 tests\ntest a ... ok\ntest b ... ok\ntest c ... FAILED\ntest d ... ignored\n\n\
        successes:\n\n---- b stdout ----\nSKIP bpf: no BTF\nSKIP net: no veth\n\n\nsuccesses:\n    a\n    b\n\n\
        failures:\n\n---- c stdout ----\nSKIP bpf: none\n    indented words\nthread 'c' panicked\n\n\n\
        failures:\n    c\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";

    #[test]
    fn counts() {
        let ok = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0s\n";
        let garbled = format!("test a ... child says hello\nok\n{ok}");
        let stray = format!("SKIP net: a child said so\n{ok}");
        let twice = format!("{ok}{ok}");
        // name, output, success, (passed, failed, skipped)
        let rows = [
            ("mixed", MIXED, false, (1, 1, 2)),
            ("all passed", ok, true, (3, 0, 0)),
            ("output between name and verdict", &garbled, true, (3, 0, 0)),
            ("skip outside a section", &stray, true, (2, 0, 1)),
            ("documentation tests of two groups", &twice, true, (6, 0, 0)),
            ("killed in the middle", "test a ... ok\ntest b ... ", false, (0, 1, 0)),
            ("passed, then failed at exit", ok, false, (3, 1, 0)),
            ("another harness", "fine\n", true, (1, 0, 0)),
        ];
        for (name, text, success, expected) in rows {
            let Outcome { passed, failed, skipped, .. } = parse(text, success);
            assert_eq!((passed, failed, skipped), expected, "{name}");
        }
    }

    #[test]
    fn names_and_reasons() {
        let outcome = parse(MIXED, false);
        assert_eq!(outcome.failures, BTreeSet::from(["c".to_owned()]));
        assert_eq!(outcome.skips.len(), 1, "{:?}", outcome.skips);
        assert_eq!(outcome.skips["b"], ("bpf".to_owned(), "no BTF".to_owned()));
    }

    #[test]
    fn a_required_tier_that_was_skipped_is_a_failure() {
        let mut outcome = parse(MIXED, false);
        outcome.require(&BTreeSet::from(["net"]));
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (1, 1, 2));
        outcome.require(&BTreeSet::from(["bpf"]));
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (1, 2, 1));
    }

    #[test]
    fn words_that_are_no_skip() {
        for line in ["SKIP", "SKIP a b: c", "SKIPPED bpf: x", " SKIP bpf: x"] {
            assert_eq!(super::skip(line), None, "{line}");
        }
    }
}
