//! Lengths of time as people write them: `90s`, `10m`, `1h 30m`, `2d`.

use std::time::Duration;

use crate::control::validate::MOST_TTL_S;

/// Reads a length of time, from one second to ten years; parts of a second are refused.
///
/// # Errors
/// If it cannot be read or is out of range; the error says what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = "give a number with its unit, for example 90s, 10m, 2h or 1d";
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; {expected}"))?;
    if time.subsec_nanos() != 0 || !(1..=MOST_TTL_S).contains(&time.as_secs()) {
        return Err(format!("out of range; {expected}, at least 1s and at most {} days", MOST_TTL_S / 86_400));
    }
    Ok(time)
}

/// A length of time in its two greatest units: `2d 3h`, `5m 12s`.
#[must_use]
pub fn short(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else { return "0s".to_owned() };
    let (size, unit) = units[first];
    let rest = units.get(first + 1).map(|(small, name)| (seconds % size / small, name));
    match rest {
        Some((count, name)) if count > 0 => format!("{}{unit} {count}{name}", seconds / size),
        _ => format!("{}{unit}", seconds / size),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, short};

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in [("1s", 1), ("90s", 90), ("10m", 600), ("1h 30m", 5400), ("2d", 172_800), ("1h", 3600)] {
            assert_eq!(parse(text).map(|d| d.as_secs()), Ok(seconds), "{text}");
        }
        for text in ["", "5", "0s", "10ms", "11years", "-1s", "h", "99999999999999999999d"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("90s, 10m, 2h or 1d"), "{text}: {error}");
        }
    }

    #[test]
    fn lengths_are_shown_in_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (312, "5m 12s"), (3600, "1h"), (183_600, "2d 3h")] {
            assert_eq!(short(seconds), text);
        }
    }
}
