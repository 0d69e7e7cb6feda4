//! One number for each seed, and what is said of them: median and worst.

use serde::Serialize;

/// Which end is the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worst {
    Highest,
    Lowest,
}

/// Median and worst of the seeds. `None`: not reached, an alarm that never came for example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stat {
    pub median: Option<f64>,
    pub worst: Option<f64>,
    /// Seeds in which it was not reached.
    #[serde(skip_serializing_if = "is_zero")]
    pub missed: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Stat {
    /// Of one value per seed; a missing one is worse than any.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = Option<f64>>, worst: Worst) -> Self {
        let mut sorted: Vec<Option<f64>> = values.into_iter().collect();
        let missed = sorted.iter().filter(|value| value.is_none()).count();
        sorted.sort_by(|a, b| match (a, b) {
            (Some(a), Some(b)) if worst == Worst::Highest => a.total_cmp(b),
            (Some(a), Some(b)) => b.total_cmp(a),
            (a, b) => a.is_none().cmp(&b.is_none()),
        });
        let at = |index: usize| sorted.get(index).copied().flatten();
        // With an even number of seeds the worse one of the middle two.
        Self { median: at(sorted.len() / 2), worst: at(sorted.len().saturating_sub(1)), missed }
    }

    /// Of values that are always there.
    #[must_use]
    pub fn all(values: impl IntoIterator<Item = f64>, worst: Worst) -> Self {
        Self::of(values.into_iter().map(Some), worst)
    }

    /// `median (worst)` with so many decimals; `missed` where it was not reached.
    #[must_use]
    pub fn words(&self, decimals: usize) -> String {
        let one = |value: Option<f64>| value.map_or("missed".to_owned(), |v| format!("{v:.decimals$}"));
        match (self.median, self.worst) {
            (None, None) => "missed".to_owned(),
            (median, worst) if median == worst => one(median),
            (median, worst) => format!("{} ({})", one(median), one(worst)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Stat, Worst};

    #[test]
    fn missing_is_worst() {
        let stat = Stat::of([Some(3.0), None, Some(1.0), Some(2.0), Some(5.0)], Worst::Highest);
        assert_eq!((stat.median, stat.worst, stat.missed), (Some(3.0), None, 1));
        assert_eq!(stat.words(1), "3.0 (missed)");
        assert_eq!(Stat::of([None, None], Worst::Highest).words(1), "missed");
    }

    #[test]
    fn the_worst_end_is_named() {
        let values = [0.9, 1.0, 0.5];
        assert_eq!(Stat::all(values, Worst::Lowest).worst, Some(0.5));
        assert_eq!(Stat::all(values, Worst::Highest).words(1), "0.9 (1.0)");
    }
}
