//! Recorded arrivals in place of the model's own: a CSV file, plain or gzip, of one of three shapes.
//!
//! `client,t_s,rate_rps,cv,dist`: rates and burstiness of each client in windows of ten minutes, as ServeGen publishes
//! them. `TIMESTAMP,...`: one arrival a line, as the Azure traces have it; clients are drawn, for they have none.
//! `time,client`: one arrival a line, seconds and any name. Sources, networks and fingerprints are always the model's:
//! no published trace has them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use rand::RngExt;

use crate::random::{Domain, hash, stream};
use crate::traffic::{SLOT_S, SLOTS_PER_DAY, arrivals};

/// Lines read at most.
const LINES_MAX: usize = 20_000_000;

/// Which part of the recording is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Days 1 to 7: for choosing thresholds.
    Tune,
    /// What comes after, or all of a recording that is no longer than a week.
    HeldOut,
}

/// See the module.
#[derive(Debug)]
pub struct Trace {
    /// Windows or arrivals by slot, from 0 on.
    slots: BTreeMap<u64, Vec<Entry>>,
    length: u64,
    /// Mean requests per second.
    per_s: f64,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Window { client: u64, per_s: f64, cv: f64 },
    Arrival { client: Option<u64>, at_s: f64 },
}

impl Trace {
    /// Reads a recording.
    ///
    /// # Errors
    /// If it cannot be read, a line is malformed (with its number), or the part asked for is not in it.
    pub fn read(path: &Path, part: Part) -> Result<Self> {
        let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
        let mut magic = [0; 2];
        let is_gzip = open()?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        let file = BufReader::new(open()?);
        let reader: Box<dyn BufRead> =
            if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        let all = parse(reader).with_context(|| format!("{} is no recording", path.display()))?;
        Self::cut(all, part).with_context(|| path.display().to_string())
    }

    fn cut(all: BTreeMap<u64, Vec<Entry>>, part: Part) -> Result<Self> {
        let week = 7 * SLOTS_PER_DAY;
        let last = all.keys().next_back().copied().unwrap_or(0);
        let (from, to) = match part {
            Part::Tune if last < week => {
                bail!("a recording of a week or less is kept for reporting: thresholds are not tuned on it")
            }
            Part::Tune => (0, week),
            Part::HeldOut if last < week => (0, last + 1),
            Part::HeldOut => (week, last + 1),
        };
        let slots: BTreeMap<u64, Vec<Entry>> = all
            .into_iter()
            .filter(|(slot, _)| (from..to).contains(slot))
            .map(|(slot, entries)| (slot - from, entries))
            .collect();
        let requests: f64 = slots
            .values()
            .flatten()
            .map(|entry| match entry {
                Entry::Window { per_s, .. } => per_s * SLOT_S as f64,
                Entry::Arrival { .. } => 1.0,
            })
            .sum();
        if requests <= 0.0 {
            bail!("nothing arrives in it");
        }
        let length = to - from;
        // The last slot of single arrivals is cut off somewhere: repeating it would leave a hole in every round.
        let length = if length > 1
            && matches!(slots.values().next(), Some(entries) if matches!(entries[0], Entry::Arrival { .. }))
        {
            length - 1
        } else {
            length
        };
        Ok(Self { slots, length, per_s: requests / ((to - from) * SLOT_S) as f64 })
    }

    /// Arrivals of a slot at this mean rate: who, and when in seconds since the beginning. The recording is repeated.
    #[must_use]
    pub fn arrivals(&self, seed: u64, slot: u64, per_s: f64) -> Vec<(u64, f64)> {
        let factor = per_s / self.per_s;
        let mut random = stream(seed, Domain::Trace, slot);
        let from_s = (slot * SLOT_S) as f64;
        // Every round begins at another place, so that no two seeds see the same days at the same time.
        let begin = hash(seed, Domain::Trace, &[0]) % self.length;
        let mut found = Vec::new();
        for entry in self.slots.get(&((slot + begin) % self.length)).into_iter().flatten() {
            match *entry {
                Entry::Window { client, per_s, cv } => {
                    found.extend(arrivals(&mut random, per_s * factor, cv).into_iter().map(|at| (client, from_s + at)));
                }
                Entry::Arrival { client, at_s } => {
                    let times = factor.floor() as u64 + u64::from(random.random::<f64>() < factor.fract());
                    for _ in 0..times {
                        // Without clients of its own: Zipf over 150, by inversion.
                        let drawn = (150_f64.powf(random.random::<f64>()) - 1.0) as u64;
                        found.push((client.unwrap_or(drawn), from_s + at_s));
                    }
                }
            }
        }
        found
    }
}

fn parse(reader: impl Read) -> Result<BTreeMap<u64, Vec<Entry>>> {
    let mut lines = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(reader);
    let headers: Vec<String> = lines.headers()?.iter().map(str::to_lowercase).collect();
    let column = |name: &str| headers.iter().position(|header| header == name);
    let mut clients = BTreeMap::new();
    let mut slots: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
    let mut first_s = None;
    let shape = (column("t_s").zip(column("rate_rps")), column("timestamp").or(column("time")));
    for (index, line) in lines.records().enumerate() {
        let number = index + 2;
        let line = line.with_context(|| format!("line {number}"))?;
        if index >= LINES_MAX {
            bail!("more than {LINES_MAX} lines: cut it");
        }
        let field = |at: Option<usize>| at.and_then(|at| line.get(at));
        let value = |at: Option<usize>| field(at).and_then(|text| text.parse::<f64>().ok()).filter(|v| v.is_finite());
        let client = field(column("client")).map(|name| {
            let next = clients.len() as u64;
            *clients.entry(name.to_owned()).or_insert(next)
        });
        match shape {
            (Some((t, rate)), _) => {
                let (t_s, per_s) = (value(Some(t)), value(Some(rate)));
                let (Some(t_s), Some(per_s)) = (t_s.filter(|t| *t >= 0.0), per_s.filter(|r| *r >= 0.0)) else {
                    bail!("line {number}: t_s and rate_rps must be numbers of 0 or more");
                };
                let cv = value(column("cv")).unwrap_or(1.0).clamp(0.1, 30.0);
                let client = client.unwrap_or(0);
                slots.entry(t_s as u64 / SLOT_S).or_default().push(Entry::Window { client, per_s, cv });
            }
            (None, Some(time)) => {
                let at_s = field(Some(time)).and_then(seconds);
                let Some(at_s) = at_s else {
                    bail!("line {number}: the time must be seconds, or as in 2023-11-16 18:15:46.68");
                };
                let first_s = *first_s.get_or_insert(at_s);
                let Some(since_s) = Some(at_s - first_s).filter(|s| *s >= 0.0) else {
                    bail!("line {number}: it is earlier than the first line; sort the file by time");
                };
                let slot = since_s as u64 / SLOT_S;
                let at_s = since_s - (slot * SLOT_S) as f64;
                slots.entry(slot).or_default().push(Entry::Arrival { client, at_s });
            }
            (None, None) => bail!("its header has neither `time` nor `t_s` and `rate_rps`; see docs/detection.md"),
        }
    }
    Ok(slots)
}

/// Seconds as a number, or of a date and time; only differences matter.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds).filter(|s| s.is_finite());
    }
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut day = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (day.next()?.ok()?, day.next()?.ok()?, day.next()?.ok()?);
    let mut clock = time.trim_end_matches('Z').split(':').map(str::parse::<f64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    // Days since a fixed one, counting years from March (Richards, Explanatory Supplement 2013, 15.11).
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day;
    Some(days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second)
}

#[cfg(test)]
mod tests {
    use super::{Part, Trace, parse, seconds};

    fn trace(text: &str, part: Part) -> anyhow::Result<Trace> {
        Trace::cut(parse(text.as_bytes())?, part)
    }

    #[test]
    fn three_shapes_are_read() {
        let rates =
            trace("client,t_s,rate_rps,cv,dist\na,0,2.0,1.0,G\nb,600,1.0,2.0,W\n", Part::HeldOut).expect("rates");
        let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.5,1,2\n2023-11-17 00:10:00.5,1,2\n2023-11-17 00:10:01,1,2\n";
        let azure = trace(azure, Part::HeldOut).expect("times");
        let plain = trace("time,client\n5,x\n6.5,y\n", Part::HeldOut).expect("arrivals");
        for (trace, per_s) in [(rates, 1.5), (azure, 3.0 / 1_200.0), (plain, 2.0 / 600.0)] {
            assert!((trace.per_s - per_s).abs() < 1e-9, "{trace:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, said) in [
            ("a,b\n1,2\n", "header"),
            ("time,client\nx,y\n", "line 2"),
            ("time,client\n5,y\n4,y\n", "line 3"),
            ("client,t_s,rate_rps\na,0,1\na,-1,1\n", "line 3"),
            ("time,client\n", "nothing arrives"),
        ] {
            let error = format!("{:#}", trace(text, Part::HeldOut).expect_err(text));
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_short_recording_is_never_tuned_on() {
        let text = "client,t_s,rate_rps\na,0,1\na,600,1\n";
        assert!(trace(text, Part::HeldOut).is_ok());
        let error = trace(text, Part::Tune).expect_err("it is short").to_string();
        assert!(error.contains("kept for reporting"), "{error}");
    }

    #[test]
    fn rates_are_scaled() {
        let rates = trace("client,t_s,rate_rps,cv\na,0,20,1\nb,600,10,1\n", Part::HeldOut).expect("rates");
        let all: usize = (0..2_000).map(|slot| rates.arrivals(3, slot, 0.5).len()).sum();
        assert!((all as f64 / (2_000.0 * 600.0) - 0.5).abs() < 0.05, "{all}");
    }

    #[test]
    fn dates_are_counted() {
        let day = |text| seconds(text).expect("a date");
        assert_eq!(day("2024-03-01 00:00:00") - day("2024-02-28 00:00:00"), 2.0 * 86_400.0);
        assert_eq!(day("2024-01-01T00:00:00Z") - day("2023-12-31 23:59:59"), 1.0);
    }
}
