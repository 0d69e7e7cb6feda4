//! What live tests share: a small lab with nginx and the sensor in it, clients that others wrote, and answers of the
//! sensor that are complete. Asserts nothing about what is right.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use sensor_common::names;
use sensor_common::settings::Settings;
use serde_json::Value;

use crate::executor::kernel::Wire;
use crate::lab::process::Process;
use crate::lab::sensor::{Paths, Sensor, SensorOptions};
use crate::lab::{Lab, LabPlan, Role, wait_until};
use crate::model::authority_file;
use crate::require::{Tier, require, require_program};
use crate::stage::start_nginx;

/// How long an answer of the sensor or of a client may take to become what it must be.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Without a packet for so long, traffic has ended.
const QUIET: Duration = Duration::from_millis(300);

/// A lab with a server that the sensor protects. Ends in the order of its fields.
#[derive(Debug)]
pub struct Live {
    /// The sensor; tests stop it and start it again.
    pub sensor: Sensor,
    /// Whoever serves; nginx, unless the test put the model server there.
    pub server: Process,
    /// The lab.
    pub lab: Lab,
    /// Packets sent towards the server before the sensor came.
    before: u64,
}

/// True when tests with nginx, curl and the sensor can run; says so otherwise.
///
/// # Panics
/// As [`require`].
pub fn possible(more: &[&str]) -> bool {
    let programs = ["nginx", "curl"].iter().chain(more);
    require(Tier::Net) && require(Tier::Bpf) && programs.into_iter().all(|program| require_program(Tier::Net, program))
}

impl Live {
    /// A small lab, nginx, and the sensor as built with its default options.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start() -> Result<Self> {
        Self::with(Lab::start(&LabPlan::small())?, SensorOptions::built()?)
    }

    /// nginx and the sensor in a lab that is there.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn with(lab: Lab, options: SensorOptions) -> Result<Self> {
        let server = start_nginx(&lab)?;
        Self::serving(lab, server, options)
    }

    /// The sensor before a server that is there.
    ///
    /// # Errors
    /// When it does not start.
    pub fn serving(lab: Lab, server: Process, options: SensorOptions) -> Result<Self> {
        let before = lab.wait_quiet(QUIET, DEADLINE)?;
        let sensor = Sensor::start(&lab, options)?;
        Ok(Self { sensor, server, lab, before })
    }

    /// Runs curl from an address of the users; more flags and URLs follow.
    ///
    /// # Errors
    /// When curl cannot be started.
    pub fn curl(&self, from: impl Into<IpAddr>, arguments: &[&str]) -> Result<Output> {
        let (from, ca) = (from.into().to_string(), authority_file(&self.lab.dir()).display().to_string());
        let mut all = vec!["--silent", "--show-error", "--fail", "--cacert", &ca, "--interface", &from];
        if !arguments.contains(&"--max-time") {
            all.extend(["--max-time", "20"]);
        }
        all.extend(arguments);
        self.lab.output(Role::Users, "curl", &all)
    }

    /// Whether nginx answers a client within a second.
    ///
    /// # Errors
    /// When curl cannot be started.
    pub fn is_served(&self, from: impl Into<IpAddr>, url: &str) -> Result<bool> {
        Ok(self.curl(from, &["--max-time", "1", url])?.stdout == b"served\n")
    }

    /// Asks the sensor for JSON.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        self.sensor.ask(&self.lab, arguments)
    }

    /// Runs a command of the sensor that must succeed.
    ///
    /// # Errors
    /// When it fails; the error is what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = self.sensor.cli(&self.lab, arguments)?;
        if !output.status.success() {
            bail!("`sensor {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until traffic has ended and the sensor has counted as many frames as were sent since it came; gives that
    /// number.
    ///
    /// # Errors
    /// When the counts do not become equal.
    pub fn settled(&self) -> Result<u64> {
        let sent = self.lab.wait_quiet(QUIET, DEADLINE)?.saturating_sub(self.before);
        let mut frames = Value::Null;
        let equal = wait_until(DEADLINE, || {
            frames = self.ask(&["status"]).map(|status| status["frames"].clone()).unwrap_or_default();
            frames == sent
        });
        if !equal {
            bail!("{sent} packets were sent, the sensor counts {frames}");
        }
        Ok(sent)
    }

    /// The source that an address belongs to, once everything sent is counted.
    ///
    /// # Errors
    /// When counts do not settle, or when the sensor does not know the source.
    pub fn source(&self, address: impl Into<IpAddr>) -> Result<Value> {
        self.settled()?;
        let name = match address.into() {
            IpAddr::V4(v4) => format!("{v4}/32"),
            IpAddr::V6(v6) => {
                let network = std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64);
                format!("{network}/64")
            }
        };
        let answer = self.ask(&["sources", "--limit", "1000", "--sort", "packets"])?;
        let sources = answer["sources"].as_array().context("no `sources` in the answer")?;
        let found = sources.iter().find(|source| source["source"] == name);
        found.cloned().with_context(|| format!("{name} is not among the sources: {answer}"))
    }

    /// Runs `client`, the only one that sends meanwhile, and gives the packets it sent.
    ///
    /// # Errors
    /// When traffic does not end.
    pub fn packets_of(&self, client: impl FnOnce()) -> Result<u64> {
        let before = self.settled()?;
        client();
        Ok(self.settled()? - before)
    }

    /// The rules in force of one kind.
    ///
    /// # Errors
    /// When the sensor does not answer.
    pub fn rules(&self, kind: &str) -> Result<Vec<Value>> {
        let answer = self.ask(&["rules", "--all", "--kind", kind])?;
        answer["rules"].as_array().cloned().context("no `rules` in the answer")
    }

    /// Id of the link by which the program is pinned to the interface.
    ///
    /// # Errors
    /// When there is no such pin.
    pub fn link_id(&self) -> Result<u32> {
        let link: FdLink =
            PinnedLink::from_pin(pin(self.sensor.paths(), "link")).context("open the pinned link")?.into();
        Ok(link.info().context("ask for the link's id")?.id())
    }

    /// The settings as the packet path reads them.
    ///
    /// # Errors
    /// When the map is not pinned.
    pub fn settings(&self) -> Result<Settings> {
        let data = MapData::from_pin(pin(self.sensor.paths(), names::SETTINGS)).context("open the pinned settings")?;
        let map: Array<MapData, Wire<Settings>> = Map::from_map_data(data)?.try_into()?;
        Ok(map.get(&0, 0)?.0)
    }

    /// Id and name of the XDP program on an interface of the server.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn attached(&self, interface: &str) -> Result<Option<Program>> {
        attached(&self.lab, interface)
    }
}

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its id in the kernel.
    pub id: u64,
    /// Its name; empty when the kernel does not tell.
    pub name: String,
}

/// The XDP program on an interface of the server, as iproute2 sees it.
///
/// # Errors
/// When `ip` fails.
pub fn attached(lab: &Lab, interface: &str) -> Result<Option<Program>> {
    let output = lab.output(Role::Server, "ip", &["-json", "-details", "link", "show", "dev", interface])?;
    let answer: Value = serde_json::from_slice(&output.stdout).context("`ip -json` prints JSON")?;
    let program = &answer[0]["xdp"]["prog"];
    let Some(id) = program["id"].as_u64() else { return Ok(None) };
    Ok(Some(Program { id, name: program["name"].as_str().unwrap_or_default().to_owned() }))
}

/// Everything pinned for the sensor, folders too; not the two files that the kernel itself puts there.
pub fn pins(paths: &Paths) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![paths.bpffs.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "debug") {
                continue;
            }
            folders.extend(Some(entry.path()).filter(|path| path.is_dir()));
            found.push(entry.path());
        }
    }
    found
}

/// A pin of the sensor on the server's interface.
fn pin(paths: &Paths, name: &str) -> PathBuf {
    paths.bpffs.join("sensor").join(crate::lab::topology::SERVER_INTERFACE).join(name)
}
