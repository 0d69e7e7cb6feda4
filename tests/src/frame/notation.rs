//! The notation: from a line of text to the parts of a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::FrameError;
use super::spec::{Extension, IpSpec, Spec, TcpSpec, Transport, Trim};
use crate::lab::address::{SERVER_V4, SERVER_V6, TLS_PORT};

const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
const CLIENT_PORT: u16 = 40000;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// Splits at a separator outside quotes; parts are trimmed.
pub(super) fn split(text: &str, separator: char) -> Result<Vec<String>, FrameError> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut escaped = false;
    for c in text.chars() {
        if c == separator && !quoted {
            parts.push(String::new());
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        parts.last_mut().expect("never empty").push(c);
    }
    if quoted {
        return Err(FrameError::new("a quote is not closed"));
    }
    Ok(parts.into_iter().map(|part| part.trim().to_owned()).collect())
}

/// Reads one frame, with the time before it.
pub(super) fn parse(text: &str) -> Result<(Duration, Spec), FrameError> {
    let parts = split(text, ' ')?;
    let mut words = Words { words: parts.iter().filter(|word| !word.is_empty()).map(String::as_str).collect(), at: 0 };
    let mut after = Duration::ZERO;
    if let Some(time) = words.peek().and_then(|word| word.strip_prefix('+')) {
        after = duration(time)?;
        words.at += 1;
    }
    let mut tags = Vec::new();
    while let Some(tag) = words.peek().and_then(tag_type) {
        words.at += 1;
        tags.push((tag, words.number("a VLAN number")?));
    }
    let spec = match words.next("`v4`, `v6`, `arp` or `raw`")? {
        "raw" => Spec::Raw(hex(words.next("hex digits")?)?),
        "arp" => Spec::Arp,
        "v4" => Spec::Ip(Box::new(ip(&mut words, tags, (CLIENT_V4.into(), SERVER_V4.into()))?)),
        "v6" => Spec::Ip(Box::new(ip(&mut words, tags, (CLIENT_V6.into(), SERVER_V6.into()))?)),
        other => return Err(FrameError::new(format!("`{other}`: a frame begins with `v4`, `v6`, `arp` or `raw`"))),
    };
    match words.peek() {
        Some(word) => Err(FrameError::new(format!("unknown word `{word}`"))),
        None => Ok((after, spec)),
    }
}

struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self, wanted: &str) -> Result<&'a str, FrameError> {
        let word = self.peek().ok_or_else(|| FrameError::new(format!("{wanted} is missing at the end")))?;
        self.at += 1;
        Ok(word)
    }

    fn number<T: FromStr>(&mut self, wanted: &str) -> Result<T, FrameError> {
        let word = self.next(wanted)?;
        word.parse().map_err(|_| FrameError::new(format!("`{word}` is not {wanted}")))
    }
}

fn tag_type(word: &str) -> Option<u16> {
    match word {
        "vlan" => Some(VLAN),
        "qinq" => Some(QINQ),
        _ => None,
    }
}

fn ip(words: &mut Words<'_>, tags: Vec<(u16, u16)>, defaults: (IpAddr, IpAddr)) -> Result<IpSpec, FrameError> {
    let mut source = (defaults.0, CLIENT_PORT);
    let mut destination = (defaults.1, TLS_PORT);
    if let Some(word) = words.peek().filter(|word| is_endpoint(word)) {
        words.at += 1;
        source = endpoint(word, source)?;
    }
    if words.peek() == Some(">") {
        words.at += 1;
        destination = endpoint(words.next("a destination")?, destination)?;
    }
    let mut spec = IpSpec {
        source,
        destination,
        tags,
        ttl: 64,
        dont_fragment: false,
        fragment: None,
        ipv4_options: Vec::new(),
        extensions: Vec::new(),
        transport: Transport::Tcp(TcpSpec::default()),
        payload: Vec::new(),
        pokes: Vec::new(),
        trims: Vec::new(),
    };
    let mut tcp = TcpSpec::default();
    let mut other = None;
    while let Some(word) = words.peek() {
        words.at += 1;
        match word {
            "udp" => other = Some(Transport::Udp),
            "proto" => other = Some(Transport::Other(words.number("a protocol number")?)),
            _ if tcp_word(word, words, &mut tcp)? || ip_word(word, words, &mut spec)? => {}
            _ => return Err(FrameError::new(format!("unknown word `{word}`"))),
        }
    }
    match other {
        Some(transport) if tcp == TcpSpec::default() => spec.transport = transport,
        Some(_) => return Err(FrameError::new("TCP words beside `udp` or `proto`")),
        None => {
            while !tcp.options.len().is_multiple_of(4) {
                tcp.options.push(0);
            }
            spec.transport = Transport::Tcp(tcp);
        }
    }
    while !spec.ipv4_options.len().is_multiple_of(4) {
        spec.ipv4_options.push(0);
    }
    Ok(spec)
}

fn tcp_word(word: &str, words: &mut Words<'_>, tcp: &mut TcpSpec) -> Result<bool, FrameError> {
    match word {
        "seq" => tcp.sequence = words.number("a sequence number")?,
        "ack" => tcp.acknowledgment = Some(words.number("an acknowledgment number")?),
        "win" => tcp.window = words.number("a window")?,
        "nop" => tcp.options.push(1),
        "sackok" => tcp.options.extend([4, 2]),
        "mss" => {
            tcp.options.extend([2, 4]);
            tcp.options.extend(words.number::<u16>("a segment size")?.to_be_bytes());
        }
        "ws" => tcp.options.extend([3, 3, words.number("a window scale")?]),
        "ts" => {
            let pair = words.next("timestamps, as in `ts 100,0`")?;
            let (value, echo) =
                pair.split_once(',').ok_or_else(|| FrameError::new(format!("`ts {pair}`: write `ts 100,0`")))?;
            tcp.options.extend([8, 10]);
            for number in [value, echo] {
                let number: u32 = number.parse().map_err(|_| FrameError::new(format!("`{number}` is no timestamp")))?;
                tcp.options.extend(number.to_be_bytes());
            }
        }
        "opt" => tcp.options.extend(hex(words.next("hex digits")?)?),
        "-" => {}
        flags if flags.chars().all(|letter| "FSRPAUEC".contains(letter)) => tcp.flags.push_str(flags),
        _ => return Ok(false),
    }
    Ok(true)
}

fn ip_word(word: &str, words: &mut Words<'_>, spec: &mut IpSpec) -> Result<bool, FrameError> {
    match word {
        "ttl" => spec.ttl = words.number("a TTL")?,
        "df" => spec.dont_fragment = true,
        "options" => spec.ipv4_options.extend(hex(words.next("hex digits")?)?),
        "frag" => spec.fragment = Some(fragment(words)?),
        "hop" => spec.extensions.push(Extension::Hop),
        "dest" => spec.extensions.push(Extension::Destination),
        "route" => spec.extensions.push(Extension::Routing),
        "auth" => spec.extensions.push(Extension::Authentication),
        "mobility" => spec.extensions.push(Extension::Mobility),
        "payload" => spec.payload.extend(quoted(words.next("a quoted text")?)?),
        "bytes" => spec.payload.extend(hex(words.next("hex digits")?)?),
        "fill" => spec.payload.extend(vec![b'x'; words.number("a count")?]),
        "hello" => spec.payload.extend(hello(words.next("1.2 or 1.3")?)?),
        "record" => spec.payload.extend(record(words.number("a record type")?, words.number("a length")?)),
        "poke" => {
            let offset = words.number("an offset")?;
            spec.pokes.push((offset, hex(words.next("hex digits")?)?));
        }
        "cut" => spec.trims.push(Trim::Cut(words.number("a count")?)),
        "keep" => spec.trims.push(Trim::Keep(words.number("a count")?)),
        "pad" => spec.trims.push(Trim::Pad(words.number("a count")?)),
        other => match tag_type(other) {
            Some(tag) => spec.tags.push((tag, words.number("a VLAN number")?)),
            None => return Ok(false),
        },
    }
    Ok(true)
}

/// A TLS record (RFC 8446 section 5.1) of this type and length.
fn record(kind: u8, length: u16) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3];
    bytes.extend(length.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(length), b'x');
    bytes
}

/// A ClientHello (RFC 8446 section 4.1.2) with one cipher suite and, for TLS 1.3, one extension.
fn hello(version: &str) -> Result<Vec<u8>, FrameError> {
    let extensions: &[u8] = match version {
        "1.3" => &[0, 7, 0, 43, 0, 3, 2, 3, 4],
        "1.2" => &[],
        other => return Err(FrameError::new(format!("`hello {other}`: write `hello 1.3` or `hello 1.2`"))),
    };
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], extensions].concat();
    let length = u8::try_from(body.len()).map_err(|_| FrameError::new("the hello is too long"))?;
    Ok([&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat())
}

fn fragment(words: &mut Words<'_>) -> Result<(u16, bool), FrameError> {
    let Some(word) = words.peek().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) else {
        return Ok((0, true));
    };
    words.at += 1;
    let (number, more) = word.strip_suffix('+').map_or((word, false), |number| (number, true));
    let offset = number.parse().map_err(|_| FrameError::new(format!("`{word}` is no fragment offset")))?;
    Ok((offset, more))
}

fn is_endpoint(word: &str) -> bool {
    word.contains([':', '.']) && !word.starts_with('"')
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS6]:PORT` or `:PORT`.
fn endpoint(word: &str, (address, port): (IpAddr, u16)) -> Result<(IpAddr, u16), FrameError> {
    if let Ok(both) = word.parse::<SocketAddr>() {
        return Ok((both.ip(), both.port()));
    }
    if let Ok(alone) = word.parse::<IpAddr>() {
        return Ok((alone, port));
    }
    if let Some(Ok(port)) = word.strip_prefix(':').map(str::parse) {
        return Ok((address, port));
    }
    Err(FrameError::new(format!("`{word}` is no address, no address with port and no `:PORT`")))
}

fn duration(text: &str) -> Result<Duration, FrameError> {
    let units = [("ms", 1_000_000), ("us", 1_000), ("ns", 1), ("s", 1_000_000_000)];
    let wrong = || FrameError::new(format!("`+{text}` is no time: write `+30ms`, `+2s` or `+500us`"));
    let (number, unit) = units.iter().find_map(|(name, ns)| Some((text.strip_suffix(name)?, *ns))).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_nanos(number.saturating_mul(unit)))
}

fn hex(text: &str) -> Result<Vec<u8>, FrameError> {
    let wrong = || FrameError::new(format!("`{text}` are no pairs of hex digits"));
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2)).ok_or_else(wrong)?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn quoted(word: &str) -> Result<Vec<u8>, FrameError> {
    let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.ok_or_else(|| FrameError::new(format!("{word} is not in quotes")))?;
    let mut bytes = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend(c.to_string().into_bytes());
            continue;
        }
        bytes.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('"') => b'"',
            Some('\\') => b'\\',
            Some('x') => {
                let pair: String = chars.by_ref().take(2).collect();
                let byte = hex(&pair)?;
                *byte.first().ok_or_else(|| FrameError::new("`\\x` wants two hex digits"))?
            }
            other => return Err(FrameError::new(format!("unknown escape `\\{}`", other.unwrap_or(' ')))),
        });
    }
    Ok(bytes)
}
