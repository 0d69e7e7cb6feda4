//! Looking for prefix rules that somebody else changed: a bounded piece of the tries at a time.

use sensor_common::address::Prefix;
use sensor_common::filter::Trie;

use super::KernelError;
use super::book::{Book, parts, subject};
use super::trie::Tries;
use crate::engine::plan::Subject;

/// From the start of one walk through the tries to that of the next, nanoseconds.
const PERIOD_NS: u64 = 10_000_000_000;

/// Pieces after which a walk is given up: somebody changes the tries faster than they are walked.
const PIECES_MAX: u32 = 256;

/// How far the looking has come.
#[derive(Debug, Default)]
pub(super) struct Check {
    walk: Option<Walk>,
    /// Walks begun so far; the number of the one going on.
    number: u64,
    began_ns: Option<u64>,
}

/// Where a walk is.
#[derive(Debug)]
struct Walk {
    trie: Trie,
    from: Option<Prefix>,
    pieces: u32,
}

impl Check {
    /// The number of the walk going on, or of the last one.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// One piece: what is not whole is taken out of book and tries, so that it can be entered again; bits that somebody
    /// cleared in the filter are set.
    pub(super) fn step<T: Tries>(&mut self, book: &mut Book<T>, now_ns: u64) -> Result<(), KernelError> {
        if self.walk.is_none() && self.began_ns.is_none_or(|began| now_ns.saturating_sub(began) >= PERIOD_NS) {
            self.number += 1;
            self.began_ns = Some(now_ns);
            self.walk = Some(Walk { trie: Trie::Allow, from: None, pieces: 0 });
        }
        if let Some(walk) = self.walk.take() {
            self.walk = self.follow(walk, book)?;
        }
        Ok(())
    }

    /// Goes one piece further through the tries; gives where to go on.
    fn follow<T: Tries>(&self, walk: Walk, book: &mut Book<T>) -> Result<Option<Walk>, KernelError> {
        let Walk { trie, from, pieces } = walk;
        let (found, next) = book.tries.walk(trie, from.as_ref())?;
        for (prefix, reference) in found {
            let subject = subject(trie, prefix);
            match book.entries.get_mut(&subject) {
                Some(entry) if entry.reference == reference => {
                    entry.met = self.number;
                    if book.filter.repair(trie, &prefix) {
                        tracing::warn!(event = "rule_drifted", %prefix, "bits of the filter were changed: put right");
                    }
                }
                Some(_) => book.remove(&subject)?,
                None => {
                    tracing::warn!(event = "rule_drifted", %prefix, "a prefix that somebody else entered is taken out");
                    book.tries.remove(trie, &prefix)?;
                }
            }
        }
        if next.is_some() {
            return Ok((pieces < PIECES_MAX).then_some(Walk { trie, from: next, pieces: pieces + 1 }));
        }
        self.miss(trie, book)?;
        let after = Walk { trie: Trie::Deny, from: None, pieces: 0 };
        Ok((trie == Trie::Allow).then_some(after))
    }

    /// Takes out the rules that the walk through their trie did not meet.
    fn miss<T: Tries>(&self, trie: Trie, book: &mut Book<T>) -> Result<(), KernelError> {
        let is_of_trie = |subject: &Subject| parts(subject).is_some_and(|(other, ..)| other == trie);
        let entries = book.entries.iter();
        let missed = entries.filter(|(subject, entry)| is_of_trie(subject) && entry.met != self.number);
        let missed: Vec<Subject> = missed.map(|(subject, _)| *subject).collect();
        missed.iter().try_for_each(|subject| book.remove(subject))
    }
}
