//! `sensor replay FILE`: a capture's evidence as a table, or as one JSON object a line.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use sensor_common::counter::{Counter, Group};
use serde::Serialize;

use super::style::{Paint, Tone};
use super::{output, render};
use crate::capture_file::{self, Broken, Found, Options, Summary};
use crate::evidence::Evidence;
use crate::exit::{Code, Failure};

/// Rows of the table; more are only counted.
const ROWS_MAX: usize = 10_000;

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<'a> {
    /// A connection to a watched service.
    Connection(&'a Evidence),
    /// A ClientHello elsewhere.
    Hello(&'a Evidence),
    Summary {
        frames: u64,
        outgoing_frames: u64,
        cut_frames: u64,
        backwards_frames: u64,
        services: &'a [u16],
        connections: u64,
        events: u64,
        classes: usize,
        class_conflicts: u64,
        /// Counters of the packet path that moved.
        counters: BTreeMap<String, u64>,
        /// Why the file was not read to its end.
        broken: Option<String>,
    },
}

/// Replays a capture.
///
/// # Errors
/// If the file cannot be read; what was read before is printed.
pub(super) fn replay(file: &Path, ports: &[u16], json: bool) -> Result<(), Failure> {
    let options = Options { ports: ports.to_vec(), ..Options::default() };
    let mut rows = Vec::new();
    let mut more = 0_u64;
    let mut written = Ok(());
    let mut take = |found: Found| {
        let (Found::Connection { evidence, .. } | Found::Hello { evidence, .. }) = &found;
        if !json {
            if rows.len() < ROWS_MAX { rows.push((**evidence).clone()) } else { more += 1 }
        } else if written.is_ok() {
            written = line(&match &found {
                Found::Connection { evidence, .. } => Line::Connection(evidence),
                Found::Hello { evidence, .. } => Line::Hello(evidence),
            });
        }
    };
    let fault = |broken: &Broken| {
        let path = file.display();
        let code = if matches!(broken, Broken::Unknown | Broken::Unreadable(_)) { Code::Usage } else { Code::Runtime };
        Failure::new(code, format!("{path}: {broken}"), broken.hint())
    };
    let summary = capture_file::replay(file, &options, &mut take).map_err(|broken| fault(&broken))?;
    if json {
        written.and_then(|()| line(&last(&summary)))?;
    } else {
        let paint = Paint::for_stdout();
        output::print(&(render::evidence(&rows, paint) + &foot(&summary, more, paint)))?;
    }
    summary.broken.as_ref().map_or(Ok(()), |broken| Err(fault(broken)))
}

fn line(line: &Line<'_>) -> Result<(), Failure> {
    let mut text = serde_json::to_string(line)
        .map_err(|error| Failure::new(Code::Runtime, format!("a record cannot be printed: {error}"), ""))?;
    text.push('\n');
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Runtime, format!("standard output cannot be written: {error}"), ""))
        }
        _ => Ok(()),
    }
}

fn last(summary: &Summary) -> Line<'_> {
    Line::Summary {
        frames: summary.frames,
        outgoing_frames: summary.outgoing,
        cut_frames: summary.cut,
        backwards_frames: summary.backwards,
        services: &summary.services,
        connections: summary.connections,
        events: summary.events,
        classes: summary.classes,
        class_conflicts: summary.class_conflicts,
        counters: summary.counters.iter().map(|(counter, count)| (counter_name(*counter), *count)).collect(),
        broken: summary.broken.as_ref().map(ToString::to_string),
    }
}

/// The name of a counter, with that of its group in front.
fn counter_name(counter: Counter) -> String {
    let group = match counter.group() {
        Group::Total => return counter.name().to_owned(),
        Group::Reject => "reject",
        Group::Drop => "drop",
        Group::WouldDrop => "would_drop",
        Group::Unknown => "unknown",
        Group::Lost => "lost",
    };
    format!("{group}_{}", counter.name())
}

/// What is to be said below the table.
fn foot(summary: &Summary, more: u64, paint: Paint) -> String {
    let services: Vec<String> = summary.services.iter().map(u16::to_string).collect();
    let mut text = format!(
        "{} frames, {} connections to port {}; {} frames that services sent were left out\n",
        summary.frames,
        summary.connections,
        if services.is_empty() { "-".to_owned() } else { services.join(", ") },
        summary.outgoing,
    );
    if more > 0 {
        text.push_str(&format!("{more} further rows: --json prints all\n"));
    }
    if summary.cut > 0 {
        text.push_str(&format!(
            "{} frames were cut by the capture: their payload is unknown (tcpdump -s 0)\n",
            summary.cut
        ));
    }
    if summary.backwards > 0 {
        let what = format!(
            "{} frames claim to be older than ones before them: their times count as equal\n",
            summary.backwards
        );
        text.push_str(&what);
    }
    if summary.class_conflicts > 0 {
        text.push_str(&format!("{} ClientHellos whose class and JA4 do not fit together\n", summary.class_conflicts));
    }
    paint.text(Tone::Faint, text.trim_end()) + "\n"
}
