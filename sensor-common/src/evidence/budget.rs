//! How many connection records go to the daemon.
//!
//! A CPU writes so many a second and no more. When the second before had more than that, each record of this one is
//! taken with the same chance, so that those who come first in a second are not all that is seen. What is left out is
//! counted.

use super::limit::SECOND_NS;
use crate::settings::Settings;
use crate::tables::Tables;

/// Whether a record that is ready may be written.
#[inline(always)]
pub(super) fn admits<T: Tables>(tables: &T, settings: &Settings, now_ns: u64) -> bool {
    let Some(budget) = tables.budget() else { return false };
    let elapsed = now_ns.saturating_sub(budget.second_start_ns);
    if elapsed >= SECOND_NS {
        budget.ready_before = if elapsed < 2 * SECOND_NS { budget.ready } else { 0 };
        budget.second_start_ns = now_ns;
        budget.ready = 0;
        budget.written = 0;
    }
    budget.ready = budget.ready.saturating_add(1);
    if budget.written >= settings.events_per_s {
        return false;
    }
    if budget.ready_before > settings.events_per_s {
        // A number below `ready_before`, each with the same chance.
        let drawn = (u64::from(tables.random()) * u64::from(budget.ready_before)) >> 32;
        if drawn >= u64::from(settings.events_per_s) {
            return false;
        }
    }
    budget.written = budget.written.saturating_add(1);
    true
}
