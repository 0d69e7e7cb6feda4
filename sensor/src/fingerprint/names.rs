//! Names of the kernel's classes: the kernel counts ClientHellos by a seeded number, people know them by their JA4.
//!
//! The kernel sends a sample of a hello with its class; the table keeps what it says. A class leaves resumption out, so
//! it stands for one normalised JA4, whose members differ by padding, pre_shared_key and early_data. That this is one
//! to one is counted, not assumed.

use std::collections::BTreeMap;

use super::Ja4;

/// JA4 strings kept of one class.
const VARIANTS_MAX: usize = 8;

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The class had no name.
    New,
    /// It says what is known.
    Known,
    /// The class has another normalised JA4, or that JA4 another class: counted, the first name stays.
    Conflict,
    /// The table is full: counted.
    Full,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    /// Its normalised JA4.
    normalised: String,
    /// JA4 as sent, and how often it was sampled.
    variants: BTreeMap<String, u64>,
}

/// Names by class, bounded.
#[derive(Clone, Debug)]
pub struct ClassNames {
    capacity: usize,
    classes: BTreeMap<u64, Class>,
    /// Class of each normalised JA4.
    owners: BTreeMap<String, u64>,
    conflicts: u64,
    refused: u64,
}

impl ClassNames {
    /// An empty table for so many classes.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, classes: BTreeMap::new(), owners: BTreeMap::new(), conflicts: 0, refused: 0 }
    }

    /// Takes up that a hello of this class has this JA4.
    pub fn sample(&mut self, class: u64, ja4: &Ja4) -> Naming {
        let normalised = ja4.normalised().to_string();
        let count = self.classes.len();
        match self.classes.get_mut(&class) {
            Some(known) if known.normalised == normalised => {
                known.note(ja4);
                Naming::Known
            }
            Some(_) => self.conflict(),
            None if self.owners.contains_key(&normalised) => self.conflict(),
            None if count >= self.capacity => {
                self.refused = self.refused.saturating_add(1);
                Naming::Full
            }
            None => {
                let mut fresh = Class { normalised: normalised.clone(), variants: BTreeMap::new() };
                fresh.note(ja4);
                self.owners.insert(normalised, class);
                self.classes.insert(class, fresh);
                Naming::New
            }
        }
    }

    fn conflict(&mut self) -> Naming {
        self.conflicts = self.conflicts.saturating_add(1);
        Naming::Conflict
    }

    /// The JA4 that a class was sampled with most often.
    #[must_use]
    pub fn name(&self, class: u64) -> Option<&str> {
        let variants = &self.classes.get(&class)?.variants;
        variants.iter().max_by_key(|(ja4, times)| (**times, std::cmp::Reverse(*ja4))).map(|(ja4, _)| ja4.as_str())
    }

    /// The JA4 that all of a class's hellos have once resumption is left out.
    #[must_use]
    pub fn normalised(&self, class: u64) -> Option<&str> {
        self.classes.get(&class).map(|class| class.normalised.as_str())
    }

    /// The class of a normalised JA4.
    #[must_use]
    pub fn class(&self, normalised: &str) -> Option<u64> {
        self.owners.get(normalised).copied()
    }

    /// Number of classes that have a name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether no class has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Samples whose class and JA4 did not fit together: 0 unless something is wrong.
    #[must_use]
    pub const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Samples for which there was no room.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

impl Class {
    fn note(&mut self, ja4: &Ja4) {
        let text = ja4.to_string();
        if self.variants.len() < VARIANTS_MAX || self.variants.contains_key(&text) {
            let times = self.variants.entry(text).or_insert(0);
            *times = times.saturating_add(1);
        }
    }
}
