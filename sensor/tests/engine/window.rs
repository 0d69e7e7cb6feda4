//! Sliding windows against a list of what happened.

use proptest::prelude::*;
use sensor::engine::time::{Span, Time};
use sensor::engine::window::{Length, Window, Windows};

proptest! {
    /// Between what surely lies inside and what may: one slot, a sixth of the window, is the only doubt.
    #[test]
    fn a_window_counts_what_lies_inside(
        length in prop::sample::select(&Length::ALL[..]),
        steps in prop::collection::vec((0_u64..2_000, 0_u64..50), 1..200),
        start in 0_u64..u64::MAX / 4,
    ) {
        let unit = length.span().0 / 4_000;
        let slot = Span(length.span().0 / 6);
        let mut now = Time(start);
        let mut window = Window::default();
        let mut happened: Vec<(Time, u64)> = Vec::new();
        for (wait, n) in steps {
            now = now + Span(wait * unit);
            window.add(length, now, n);
            happened.push((now, n));
            let within = |span: Span| happened.iter().filter(|(at, _)| now.since(*at) < span).map(|(_, n)| n).sum::<u64>();
            let (low, high) = (within(Span(length.span().0 - slot.0)), within(Span(length.span().0 + slot.0)));
            let sum = window.sum(length, now);
            prop_assert!((low..=high).contains(&sum), "{sum} is not within {low}..={high}");
        }
        prop_assert_eq!(window.sum(length, now + length.span() + slot), 0);
    }

    /// Evenly spread events are counted to within one slot's rounding.
    #[test]
    fn an_even_rate_is_counted_evenly(per_second in 1_u64..20, seconds in 130_u64..400, start in 0_u64..1_000) {
        let mut windows = Windows::default();
        let mut now = Time(0) + Span::seconds(start);
        for _ in 0..seconds {
            now = now + Span::seconds(1);
            windows.add(now, per_second);
        }
        let [minute, ten, day] = windows.sums(now);
        prop_assert!(minute.abs_diff(60 * per_second) <= per_second, "{minute}");
        prop_assert_eq!(ten, seconds * per_second);
        prop_assert_eq!(day, seconds * per_second);
    }

    #[test]
    fn any_order_of_times_is_harmless(times in prop::collection::vec((any::<u64>(), any::<u64>()), 0..50)) {
        let mut windows = Windows::default();
        for (at, n) in times {
            windows.add(Time(at), n);
            let most = 50 * u64::from(u32::MAX);
            prop_assert!(windows.sums(Time(at)).into_iter().all(|sum| sum <= most));
        }
    }
}
