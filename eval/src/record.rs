//! Writing a scenario down as an event file, labelled, as a sensor in dry run would have seen it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use sensor::replay::evidence::Evidence;
use sensor::replay::write::{Form, Writer};

use crate::run::Settings;
use crate::scenario::Scenario;
use crate::site::{Site, Witness};
use crate::traffic::World;

/// Writes what it sees.
struct Scribe<W: Write> {
    writer: Writer<W>,
    count: u64,
    failed: Option<std::io::Error>,
}

impl<W: Write> Witness for Scribe<W> {
    fn see(&mut self, evidence: &Evidence) {
        self.count += 1;
        if let Err(error) = self.writer.write(evidence) {
            self.failed.get_or_insert(error);
        }
    }
}

/// The site on which a scenario happens from its beginning, in dry run.
#[must_use]
pub fn dry_run(settings: &Settings, scenario: &Scenario, seed: u64) -> Site {
    let (assumptions, trace) = (settings.assumptions.clone(), settings.trace.clone());
    let world = World::new(seed, assumptions, scenario.clone(), trace, settings.past_s);
    Site::new(world, &settings.tunables, false)
}

/// Writes a scenario with its past; CSV if the file's name ends so. Gives the number of events.
///
/// # Errors
/// If the file cannot be written.
pub fn write(settings: &Settings, scenario: &Scenario, seed: u64, path: &Path) -> Result<u64> {
    let form = if path.extension().is_some_and(|e| e == "csv") { Form::Csv } else { Form::JsonLines };
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let failed = || format!("cannot write {}", path.display());
    let writer = Writer::new(BufWriter::with_capacity(1 << 16, file), form).with_context(failed)?;
    let mut scribe = Scribe { writer, count: 0, failed: None };
    let mut site = dry_run(settings, scenario, seed);
    while site.now_s() < settings.past_s + scenario.length_s && scribe.failed.is_none() {
        site.slot(&mut scribe);
    }
    if let Some(error) = scribe.failed {
        return Err(error).with_context(failed);
    }
    scribe.writer.finish().with_context(failed)?;
    Ok(scribe.count)
}
