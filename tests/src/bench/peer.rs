//! Peers: what operators use today, set up as their own manuals say. One that is not installed is said to be missing.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use aya::maps::{Map, MapData, PerCpuHashMap, PerCpuValues};
use aya::programs::ProgramFd;

use super::sensor::{bpffs, program};
use super::subject::Subject;
use super::traffic::{Range, source, sources};
use crate::lab::address::PLAIN_PORT;
use crate::lab::process::installed;
use crate::lab::{Lab, Role};
use crate::live::attached;

/// Sources that xdp-filter denies where it denies many.
pub(super) const DENIED: u64 = 8_192;
/// Sources that the set of nftables denies.
const SET: u64 = 1 << 16;

/// Whether a subject may be missing.
pub(super) const fn is_peer(subject: Subject) -> bool {
    needed(subject).is_some()
}

const fn needed(subject: Subject) -> Option<&'static str> {
    match subject {
        Subject::XdpFilterPort | Subject::XdpFilterAddress | Subject::XdpFilterAddresses => Some("xdp-filter"),
        Subject::NftDrop | Subject::NftSet | Subject::NftMeter => Some("nft"),
        Subject::Floor | Subject::Parse | Subject::Lru | Subject::Sensor(_) | Subject::Nothing => None,
    }
}

/// Fails if the subject's program is not installed.
pub(super) fn expect_program(subject: Subject) -> Result<()> {
    match needed(subject) {
        Some(program) if !installed(program) => bail!("`{program}` is not installed: `cargo xtask setup` brings it"),
        _ => Ok(()),
    }
}

fn shell(lab: &Lab, script: &str) -> Result<()> {
    let output = lab.output(Role::Server, "sh", &["-ec", script])?;
    if !output.status.success() {
        let both = [output.stderr, output.stdout].concat();
        bail!("{}", String::from_utf8_lossy(&both).trim());
    }
    Ok(())
}

/// Makes an interface take frames without a program: GRO gives it a receive queue that is polled.
pub(super) fn take_frames(lab: &Lab, interface: &str) -> Result<()> {
    shell(lab, &format!("ethtool -K {interface} gro on"))
}

/// Loads xdp-filter. It pins below `/sys/fs/bpf`, which is the lab's own there, so that all goes with the lab.
pub(super) fn xdp_filter(lab: &Lab, subject: Subject, interface: &str) -> Result<ProgramFd> {
    let (features, rule) = if subject == Subject::XdpFilterPort {
        ("tcp", format!("xdp-filter port {PLAIN_PORT} --mode dst --proto tcp"))
    } else {
        ("ipv4", format!("xdp-filter ip {} --mode src", source(Range::Denied, 0)))
    };
    let folder = bpffs(lab)?.join(interface);
    std::fs::create_dir(&folder).context("create a folder for the pins of xdp-filter")?;
    shell(
        lab,
        &format!(
            "exec unshare --mount sh -ec 'mount --bind {} /sys/fs/bpf; \
             xdp-filter load --mode native --policy allow --features {features} {interface}; {rule}'",
            folder.display()
        ),
    )?;
    if subject == Subject::XdpFilterAddresses {
        let pin = folder.join("xdp-filter/filter_ipv4");
        let data = MapData::from_pin(&pin).with_context(|| format!("open {}", pin.display()))?;
        let mut map: PerCpuHashMap<MapData, u32, u64> = Map::from_map_data(data)?.try_into()?;
        let key = |address: Ipv4Addr| u32::from_ne_bytes(address.octets());
        let flags: Vec<u64> =
            map.get(&key(source(Range::Denied, 0)), 0).context("the rule that it entered itself")?.to_vec();
        for number in 1..DENIED {
            let values = PerCpuValues::try_from(flags.clone()).context("a value for each CPU")?;
            map.insert(key(source(Range::Denied, number)), values, 0).context("deny one more source")?;
        }
    }
    let running = attached(lab, interface)?.context("xdp-filter is not attached")?;
    program(u32::try_from(running.id)?)
}

/// Gives nftables an ingress chain on the interface; whatever its rules leave is dropped at its end.
pub(super) fn nft(lab: &Lab, subject: Subject, interface: &str) -> Result<()> {
    take_frames(lab, interface)?;
    let mut text = format!("table netdev {interface} {{\n");
    let rule = if subject == Subject::NftSet {
        let elements: Vec<String> = sources(Range::Denied, SET).iter().map(|net| net.addr().to_string()).collect();
        let elements = elements.join(", ");
        let _ = writeln!(text, "set denied {{\ntype ipv4_addr\nsize {SET}\nelements = {{ {elements} }}\n}}");
        "ip saddr @denied drop\n"
    } else if subject == Subject::NftMeter {
        text.push_str("set metered {\ntype ipv4_addr\nsize 1048576\nflags dynamic,timeout\ntimeout 10m\n}\n");
        "update @metered { ip saddr limit rate over 10/second } drop\n"
    } else {
        ""
    };
    let _ = write!(
        text,
        "chain ingress {{\ntype filter hook ingress device \"{interface}\" priority 0\npolicy drop\n{rule}}}\n}}\n"
    );
    let file = lab.dir().join(format!("{interface}.nft"));
    std::fs::write(&file, text).context("write rules for nft")?;
    shell(lab, &format!("exec nft -f {}", file.display()))
}
