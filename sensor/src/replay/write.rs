//! Writing event files, in either form.

use std::io::{self, Write};

use super::evidence::{COLUMNS, Evidence, Line};

/// Form of an event file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    JsonLines,
    Csv,
}

/// Writes events one by one.
#[derive(Debug)]
pub struct Writer<W: Write> {
    form: Form,
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file; CSV gets its header.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(mut out: W, form: Form) -> io::Result<Self> {
        if form == Form::Csv {
            writeln!(out, "{}", COLUMNS.join(","))?;
        }
        Ok(Self { form, out })
    }

    /// Writes one event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, evidence: &Evidence) -> io::Result<()> {
        let line = Line::from(evidence);
        match self.form {
            Form::JsonLines => {
                serde_json::to_writer(&mut self.out, &line)?;
                self.out.write_all(b"\n")
            }
            Form::Csv => self.write_csv(&line),
        }
    }

    fn write_csv(&mut self, line: &Line<'_>) -> io::Result<()> {
        let number = |value: Option<u32>| value.map(|v| v.to_string()).unwrap_or_default();
        let fields = [
            line.at_ns.to_string(),
            line.client.to_string(),
            line.service.to_string(),
            line.protocol.to_string(),
            line.fingerprint.as_deref().unwrap_or_default().to_owned(),
            number(line.rtt_us),
            number(line.hello_gap_us),
            number(line.flight_gap_us),
            line.timestamps.map(|v| v.to_string()).unwrap_or_default(),
            number(line.requests),
            line.label.as_deref().unwrap_or_default().to_owned(),
        ];
        let mut writer = csv::WriterBuilder::new().buffer_capacity(512).from_writer(&mut self.out);
        writer.write_record(&fields)?;
        writer.flush()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If what was held back cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}
