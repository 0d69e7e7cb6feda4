//! Numbers as people read them, for reasons and notices. Integers only: texts are part of plans, and plans are the
//! same on every machine.

use super::fixed::{NAT, WHOLE_PPM};
use super::time::{Span, Time};

/// `14:02:09 UTC`.
#[must_use]
pub(super) fn clock(at: Time) -> String {
    let second = at.unix_s() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

/// `6.0 %`.
#[must_use]
pub(super) fn percent(ppm: u64) -> String {
    let tenths = ppm.saturating_add(500) / 1_000;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// `15.2`.
#[must_use]
pub(super) fn nats(score: i64) -> String {
    let tenths = score.max(0).saturating_mul(10) / NAT;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Whole nats, rounded down.
#[must_use]
pub(super) fn whole_nats(score: i64) -> i64 {
    score.max(0) / NAT
}

/// `58 ms`.
#[must_use]
pub(super) fn milliseconds(us: u32) -> String {
    format!("{} ms", us / 1_000)
}

/// Millionths as a number with two decimals: `0.41`.
#[must_use]
pub(super) fn millionths(value: u64) -> String {
    let hundredths = value / (WHOLE_PPM / 100);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `45 s`, `12 min`, `3 h`, `2 d`; rounded down.
#[must_use]
pub(super) fn span(span: Span) -> String {
    match span.as_seconds() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// `1 network`, `2 networks`.
#[must_use]
pub(super) fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// `24 networks`, and `64 networks or more` if that is all a sample holds.
#[must_use]
pub(super) fn at_least(n: u64, one: &str) -> String {
    let more = if n >= super::spread::MEMBERS_MAX as u64 { " or more" } else { "" };
    format!("{}{more}", count(n, one))
}

/// Thousandths as a number with one decimal: `1.5`.
#[must_use]
pub(super) fn thousandths(value: u64) -> String {
    format!("{}.{}", value / 1_000, value % 1_000 / 100)
}
