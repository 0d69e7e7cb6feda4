//! Prefixes and subjects as people write them. What cannot be meant is refused with what was expected.

use std::fmt;
use std::net::IpAddr;

use sensor_common::address::Prefix;

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixError {
    error: String,
    expected: String,
}

const EXPECTED: &str = "give an address or a prefix: 203.0.113.7, 203.0.113.0/24, 2001:db8::/48";

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.error, self.expected)
    }
}

impl std::error::Error for PrefixError {}

/// Reads an address or a prefix. Bits behind the prefix length must be zero: `10.0.0.1/8` is more often a slip than
/// a wish.
///
/// # Errors
/// If the text is neither; the error says what is expected.
pub fn prefix(text: &str) -> Result<Prefix, PrefixError> {
    let fail = |error: String| PrefixError { error, expected: EXPECTED.to_owned() };
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let ip: IpAddr = address.parse().map_err(|_| fail(format!("`{address}` is not an IP address")))?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        // `u8::from_str` takes a sign, which no prefix has.
        Some(text) => match text.parse::<u8>() {
            Ok(length) if length <= most && text.bytes().all(|b| b.is_ascii_digit()) => length,
            _ => return Err(fail(format!("`/{text}` is not a prefix length of {ip}: 0 to {most}"))),
        },
    };
    let prefix = Prefix::new(ip, length).expect("the length was checked against the address family");
    if prefix.address != ip.into() {
        return Err(PrefixError {
            error: format!("`{text}` has bits set behind its prefix length"),
            expected: format!("give {prefix} for the whole prefix or {ip} for the one address"),
        });
    }
    Ok(prefix)
}

/// What `explain` can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Prefix(Prefix),
    /// A campaign's number.
    Campaign(u64),
}

/// Reads an address, a prefix or a campaign's number.
///
/// # Errors
/// If the text is none of them; the error says what is expected.
pub fn subject(text: &str) -> Result<Subject, PrefixError> {
    if let Ok(number) = text.strip_prefix('#').unwrap_or(text).parse::<u64>() {
        return Ok(Subject::Campaign(number));
    }
    prefix(text).map(Subject::Prefix).map_err(|mut error| {
        error.expected.push_str(", or a campaign's number");
        error
    })
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Campaign(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{prefix, subject};

    #[test]
    fn prefixes_are_read_as_people_write_them() {
        for (description, text, expected) in [
            ("an IPv4 address is its own prefix", "203.0.113.7", Ok("203.0.113.7/32")),
            ("an IPv4 prefix", "203.0.113.0/24", Ok("203.0.113.0/24")),
            ("everything in IPv4", "0.0.0.0/0", Ok("0.0.0.0/0")),
            ("an IPv6 address", "2001:db8::1", Ok("2001:db8::1/128")),
            ("an IPv6 prefix", "2001:DB8::/48", Ok("2001:db8::/48")),
            ("a mapped address is the IPv4 address", "::ffff:192.0.2.1", Ok("192.0.2.1/32")),
            ("host bits are a slip", "10.0.0.1/8", Err("give 10.0.0.0/8 for the whole prefix or 10.0.0.1")),
            ("too long", "10.0.0.0/33", Err("`/33` is not a prefix length of 10.0.0.0: 0 to 32")),
            ("a signed length", "10.0.0.0/+8", Err("`/+8`")),
            ("no length", "10.0.0.0/", Err("`/`")),
            ("a name", "example.org", Err("`example.org` is not an IP address; give an address or a prefix")),
            ("nothing", "", Err("`` is not an IP address")),
            ("blanks", " 10.0.0.1", Err("not an IP address")),
        ] {
            match (prefix(text), expected) {
                (Ok(got), Ok(want)) => assert_eq!(got.to_string(), want, "{description}"),
                (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{description}: {got}"),
                (got, want) => panic!("{description}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn subjects_are_prefixes_or_campaign_numbers() {
        assert_eq!(subject("#12").map(|s| s.to_string()), Ok("12".to_owned()));
        assert_eq!(subject("12").map(|s| s.to_string()), Ok("12".to_owned()));
        assert_eq!(subject("192.0.2.1").map(|s| s.to_string()), Ok("192.0.2.1/32".to_owned()));
        let error = subject("twelve").expect_err("a word is no subject").to_string();
        assert!(error.ends_with("or a campaign's number"), "{error}");
    }
}
