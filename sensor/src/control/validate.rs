//! What a request must look like before the daemon sees it; prefixes and subjects leave in canonical form.
//!
//! Guards that need the daemon's state (the operator's own address, the gateway) are the daemon's.

use super::protocol::{Bulk, BulkDone, Deed, Refusal, Request};
use super::route::{DEFAULT_BLOCK_TTL_S, MOST_CONNECTIONS, MOST_RULES, MOST_SOURCES};
use super::{bulk, subject};
use crate::tunable::Tunables;

/// Longest note or reason, characters.
pub const TEXT_LIMIT: usize = 256;
/// Longest life of an operator's rule, seconds: ten years.
pub const MOST_TTL_S: u64 = 10 * 365 * 86_400;
/// Kinds of rules there are.
pub const RULE_KINDS: [&str; 3] = ["allow", "deny", "class"];

/// The request in canonical form.
///
/// # Errors
/// `invalid`, with what is expected.
pub fn request(request: Request) -> Result<Request, Refusal> {
    Ok(match request {
        Request::Sources { limit, sort, tier } => {
            if !(1..=MOST_SOURCES).contains(&limit) {
                return Err(invalid(format!("limit {limit} is out of range"), format!("give 1 to {MOST_SOURCES}")));
            }
            Request::Sources { limit, sort, tier: tier.map(|tier| text("tier", tier)).transpose()? }
        }
        Request::Connections { limit, after, source } => {
            if !(1..=MOST_CONNECTIONS).contains(&limit) {
                return Err(invalid(format!("limit {limit} is out of range"), format!("give 1 to {MOST_CONNECTIONS}")));
            }
            Request::Connections { limit, after, source: source.map(|prefix| canonical(&prefix)).transpose()? }
        }
        Request::Rules { kind: Some(kind), .. } if !RULE_KINDS.contains(&kind.as_str()) => {
            let error = format!("no rule is of the kind `{}`", kind.escape_debug());
            return Err(invalid(error, format!("give one of {}", RULE_KINDS.join(", "))));
        }
        Request::Rules { limit, .. } if !(1..=MOST_RULES).contains(&limit) => {
            return Err(invalid(format!("limit {limit} is out of range"), format!("give 1 to {MOST_RULES}")));
        }
        Request::Bulk(list) => Request::Bulk(self::list(list)?),
        Request::Explain { subject } => Request::Explain {
            subject: subject::subject(&subject).map_err(|error| invalid(error.to_string(), ""))?.to_string(),
        },
        Request::Allow { prefix, note, ttl_s } => Request::Allow {
            prefix: canonical(&prefix)?,
            note: text("note", note)?,
            ttl_s: ttl_s.map(ttl).transpose()?,
        },
        Request::Judge { id, verdict, note } => Request::Judge { id, verdict, note: text("note", note)? },
        Request::Disallow { prefix } => Request::Disallow { prefix: canonical(&prefix)? },
        Request::Block { prefix, reason, ttl_s, force } => {
            Request::Block { prefix: canonical(&prefix)?, reason: text("reason", reason)?, ttl_s: ttl(ttl_s)?, force }
        }
        Request::Unblock { prefix } => Request::Unblock { prefix: canonical(&prefix)? },
        Request::Get { name: Some(name) } => {
            // Setting the default asks for the name only: the default lies within its range.
            let default = Tunables::default().get(&name).unwrap_or_default();
            tunable(&name, default)?;
            Request::Get { name: Some(name) }
        }
        Request::Set { name, value } => {
            tunable(&name, value)?;
            Request::Set { name, value }
        }
        kept @ (Request::Status
        | Request::Campaigns { .. }
        | Request::Report { .. }
        | Request::Rules { .. }
        | Request::Get { name: None }
        | Request::Reload) => kept,
    })
}

/// A list whose texts and life are in order; its lines are read unless bad ones are skipped.
fn list(list: Bulk) -> Result<Bulk, Refusal> {
    if list.lines.len() > bulk::MOST_BYTES {
        let most = bulk::MOST_BYTES >> 20;
        return Err(invalid(format!("the list is longer than {most} MiB"), "give it in several parts"));
    }
    let mut done = BulkDone::new(list.deed);
    for (line, read) in bulk::read(&list) {
        done.prefixes += 1;
        if let Err(error) = read {
            done.note_bad(line, error);
        }
    }
    if done.prefixes > bulk::MOST_PREFIXES {
        let most = bulk::MOST_PREFIXES;
        return Err(invalid(format!("{} prefixes are more than the {most} of one list", done.prefixes), "split it"));
    }
    if done.bad > 0 && !list.skip_bad {
        return Err(invalid(done.complaint(), bulk::BAD_HINT));
    }
    let ttl_s = match list.deed {
        Deed::Block => Some(ttl(list.ttl_s.unwrap_or(DEFAULT_BLOCK_TTL_S))?),
        Deed::Allow | Deed::Unblock => list.ttl_s.map(ttl).transpose()?,
    };
    Ok(Bulk { reason: text("reason", list.reason)?, ttl_s, ..list })
}

fn invalid(error: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal::new("invalid", error, hint)
}

fn canonical(prefix: &str) -> Result<String, Refusal> {
    subject::prefix(prefix).map(|prefix| prefix.to_string()).map_err(|error| invalid(error.to_string(), ""))
}

/// Texts go to logs and terminals: short and without control characters.
fn text(what: &str, text: String) -> Result<String, Refusal> {
    if text.chars().count() > TEXT_LIMIT {
        return Err(invalid(format!("the {what} is too long"), format!("give at most {TEXT_LIMIT} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("the {what} has control characters in it"), "give plain text on one line"));
    }
    Ok(text)
}

fn ttl(ttl_s: u64) -> Result<u64, Refusal> {
    if (1..=MOST_TTL_S).contains(&ttl_s) {
        return Ok(ttl_s);
    }
    Err(invalid(format!("a life of {ttl_s} s is out of range"), format!("give 1 to {MOST_TTL_S} seconds")))
}

fn tunable(name: &str, value: u64) -> Result<(), Refusal> {
    Tunables::default().set(name, value).map_err(|error| invalid(error.to_string(), ""))
}
