//! The table of class rules: few, so it is read as a whole whenever somebody wants to know.

use std::os::fd::AsFd;

use aya::maps::{IterableMap, MapError};
use sensor_common::plain::Plain;
use sensor_common::rule::{ClassKey, ClassRule};

use super::maps::{Plainly, Table, gone, refused};
use super::{Installed, KernelError, Terms, batch};
use crate::engine::plan::Subject;

/// See the module.
pub(super) struct Classes(pub(super) Table<ClassKey, ClassRule>);

impl Classes {
    /// Every rule.
    pub(super) fn rules(&self) -> Result<Vec<(Subject, Installed)>, KernelError> {
        let entries = batch::entries::<ClassKey, ClassRule>(self.0.map().fd().as_fd());
        let entries = entries.map_err(|error| KernelError::new("read class rules", error))?;
        let installed = |(class, rule): (ClassKey, ClassRule)| {
            let terms = Terms { expires_ns: rule.expires_ns, newer_than_ns: rule.newer_than_ns };
            (Subject::Class(class), Installed { terms, hits: rule.hits, passed: rule.passed })
        };
        Ok(entries.into_iter().map(installed).collect())
    }

    /// Enters a rule; one that stands keeps its hits.
    pub(super) fn install(&mut self, class: &ClassKey, terms: Terms) -> Result<(), KernelError> {
        let old = match self.0.get(&Plainly(*class), 0) {
            Ok(Plainly(rule)) => rule,
            Err(MapError::KeyNotFound | MapError::ElementNotFound) => ClassRule::zeroed(),
            Err(error) => return Err(refused("read a class rule", &error)),
        };
        let rule = ClassRule { expires_ns: terms.expires_ns, newer_than_ns: terms.newer_than_ns, ..old };
        self.0.insert(Plainly(*class), Plainly(rule), 0).map_err(|error| refused("write a class rule", &error))
    }

    /// Takes a rule out; nothing happens if there is none.
    pub(super) fn remove(&mut self, class: &ClassKey) -> Result<(), KernelError> {
        gone(self.0.remove(&Plainly(*class))).map_err(|error| refused("take out a class rule", &error))
    }
}
