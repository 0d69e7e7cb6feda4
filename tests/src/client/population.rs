//! The direct users of the demo: regulars and newcomers of several kinds, on IPv4 and IPv6, with TLS and without.

use std::net::IpAddr;

use crate::lab::address::{user, user_v6};

use super::plan::Group;

/// A group before it has addresses: kind, TLS, IPv6, regulars or arrivals a second, requests, think time, tokens.
struct Row {
    kind: &'static str,
    tls: bool,
    v6: bool,
    size: Size,
    requests: (u32, u32),
    think_s: (f64, f64),
    tokens: u32,
}

enum Size {
    Regulars(usize),
    NewPerSecond(f64),
}

use Size::{NewPerSecond, Regulars};

const CHAT: (f64, f64) = (1.0, 4.0);

const ROWS: [Row; 15] = [
    row("python", true, false, Regulars(10), (2, 5), CHAT, 16),
    row("python", true, false, NewPerSecond(1.2), (1, 3), CHAT, 16),
    row("python", false, false, NewPerSecond(0.2), (1, 2), CHAT, 16),
    row("requests", true, false, Regulars(3), (2, 4), CHAT, 12),
    row("requests", true, false, NewPerSecond(0.15), (1, 2), CHAT, 12),
    row("node", true, false, Regulars(5), (2, 5), CHAT, 16),
    row("node", true, false, NewPerSecond(0.4), (1, 3), CHAT, 16),
    row("node", false, false, NewPerSecond(0.15), (1, 2), CHAT, 16),
    row("curl", true, false, NewPerSecond(0.4), (1, 1), CHAT, 8),
    row("rust", true, false, Regulars(8), (2, 6), CHAT, 20),
    row("rust", true, false, NewPerSecond(0.5), (1, 3), CHAT, 16),
    row("rust", true, true, Regulars(5), (2, 6), CHAT, 16),
    row("rust", true, true, NewPerSecond(0.3), (1, 3), CHAT, 16),
    row("rust", false, false, Regulars(4), (2, 4), CHAT, 16),
    row("health", true, false, Regulars(1), (1, 1), (2.0, 2.0), 1),
];

const fn row(
    kind: &'static str,
    tls: bool,
    v6: bool,
    size: Size,
    requests: (u32, u32),
    think_s: (f64, f64),
    tokens: u32,
) -> Row {
    Row { kind, tls, v6, size, requests, think_s, tokens }
}

/// The demo's benign population for a run of `seconds`, with how many IPv4 and IPv6 user addresses it takes.
pub fn population(seconds: f64) -> (Vec<Group>, usize, usize) {
    let (mut v4, mut v6) = (0, 0);
    let groups = ROWS
        .iter()
        .map(|row| {
            let (count, arrivals_per_s) = match row.size {
                Regulars(count) => (count, 0.0),
                NewPerSecond(rate) => (newcomers(rate, seconds), rate),
            };
            let next = if row.v6 { &mut v6 } else { &mut v4 };
            let addresses = (*next..*next + count)
                .map(|n| if row.v6 { IpAddr::V6(user_v6(n)) } else { IpAddr::V4(user(n)) })
                .collect();
            *next += count;
            Group {
                kind: row.kind.to_owned(),
                addresses,
                tls: row.tls,
                arrivals_per_s,
                requests: row.requests,
                think_s: row.think_s,
                max_tokens: row.tokens,
            }
        })
        .collect();
    (groups, v4, v6)
}

/// Enough addresses that arrivals at `rate` do not run out within `seconds`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn newcomers(rate: f64, seconds: f64) -> usize {
    (rate * seconds * 1.3) as usize + 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_users_share_an_address() {
        let (groups, v4, v6) = population(120.0);
        let all: Vec<IpAddr> = groups.iter().flat_map(|group| group.addresses.iter().copied()).collect();
        assert_eq!(all.len(), v4 + v6);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
