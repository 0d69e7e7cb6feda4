//! Numbers for people.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::duration;

/// Digits in groups of three: `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in binary units: `1.5 MiB`.
pub(super) fn bytes(number: f64) -> String {
    let mut rest = number;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if rest < 1024.0 {
            return if unit == "B" { format!("{rest:.0} B") } else { format!("{rest:.1} {unit}") };
        }
        rest /= 1024.0;
    }
    format!("{rest:.1} PiB")
}

/// A rate: few digits, but none of a slow one lost.
pub(super) fn rate(per_s: f64) -> String {
    if per_s >= 100.0 || per_s == 0.0 { format!("{per_s:.0}/s") } else { format!("{per_s:.1}/s") }
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// How long ago a moment was: `5m 12s ago`; `-` for 0.
pub(super) fn ago(unix_s: u64) -> String {
    if unix_s == 0 {
        return "-".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("{} ago", duration::short(now.saturating_sub(unix_s)))
}

#[cfg(test)]
mod tests {
    use super::{bytes, grouped, percent, rate};

    #[test]
    fn numbers_are_grouped_and_scaled() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 1023.0, 1536.0, 5e9].map(bytes), ["0 B", "1023 B", "1.5 KiB", "4.7 GiB"]);
        assert_eq!([0.0, 0.25, 99.96, 1234.5].map(rate), ["0/s", "0.2/s", "100.0/s", "1234/s"]);
        assert_eq!(percent(0.953), "95.3 %");
    }
}
