//! The configuration file as it is written: keys, defaults, and where in the text something is wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use ipnet::IpNet;
use sensor_common::address::Prefix;
use sensor_common::capacity;
use serde::Deserialize;
use toml::Spanned;

use super::{Config, DEFAULT_BPFFS, DEFAULT_METRICS, DEFAULT_SERVICES, capacity as sizes, sorted};
use crate::cli::run::LogFormat;
use crate::control::protocol::DEFAULT_SOCKET;
use crate::engine::tier::{Tier, Tiers};
use crate::kernel::size::Capacity;
use crate::kernel::xdp::ModeChoice;
use crate::tunable::{TunableError, Tunables};

/// What is wrong, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1; `None` where no line is to blame.
    pub(super) line: Option<usize>,
    pub(super) text: String,
}

/// Every key of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    interface: Option<Spanned<String>>,
    mode: Option<Mode>,
    enforce: bool,
    services: Option<Spanned<Vec<Spanned<i64>>>>,
    allow: Vec<Spanned<String>>,
    metrics: Option<Spanned<String>>,
    metrics_public: bool,
    socket: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    bpffs: Option<PathBuf>,
    log_format: Option<Log>,
    capacity: BTreeMap<Spanned<String>, Spanned<i64>>,
    tunables: BTreeMap<Spanned<String>, Spanned<i64>>,
    tier: Vec<Spanned<Tier>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Auto,
    Native,
    Generic,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Log {
    Text,
    Json,
}

/// Reads and checks the text of a file.
pub(super) fn parse(text: &str) -> Result<Config, Fault> {
    let file: File = toml::from_str(text).map_err(|error| unread(text, &error))?;
    let at = |span: Range<usize>, fault: String| Fault { line: Some(line(text, span.start)), text: fault };
    let interface = match &file.interface {
        Some(name) => checked_interface(name.get_ref()).map_err(|fault| at(name.span(), fault))?.to_owned(),
        None => String::new(),
    };
    let services = match &file.services {
        None => DEFAULT_SERVICES.to_vec(),
        Some(list) if list.get_ref().is_empty() => {
            return Err(at(list.span(), "services is empty: name at least one TCP port".to_owned()));
        }
        Some(list) => {
            let port = |port: &Spanned<i64>| service(*port.get_ref()).map_err(|fault| at(port.span(), fault));
            list.get_ref().iter().map(port).collect::<Result<_, _>>()?
        }
    };
    let prefix = |entry: &Spanned<String>| allowed(entry.get_ref()).map_err(|fault| at(entry.span(), fault));
    let allow: Vec<Prefix> = file.allow.iter().map(prefix).collect::<Result<_, _>>()?;
    let metrics = match &file.metrics {
        None => Some(DEFAULT_METRICS),
        Some(value) => {
            metrics_address(value.get_ref(), file.metrics_public).map_err(|fault| at(value.span(), fault))?
        }
    };
    Ok(Config {
        path: None,
        interface,
        mode: file.mode.map_or(ModeChoice::Auto, ModeChoice::from),
        enforce: file.enforce,
        services: sorted(services),
        allow,
        tiers: tiers(text, file.tier)?,
        tunables: tuned(text, &file.tunables)?,
        capacity: sized(text, &file.capacity)?,
        metrics,
        metrics_public: file.metrics_public,
        socket: file.socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
        state_dir: file.state_dir.unwrap_or_else(|| PathBuf::from("/var/lib/sensor")),
        bpffs: file.bpffs.unwrap_or_else(|| PathBuf::from(DEFAULT_BPFFS)),
        log_format: file.log_format.map_or(LogFormat::Text, LogFormat::from),
    })
}

impl From<Mode> for ModeChoice {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

impl From<Log> for LogFormat {
    fn from(log: Log) -> Self {
        match log {
            Log::Text => Self::Text,
            Log::Json => Self::Json,
        }
    }
}

/// A name that the kernel would take for an interface (at most 15 bytes, no `/`, `:` or blank).
fn checked_interface(name: &str) -> Result<&str, String> {
    let fits = (1..=15).contains(&name.len()) && !name.contains(['/', ':']) && !name.contains(char::is_whitespace);
    if fits && name != "." && name != ".." {
        return Ok(name);
    }
    Err(format!("interface = {name:?} is no name of an interface: `ip link` lists those there are"))
}

fn service(port: i64) -> Result<u16, String> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("services: {port} is no TCP port: give 1 to 65535"))
}

fn allowed(text: &str) -> Result<Prefix, String> {
    let refuse = || {
        format!(
            "allow: {text:?} is no prefix: give an address or a prefix like \"203.0.113.7\", \"203.0.113.0/24\" or \
             \"2001:db8::/48\""
        )
    };
    let net: IpNet =
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| refuse())?;
    if net.trunc() != net {
        return Err(format!("allow: {text:?} has bits set behind its prefix length: give \"{}\"", net.trunc()));
    }
    Prefix::new(net.addr(), net.prefix_len()).ok_or_else(refuse)
}

fn metrics_address(text: &str, public: bool) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("metrics = {text:?} is no address with a port: give one like \"127.0.0.1:9464\", or \"off\"")
    })?;
    if !address.ip().is_loopback() && !public {
        return Err(format!(
            "metrics = {text:?} can be reached from outside: give a loopback address, or set metrics_public = true"
        ));
    }
    Ok(Some(address))
}

fn tuned(text: &str, given: &BTreeMap<Spanned<String>, Spanned<i64>>) -> Result<Tunables, Fault> {
    let mut tunables = Tunables::default();
    for (name, value) in given {
        let fault =
            |fault: String| Fault { line: Some(line(text, name.span().start)), text: format!("tunables: {fault}") };
        // Below zero is out of every range; the message shows what was written.
        let number = u64::try_from(*value.get_ref()).unwrap_or(u64::MAX);
        tunables.set(name.get_ref(), number).map_err(|error| match error {
            TunableError::Range { row_name, low, high, unit, .. } => {
                fault(format!("{row_name} = {} is out of range: give {low} to {high} {unit}", value.get_ref()))
            }
            unknown @ TunableError::Unknown { .. } => fault(unknown.to_string()),
        })?;
    }
    Ok(tunables)
}

fn sized(text: &str, given: &BTreeMap<Spanned<String>, Spanned<i64>>) -> Result<Capacity, Fault> {
    let mut capacity = Capacity::default();
    for (name, value) in given {
        sizes::set(&mut capacity, name.get_ref(), *value.get_ref())
            .map_err(|fault| Fault { line: Some(line(text, name.span().start)), text: fault })?;
    }
    Ok(capacity)
}

fn tiers(text: &str, given: Vec<Spanned<Tier>>) -> Result<Tiers, Fault> {
    let mut checked = Vec::new();
    let mut tiers = Tiers::default();
    // One more at a time, so that the tier to blame is known; there are few.
    for tier in given.into_iter().take(capacity::TIERS as usize + 1) {
        let start = tier.span().start;
        checked.push(tier.into_inner());
        tiers = Tiers::new(checked.clone())
            .map_err(|error| Fault { line: Some(line(text, start)), text: format!("tier: {error}") })?;
    }
    Ok(tiers)
}

/// What the TOML reader did not understand, with the key it stumbled over.
fn unread(text: &str, error: &toml::de::Error) -> Fault {
    let message = error.message().trim().replace("unknown field", "unknown key").replace('\n', " ");
    let Some(span) = error.span() else { return Fault { line: None, text: message } };
    let message = match key(text, span.start) {
        Some(key) if !message.starts_with("unknown key") && !message.starts_with("duplicate key") => {
            format!("{key}: {message}")
        }
        _ => message,
    };
    Fault { line: Some(line(text, span.start)), text: message }
}

/// The number of the line that holds a byte, counted from 1.
fn line(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

/// The key on the line that holds a byte, with the name of its table.
fn key(text: &str, position: usize) -> Option<String> {
    let before = text.get(..position)?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (key, _) = text.get(start..)?.lines().next()?.split_once('=')?;
    let header = before.lines().rev().map(str::trim).find(|line| line.starts_with('['));
    let table = header.map(|line| line.trim_matches(['[', ']']).trim()).filter(|name| !name.is_empty());
    let key = key.trim();
    Some(table.map_or_else(|| key.to_owned(), |table| format!("{table}.{key}")))
}
