//! Reading event files: JSON lines, or CSV with a header; which of both, the first line tells. One event at a time.
//!
//! Strict: a line that is not understood ends the reading with its number, what is wrong, and what to do.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::OrderError;
use super::evidence::{COLUMNS, Evidence, Line};

/// Bytes of a line.
pub const LINE_MAX: u64 = 4_096;

/// Why the reading ended.
#[derive(Debug)]
pub struct ReadError {
    /// Line of the file, from 1; 0: none in particular.
    pub line: u64,
    pub error: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.error) } else { write!(f, "line {}: {}", self.line, self.error) }
    }
}

impl std::error::Error for ReadError {}

impl OrderError {
    /// What is wrong with the time of the event on this line.
    #[must_use]
    pub fn at_line(self, line: u64) -> ReadError {
        let error = match self {
            Self::Late(by) => format!(
                "it is {} s earlier than the event before; up to 600 s are taken: sort the file by at_ns",
                by.as_seconds()
            ),
            Self::Silent(by) => format!(
                "it is {} days later than the event before: is at_ns in nanoseconds since 1970? split the file if so",
                by.as_seconds() / 86_400
            ),
        };
        ReadError { line, error }
    }
}

/// Events of a file.
pub struct Events<R> {
    reader: R,
    /// Places of the known columns in a CSV file; `None`: JSON lines.
    columns: Option<Vec<Option<usize>>>,
    line: u64,
    buffer: String,
    /// The first line of a JSON file was read to find out what it is.
    is_pending: bool,
}

impl<R: BufRead> Events<R> {
    /// Looks at the first line.
    ///
    /// # Errors
    /// If there is none, or it is neither a header nor a JSON object.
    pub fn new(reader: R) -> Result<Self, ReadError> {
        let mut events = Self { reader, columns: None, line: 0, buffer: String::new(), is_pending: false };
        if !events.advance()? {
            return Err(ReadError { line: 0, error: "the file has no events: see docs/events.md".to_owned() });
        }
        if events.buffer.trim_start().starts_with('{') {
            events.is_pending = true;
        } else {
            events.columns = Some(events.header()?);
        }
        Ok(events)
    }

    /// Number of the line that was read last.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn wrong(&self, error: impl Into<String>) -> ReadError {
        ReadError { line: self.line, error: error.into() }
    }

    /// Reads the next line that is not empty.
    fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = self.reader.by_ref().take(LINE_MAX + 1).read_line(&mut self.buffer);
            let read = read.map_err(|error: io::Error| self.wrong(format!("it cannot be read: {error}")))?;
            if read as u64 > LINE_MAX {
                return Err(self.wrong(format!("it is longer than {LINE_MAX} bytes: one event a line")));
            }
            if read == 0 {
                return Ok(false);
            }
            if !self.buffer.trim().is_empty() {
                return Ok(true);
            }
        }
    }

    fn header(&self) -> Result<Vec<Option<usize>>, ReadError> {
        let names = record(&self.buffer).map_err(|error| self.wrong(error))?;
        let unknown = names.iter().find(|name| !COLUMNS.contains(name));
        if let Some(name) = unknown {
            return Err(self.wrong(format!(
                "column `{name}` is unknown; a file begins with a JSON object, or with a header of {}",
                COLUMNS.join(",")
            )));
        }
        let places: Vec<Option<usize>> = COLUMNS.iter().map(|c| names.iter().position(|name| name == *c)).collect();
        for name in &COLUMNS[..3] {
            if !names.iter().any(|n| n == *name) {
                return Err(self.wrong(format!("column `{name}` is missing")));
            }
        }
        if names.len() != places.iter().flatten().count() {
            return Err(self.wrong("a column is named twice"));
        }
        Ok(places)
    }

    fn event(&self) -> Result<Evidence, ReadError> {
        let Some(columns) = &self.columns else {
            let line: Line<'_> = serde_json::from_str(&self.buffer).map_err(|error| self.wrong(fault(&error)))?;
            return Evidence::try_from(line).map_err(|error| self.wrong(error));
        };
        let fields = record(&self.buffer).map_err(|error| self.wrong(error))?;
        let expected = columns.iter().flatten().count();
        if fields.len() != expected {
            return Err(self.wrong(format!("it has {} fields, the header {expected}", fields.len())));
        }
        let field = |n: usize| columns[n].and_then(|at| fields.get(at)).filter(|text| !text.is_empty());
        let need = |n: usize| field(n).ok_or_else(|| self.wrong(format!("{} is empty", COLUMNS[n])));
        let line = Line {
            at_ns: self.number(need(0)?, 0)?,
            client: self.number(need(1)?, 1)?,
            service: self.number(need(2)?, 2)?,
            protocol: field(3).unwrap_or("tls").into(),
            fingerprint: field(4).map(Into::into),
            rtt_us: self.optional(field(5), 5)?,
            hello_gap_us: self.optional(field(6), 6)?,
            flight_gap_us: self.optional(field(7), 7)?,
            timestamps: self.optional(field(8), 8)?,
            requests: self.optional(field(9), 9)?,
            label: field(10).map(Into::into),
        };
        Evidence::try_from(line).map_err(|error| self.wrong(error))
    }

    fn optional<T: std::str::FromStr>(&self, text: Option<&str>, column: usize) -> Result<Option<T>, ReadError> {
        text.map(|text| self.number(text, column)).transpose()
    }

    fn number<T: std::str::FromStr>(&self, text: &str, column: usize) -> Result<T, ReadError> {
        let expected = match COLUMNS[column] {
            "at_ns" => "whole nanoseconds since 1970",
            "client" => "an IPv4 or IPv6 address",
            "service" => "a port, 1 to 65535",
            "timestamps" => "true or false",
            _ => "a whole number, or nothing if it is not known",
        };
        text.parse().map_err(|_| self.wrong(format!("{} is `{text}`: give {expected}", COLUMNS[column])))
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = Result<Evidence, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::take(&mut self.is_pending) {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(self.event())
    }
}

/// A fault of JSON; its own line is always the first.
fn fault(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", ", column ")
}

/// The fields of one CSV line (RFC 4180); none holds a line break here.
fn record(line: &str) -> Result<csv::StringRecord, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .buffer_capacity(512)
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => Ok(record),
        Ok(false) => Err("it has no fields".to_owned()),
        Err(error) => Err(format!("it is no CSV: {error}")),
    }
}
