//! `sensor doctor`: what this host offers the sensor, what is missing, and what to do about it.
//!
//! Facts are read once and judged apart from the reading. Nothing is changed, loaded or attached.

mod facts;
mod host;
mod interface;

use serde::Serialize;

pub use self::facts::{Daemon, Facts, Interface, Occupant};
use crate::control::protocol::VERSION;
use crate::exit::{Code, Failure};

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    Ok,
    /// The sensor runs, but worse than it could, or an operator should know.
    Warn,
    /// The sensor does not run like this.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Short fixed name.
    pub name: &'static str,
    pub grade: Grade,
    /// What was found.
    pub finding: String,
    /// What to do; empty if nothing has to be.
    pub advice: String,
    /// What `sensor run` would end with.
    #[serde(skip)]
    pub code: Code,
}

/// All checks, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`VERSION`] of the answers' shape.
    pub version: u32,
    pub checks: Vec<Check>,
    pub failed: usize,
    pub warned: usize,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, grade: Grade::Ok, finding: finding.into(), advice: String::new(), code: Code::Done }
    }

    fn warn(name: &'static str, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, grade: Grade::Warn, finding: finding.into(), advice: advice.into(), code: Code::Done }
    }

    fn fail(name: &'static str, code: Code, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, grade: Grade::Fail, finding: finding.into(), advice: advice.into(), code }
    }

    fn failure(name: &'static str, failure: &Failure) -> Self {
        Self::fail(name, failure.code, failure.error.clone(), failure.hint.clone())
    }
}

impl Report {
    /// Judges what was found.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let checks: Vec<Check> = host::checks(facts).into_iter().chain(interface::checks(facts)).collect();
        let count = |grade| checks.iter().filter(|check| check.grade == grade).count();
        let (failed, warned) = (count(Grade::Fail), count(Grade::Warn));
        Self { version: VERSION, checks, failed, warned }
    }

    /// What the command ends with: [`Code::Done`], or the code of the first check that failed.
    #[must_use]
    pub fn code(&self) -> Code {
        self.checks.iter().find(|check| check.grade == Grade::Fail).map_or(Code::Done, |check| check.code)
    }
}

#[cfg(test)]
mod tests;
