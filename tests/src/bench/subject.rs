//! What is measured: floors, peers, the sensor and the same program on LRU hashes. Each receives on a veth of its own,
//! so that they can be measured in turn without being taken down.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aya::programs::{ProgramFd, XdpMode};
use ipnet::IpNet;
use nix::net::if_::if_nametoindex;

use super::feeder::{Feeder, Tool, on_cpu};
use super::lru::Lru;
use super::peer;
use super::sensor::{Instance, Plan};
use super::traffic::{Range, sources, unlisted};
use crate::lab::namespace::{Direction, Namespace};
use crate::lab::{Lab, Role};

/// The CPU that is measured.
pub(super) const MEASURED: usize = 0;
/// The CPU of everything else.
pub(super) const OTHER: usize = 1;

/// Rules of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rules {
    /// None.
    None,
    /// 1,000 addresses, none of a source that sends.
    Addresses1k,
    /// 100,000 of them.
    Addresses100k,
    /// 100,000 /24 prefixes, none of a source that sends.
    Prefixes100k,
    /// 65,536 addresses that send, a denied prefix, an allowed prefix.
    Hits,
    /// None, and tables that nothing else was measured with.
    Fresh,
    /// None, beside others that have some: its tables see what theirs do.
    Beside,
    /// No rule; limits on connections and requests of every source.
    Limits,
}

/// Something that receives frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A bare drop.
    Floor,
    /// Reads the source and drops.
    Parse,
    /// The sensor's program on LRU hashes.
    Lru,
    /// The sensor as shipped.
    Sensor(Rules),
    /// xdp-filter, feature tcp: denies the port.
    XdpFilterPort,
    /// xdp-filter, feature ipv4: denies one source.
    XdpFilterAddress,
    /// xdp-filter, feature ipv4: denies 8,192 sources.
    XdpFilterAddresses,
    /// nftables at ingress: drops everything.
    NftDrop,
    /// nftables at ingress: drops 65,536 sources of a set.
    NftSet,
    /// nftables at ingress: a rate limit for each source, in a dynamic set of 1,048,576.
    NftMeter,
    /// No program: the host's stack.
    Nothing,
}

impl Subject {
    /// Whether it is a program of its own that can be run.
    pub const fn is_program(self) -> bool {
        !matches!(self, Self::NftDrop | Self::NftSet | Self::NftMeter | Self::Nothing)
    }

    /// Short name for interfaces and files.
    const fn tag(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Parse => "parse",
            Self::Lru => "lru",
            Self::Sensor(Rules::None) => "clean",
            Self::Sensor(Rules::Fresh) => "fresh",
            Self::Sensor(Rules::Beside) => "beside",
            Self::Sensor(Rules::Addresses1k) => "deny1k",
            Self::Sensor(Rules::Addresses100k) => "deny100k",
            Self::Sensor(Rules::Prefixes100k) => "pfx100k",
            Self::Sensor(Rules::Hits) => "hits",
            Self::Sensor(Rules::Limits) => "limits",
            Self::XdpFilterPort => "xfport",
            Self::XdpFilterAddress => "xfaddr",
            Self::XdpFilterAddresses => "xfaddrs",
            Self::NftDrop => "nftdrop",
            Self::NftSet => "nftset",
            Self::NftMeter => "nftmeter",
            Self::Nothing => "nothing",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor",
            Self::Parse => "parse",
            Self::Lru => "lru",
            Self::Sensor(_) => "sensor",
            Self::XdpFilterPort => "xdp-filter port",
            Self::XdpFilterAddress => "xdp-filter address",
            Self::XdpFilterAddresses => "xdp-filter 8192 addresses",
            Self::NftDrop => "nft drop",
            Self::NftSet => "nft set 65536",
            Self::NftMeter => "nft meter",
            Self::Nothing => "no program",
        })
    }
}

impl Rules {
    /// As a parameter of a row.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None | Self::Fresh | Self::Beside => "none",
            Self::Addresses1k => "1000 addresses",
            Self::Addresses100k => "100000 addresses",
            Self::Prefixes100k => "100000 /24",
            Self::Hits => "65536 addresses, 2 prefixes",
            Self::Limits => "limits",
        }
    }

    const fn config(self) -> &'static str {
        if matches!(self, Self::Limits) {
            "[[tier]]\nname = \"default\"\nconnections_per_s = 100000000\nrequests_per_min = 1000000000\n"
        } else {
            ""
        }
    }

    fn fill(self, lab: &Lab, sensor: &Instance) -> Result<()> {
        match self {
            Self::None | Self::Fresh | Self::Beside | Self::Limits => Ok(()),
            Self::Addresses1k => sensor.block(lab, &unlisted(1_000, 32)),
            Self::Addresses100k => sensor.block(lab, &unlisted(100_000, 32)),
            Self::Prefixes100k => sensor.block(lab, &unlisted(100_000, 24)),
            Self::Hits => {
                let mut denied = sources(Range::Denied, 1 << 16);
                denied.push(Range::Covered.prefix().parse::<IpNet>().context("a prefix")?);
                sensor.block(lab, &denied)?;
                sensor.allow(&Range::Allowed.prefix())
            }
        }
    }
}

/// A pair of interfaces: frames sent into one arrive at the other.
pub(super) struct Link {
    /// Name in the server namespace.
    pub(super) name: String,
    /// Index of its peer in the router's namespace.
    pub(super) peer: u32,
    /// Keeps the peer able to take XDP frames.
    _taker: Feeder,
}

/// One subject, set up.
pub(super) struct Receiver {
    /// Where its frames arrive.
    pub(super) link: Link,
    /// Where frames arrive that are dropped once it has passed them.
    pub(super) ending: Option<(Link, Feeder)>,
    /// Its program, where it is one.
    pub(super) program: Option<ProgramFd>,
    /// Takes no fragments.
    pub(super) linear: bool,
    /// Its daemon.
    pub(super) sensor: Option<Instance>,
    _own: Option<Feeder>,
    _lru: Option<Lru>,
}

/// The lab with all subjects that were asked for.
pub(super) struct Arena {
    // Before the lab, so that programs go before their interfaces do.
    receivers: BTreeMap<Subject, Receiver>,
    /// Why a subject is not there.
    pub(super) missing: BTreeMap<Subject, String>,
    binary: PathBuf,
    /// The lab.
    pub(super) lab: Lab,
}

impl Arena {
    pub(super) fn new(lab: Lab, binary: PathBuf) -> Self {
        Self { receivers: BTreeMap::new(), missing: BTreeMap::new(), binary, lab }
    }

    /// The sensor under test.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(super) fn server(&self) -> &Namespace {
        self.lab.space(Role::Server)
    }

    pub(super) fn net(&self) -> &Namespace {
        self.lab.space(Role::Net)
    }

    /// Sets a subject up. A peer that cannot be had is noted as missing; a sensor that cannot is an error.
    pub(super) fn add(&mut self, subject: Subject) -> Result<()> {
        if self.receivers.contains_key(&subject) || self.missing.contains_key(&subject) {
            return Ok(());
        }
        match self.build(subject) {
            Ok(receiver) => {
                self.receivers.insert(subject, receiver);
            }
            Err(error) if peer::is_peer(subject) => {
                self.missing.insert(subject, format!("{error:#}"));
            }
            Err(error) => return Err(error.context(format!("set up {subject}"))),
        }
        Ok(())
    }

    /// A subject that was set up.
    pub(super) fn receiver(&self, subject: Subject) -> Option<&Receiver> {
        self.receivers.get(&subject)
    }

    /// Stops all daemons but those of these subjects.
    pub(super) fn only(&self, wanted: &[Subject]) -> Result<()> {
        for (subject, receiver) in &self.receivers {
            if let Some(sensor) = &receiver.sensor {
                if wanted.contains(subject) { sensor.resume()? } else { sensor.pause()? }
            }
        }
        Ok(())
    }

    /// A subject's daemon has ended.
    pub(super) fn forget(&mut self, subject: Subject) -> Result<()> {
        self.receivers.get_mut(&subject).context("the subject was set up")?.sensor = None;
        Ok(())
    }

    /// Frames that an interface of the server received.
    pub(super) fn received(&self, interface: &str) -> Result<u64> {
        self.server().counter(interface, Direction::Received)
    }

    fn build(&self, subject: Subject) -> Result<Receiver> {
        peer::expect_program(subject)?;
        let link = self.link(subject.tag())?;
        let mut receiver =
            Receiver { link, ending: None, program: None, linear: false, sensor: None, _own: None, _lru: None };
        let name = receiver.link.name.clone();
        match subject {
            Subject::Floor | Subject::Parse => {
                let mut own = Feeder::plain(if subject == Subject::Floor { Tool::Floor } else { Tool::Parse })?;
                self.attach(&mut own, &name)?;
                receiver.program = Some(own.program()?.fd()?.try_clone()?);
                receiver._own = Some(own);
            }
            Subject::Lru => {
                let lru = Lru::load()?;
                let program = lru.program()?;
                receiver.ending = Some(self.ending(subject, &program)?);
                receiver.program = Some(program);
                receiver._lru = Some(lru);
            }
            Subject::Sensor(rules) => {
                let port = 9700 + u16::try_from(self.receivers.len())?;
                let (binary, tag, config) = (&self.binary, subject.tag(), rules.config());
                let plan = Plan { binary, name: tag, interface: &name, config, port, services: &[] };
                let sensor = Instance::start(&self.lab, &plan, OTHER)?;
                rules.fill(&self.lab, &sensor)?;
                let program = sensor.program()?;
                receiver.ending = Some(self.ending(subject, &program)?);
                receiver.program = Some(program);
                receiver.sensor = Some(sensor);
            }
            Subject::XdpFilterPort | Subject::XdpFilterAddress | Subject::XdpFilterAddresses => {
                receiver.program = Some(peer::xdp_filter(&self.lab, subject, &name)?);
                receiver.linear = true;
            }
            Subject::NftDrop | Subject::NftSet | Subject::NftMeter => peer::nft(&self.lab, subject, &name)?,
            Subject::Nothing => peer::take_frames(&self.lab, &name)?,
        }
        Ok(receiver)
    }

    fn ending(&self, subject: Subject, program: &ProgramFd) -> Result<(Link, Feeder)> {
        let link = self.link(&format!("{}-e", subject.tag()))?;
        let mut ending = Feeder::plain(Tool::Ending)?;
        ending.aim(program)?;
        self.attach(&mut ending, &link.name)?;
        Ok((link, ending))
    }

    fn attach(&self, feeder: &mut Feeder, interface: &str) -> Result<()> {
        self.server().run(|| -> Result<()> {
            feeder.program()?.attach(interface, XdpMode::Driver).with_context(|| format!("attach to {interface}"))?;
            Ok(())
        })
    }

    /// Joins server and router by one more veth, with a queue for each CPU.
    fn link(&self, name: &str) -> Result<Link> {
        let far = format!("{name}-g");
        let net = self.net();
        self.server().batch(&format!(
            "link add {name} numrxqueues 2 numtxqueues 2 type veth peer name {far} numrxqueues 2 numtxqueues 2 netns {}\n\
             link set {name} addrgenmode none\nlink set {name} up\n",
            net.name()
        ))?;
        net.batch(&format!("link set {far} addrgenmode none\nlink set {far} up\n"))?;
        for (role, interface) in [(Role::Server, name), (Role::Net, &far)] {
            let output = self.lab.output(role, "ethtool", &["-L", interface, "rx", "2", "tx", "2"])?;
            if !output.status.success() {
                let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                // It has two already.
                if !cause.contains("not changed") && !cause.contains("unmodified") {
                    bail!("two queues for {interface}: {cause}");
                }
            }
        }
        let mut taker = Feeder::plain(Tool::Pass)?;
        let peer = on_cpu(net, MEASURED, || {
            taker.program()?.attach(&far, XdpMode::Driver).with_context(|| format!("attach to {far}"))?;
            if_nametoindex(far.as_str()).with_context(|| format!("index of {far}"))
        })?;
        Ok(Link { name: name.to_owned(), peer, _taker: taker })
    }
}
