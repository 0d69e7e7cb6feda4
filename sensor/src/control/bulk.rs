//! Lists of prefixes: read line by line, handed to the daemon in parts, so that others are answered between them.
//!
//! First every part is only checked; then, if no line was bad or bad ones are to be skipped, every part is carried out.

use sensor_common::address::Prefix;

use super::protocol::{BadLine, Bulk, BulkDone, Deed};
use super::subject;

/// Prefixes in one list at most.
pub const MOST_PREFIXES: usize = 1 << 17;
/// Bytes of a request with a list.
pub const MOST_BYTES: usize = 8 << 20;
/// Lines in one part: the daemon is busy with it for some milliseconds.
pub const PART_LINES: usize = 2_048;
/// Bad lines that are told.
pub const BAD_TOLD: usize = 10;

/// The prefixes of a list, each with the number of its line, or what is wrong with the line.
pub fn read(bulk: &Bulk) -> impl Iterator<Item = (usize, Result<Prefix, String>)> {
    let numbered = bulk.lines.lines().zip(bulk.first_line..);
    numbered.filter_map(|(line, number)| {
        let text = line.split('#').next().unwrap_or_default().trim();
        (!text.is_empty()).then(|| (number, subject::prefix(text).map_err(|error| error.to_string())))
    })
}

/// The list in parts.
pub fn parts(bulk: &Bulk) -> impl Iterator<Item = Bulk> {
    let mut rest = bulk.lines.as_str();
    let mut first_line = bulk.first_line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.match_indices('\n').nth(PART_LINES - 1).map_or(rest.len(), |(at, _)| at + 1);
        let (lines, left) = rest.split_at(end);
        let part = Bulk {
            lines: lines.to_owned(),
            first_line,
            reason: bulk.reason.clone(),
            deed: bulk.deed,
            ttl_s: bulk.ttl_s,
            force: bulk.force,
            skip_bad: bulk.skip_bad,
            check: bulk.check,
        };
        (rest, first_line) = (left, first_line + PART_LINES);
        Some(part)
    })
}

impl BulkDone {
    /// Nothing yet.
    #[must_use]
    pub const fn new(deed: Deed) -> Self {
        Self {
            deed,
            prefixes: 0,
            applied: 0,
            unchanged: 0,
            bad: 0,
            bad_lines: Vec::new(),
            refused: 0,
            pending: 0,
            room: 0,
            warnings: Vec::new(),
        }
    }

    /// Counts a bad line.
    pub fn note_bad(&mut self, line: usize, error: String) {
        self.bad += 1;
        if self.bad_lines.len() < BAD_TOLD {
            self.bad_lines.push(BadLine { line, error });
        }
    }

    /// Adds what became of a further part.
    pub fn add(&mut self, part: Self) {
        let Self { deed: _, prefixes, applied, unchanged, bad, bad_lines, refused, pending, room, warnings } = part;
        self.prefixes += prefixes;
        self.applied += applied;
        self.unchanged += unchanged;
        self.bad += bad;
        let more = BAD_TOLD.saturating_sub(self.bad_lines.len());
        self.bad_lines.extend(bad_lines.into_iter().take(more));
        (self.refused, self.pending, self.room) = (refused, pending, room);
        for warning in warnings {
            if self.warnings.len() < BAD_TOLD && !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// What is wrong with the list, in a few lines.
    #[must_use]
    pub fn complaint(&self) -> String {
        let mut text = format!("{} of {} lines are bad, nothing was changed", self.bad, self.prefixes);
        for BadLine { line, error } in &self.bad_lines {
            text.push_str(&format!("\n  line {line}: {error}"));
        }
        if self.bad > self.bad_lines.len() {
            text.push_str(&format!("\n  and {} more", self.bad - self.bad_lines.len()));
        }
        text
    }
}

/// What one may do about bad lines.
pub const BAD_HINT: &str = "correct them, or leave them out with --skip-bad";

#[cfg(test)]
mod tests {
    use super::{PART_LINES, parts, read};
    use crate::control::protocol::{Bulk, Deed};

    fn bulk(lines: &str) -> Bulk {
        Bulk {
            deed: Deed::Block,
            lines: lines.to_owned(),
            first_line: 1,
            reason: String::new(),
            ttl_s: None,
            force: false,
            skip_bad: false,
            check: false,
        }
    }

    #[test]
    fn lines_have_comments_blanks_and_numbers() {
        let list = bulk("# a list\n203.0.113.7\n\n  2001:db8::/48  # office\r\n10.0.0.1/8\n");
        let lines: Vec<_> = read(&list).map(|(line, read)| (line, read.map(|prefix| prefix.to_string()))).collect();
        assert_eq!(lines[0], (2, Ok("203.0.113.7/32".to_owned())));
        assert_eq!(lines[1], (4, Ok("2001:db8::/48".to_owned())));
        assert!(matches!(&lines[2], (5, Err(error)) if error.contains("behind its prefix length")), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn parts_hold_every_line_once_with_its_number() {
        for count in [0, 1, PART_LINES - 1, PART_LINES, PART_LINES + 1, 3 * PART_LINES + 7] {
            for end in ["", "\n"] {
                let text: Vec<String> = (0..count).map(|n| format!("10.{}.{}.1", n / 256, n % 256)).collect();
                let list = bulk(&(text.join("\n") + if count > 0 { end } else { "" }));
                let whole: Vec<_> = read(&list).collect();
                let split: Vec<_> = parts(&list).flat_map(|part| read(&part).collect::<Vec<_>>()).collect();
                assert_eq!(whole, split, "{count} lines");
                assert_eq!(whole.len(), count);
            }
        }
    }
}
