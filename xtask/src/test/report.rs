//! The closing table: what ran, what did not and why, what failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};

use super::run::Line;

/// Prints the report; the last line is `N passed, N failed, N skipped`.
pub(super) fn print(lines: &[Line]) -> ExitCode {
    println!("\n{}", text(lines));
    if lines.iter().all(|line| line.outcome.failed == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn text(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_BORDERS_ONLY_CONDENSED);
    table.set_header(["tier", "package", "binary", "ran", "skipped", "failed", "seconds"]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut reasons: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut failures = String::new();
    let (mut passed, mut failed, mut skipped) = (0_u32, 0_u32, 0_u32);
    for Line { suite, outcome, took } in lines {
        let ran = outcome.passed.saturating_add(outcome.failed);
        if ran == 0 && outcome.skipped == 0 {
            continue;
        }
        table.add_row([
            suite.tier.clone(),
            suite.package.clone(),
            suite.target.clone(),
            ran.to_string(),
            outcome.skipped.to_string(),
            outcome.failed.to_string(),
            format!("{:.1}", took.as_secs_f64()),
        ]);
        passed = passed.saturating_add(outcome.passed);
        failed = failed.saturating_add(outcome.failed);
        skipped = skipped.saturating_add(outcome.skipped);
        for (tier, reason) in outcome.skips.values() {
            *reasons.entry((tier, reason)).or_default() += 1;
        }
        for name in &outcome.failures {
            let _ = writeln!(failures, "FAILED {}, {}: {name}", suite.package, suite.target);
        }
    }
    let mut text = format!("{table}\n");
    for ((tier, reason), count) in reasons {
        let _ = writeln!(text, "SKIPPED {count} of tier {tier}: {reason}");
    }
    text + &failures + &format!("{passed} passed, {failed} failed, {skipped} skipped")
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::test::build::Suite;
    use crate::test::libtest::Outcome;
    use crate::test::run::Line;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;
    use std::time::Duration;

    fn line(target: &str, outcome: Outcome) -> Line {
        let suite = Suite {
            tier: "live".into(),
            package: "sensor-tests".into(),
            target: target.into(),
            folder: PathBuf::new(),
            program: None,
        };
        Line { suite, outcome, took: Duration::from_millis(1_250) }
    }

    #[test]
    fn a_report_ends_with_the_sum() {
        let skips = BTreeMap::from([("a".to_owned(), ("bpf".to_owned(), "no BTF".to_owned()))]);
        let failures = BTreeSet::from(["b".to_owned()]);
        let lines = [
            line("test one", Outcome { passed: 3, failed: 1, skipped: 1, failures, skips }),
            line("test two", Outcome { passed: 4, ..Outcome::default() }),
            line("test empty", Outcome::default()),
        ];
        let report = text(&lines);
        assert_eq!(report.lines().last(), Some("7 passed, 1 failed, 1 skipped"));
        assert!(
            report.contains("SKIPPED 1 of tier bpf: no BTF") && report.contains("FAILED sensor-tests, test one: b")
        );
        assert!(!report.contains("test empty"), "{report}");
    }
}
