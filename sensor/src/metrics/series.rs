//! Series with closed label sets, and totals that never go backwards.
//!
//! Every series exists from the start: their number is a constant.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// One label; its name and its values are fixed in the program's text.
type Label = [(&'static str, &'static str); 1];

/// A gauge of whole numbers.
pub(super) type Whole = Gauge<u64, AtomicU64>;

/// A total copied from elsewhere: grows by what the other side grew, also past that side's restart.
#[derive(Debug, Default)]
pub(super) struct Total {
    counter: Counter,
    seen: u64,
}

impl Total {
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let total = Self::default();
        registry.register(name, help, total.counter.clone());
        total
    }

    /// Takes over the other side's total.
    pub(super) fn follow(&mut self, total: u64) {
        // Less than before: the other side began anew, and all of it is new.
        self.counter.inc_by(total.checked_sub(self.seen).unwrap_or(total));
        self.seen = total;
    }
}

/// Totals of one quantity, told apart by one label.
#[derive(Debug)]
pub(super) struct Totals<K> {
    parts: Vec<(K, Total)>,
}

impl<K: Copy> Totals<K> {
    /// Registers one series for each part: what it is called in the label, and what it is copied from.
    pub(super) fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        label: &'static str,
        parts: impl IntoIterator<Item = (&'static str, K)>,
    ) -> Self {
        let family = Family::<Label, Counter>::default();
        let parts = parts
            .into_iter()
            .map(|(value, key)| {
                let counter = family.get_or_create_owned(&[(label, value)]);
                (key, Total { counter, seen: 0 })
            })
            .collect();
        registry.register(name, help, family);
        Self { parts }
    }

    /// Takes over the other side's totals.
    pub(super) fn follow(&mut self, total: impl Fn(K) -> u64) {
        for (key, part) in &mut self.parts {
            part.follow(total(*key));
        }
    }
}

/// Registers one gauge for each value of a label, in the order given.
pub(super) fn gauges<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Whole; N] {
    let family = Family::<Label, Whole>::default();
    let gauges = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    gauges
}

/// Registers a gauge.
pub(super) fn gauge(registry: &mut Registry, name: &str, help: &str) -> Whole {
    let gauge = Whole::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Registers a gauge of seconds; the unit ends its name.
pub(super) fn seconds(registry: &mut Registry, name: &str, help: &str) -> Whole {
    let gauge = Whole::default();
    registry.register_with_unit(name, help, Unit::Seconds, gauge.clone());
    gauge
}

/// Registers a gauge of bytes; the unit ends its name.
pub(super) fn bytes(registry: &mut Registry, name: &str, help: &str) -> Whole {
    let gauge = Whole::default();
    registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
    gauge
}

#[cfg(test)]
mod tests {
    use super::Total;

    #[test]
    fn a_total_never_goes_backwards() {
        let mut total = Total::default();
        for (description, seen, expected) in [
            ("starts where the other side stands", 100, 100),
            ("grows with it", 130, 130),
            ("stands still with it", 130, 130),
            ("the other side restarted and counted 20", 20, 150),
            ("grows on from there", 25, 155),
            ("restarted at zero", 0, 155),
        ] {
            total.follow(seen);
            assert_eq!(total.counter.get(), expected, "{description}");
        }
    }
}
