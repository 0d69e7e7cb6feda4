//! A lab: network namespaces with a server, a router, direct users, relay exits and a harvester, with real distance
//! between them. Owns what is started in it and takes everything down when dropped.

pub mod address;
pub mod cleanup;
pub mod namespace;
pub mod process;
pub mod sensor;
mod syscall;
pub mod topology;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::delay::{LinePlan, LinkPlan};
use address::distances;
use cleanup::LabId;
use namespace::{Direction, Namespace};
use process::{Process, Start};
pub(crate) use syscall::{become_punctual, open_tun, set_nice};
use topology::{EXITS_JOINT, HARVESTER_JOINT, Joint, ROUTER_INTERFACE, USERS_JOINT, exit_addresses, user_addresses};

/// A namespace of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The host with the model server and the sensor.
    Server,
    /// The router before the server.
    Net,
    /// Direct clients, each on an address of its own.
    Users,
    /// Relay exits, each on an address of its own.
    Exits,
    /// The relays' customer.
    Harvester,
}

impl Role {
    /// The name at the end of the namespace's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Net => "net",
            Self::Users => "users",
            Self::Exits => "exits",
            Self::Harvester => "harvester",
        }
    }
}

/// Round trips in milliseconds, drawn for each address.
#[derive(Clone, Debug)]
pub struct Distance {
    /// Direct user to server.
    pub user: RangeInclusive<f64>,
    /// Relay exit to server.
    pub exit: RangeInclusive<f64>,
    /// Harvester to relay exit: what a relay cannot hide.
    pub leg: RangeInclusive<f64>,
    /// Largest random extra delay of a packet, one way. Order within an address is kept.
    pub jitter_ms: f64,
}

impl Default for Distance {
    fn default() -> Self {
        Self { user: 5.0..=80.0, exit: 2.0..=15.0, leg: 60.0..=120.0, jitter_ms: 0.0 }
    }
}

/// Size and shape of a lab.
#[derive(Clone, Debug)]
pub struct LabPlan {
    /// Same seed, same distances and same behaviour.
    pub seed: u64,
    /// Direct IPv4 users.
    pub users: usize,
    /// Direct IPv6 users.
    pub users_v6: usize,
    /// Addresses for a flash crowd.
    pub crowd: usize,
    /// Relay exits; 0 leaves out the namespaces `exits` and `harvester`.
    pub relays: usize,
    /// Distances through the delay line; none joins the users by a plain veth at once.
    pub distance: Option<Distance>,
    /// Leave everything running when the lab is dropped.
    pub keep: bool,
}

impl LabPlan {
    /// Server, router and a few users without distance: starts in a fraction of a second, for tests that count.
    pub fn small() -> Self {
        Self { seed: 1, users: 8, users_v6: 4, crowd: 0, relays: 0, distance: None, keep: false }
    }
}

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    plan: LabPlan,
    spaces: BTreeMap<Role, Namespace>,
    line: Option<Process>,
}

impl Lab {
    /// Builds the namespaces and starts the delay line.
    ///
    /// # Errors
    /// When not root, or when namespaces, veth or TUN are not to be had. What was made until then is removed.
    pub fn start(plan: &LabPlan) -> Result<Self> {
        let id = LabId::claim()?;
        match topology::build(&id, plan) {
            Ok(spaces) => {
                let mut lab = Self { id, plan: plan.clone(), spaces, line: None };
                lab.start_line()?;
                Ok(lab)
            }
            Err(error) => {
                let _ = cleanup::take_down(&id);
                Err(error)
            }
        }
    }

    /// The plan it was built from.
    pub fn plan(&self) -> &LabPlan {
        &self.plan
    }

    /// One namespace.
    ///
    /// # Panics
    /// When the plan left that role out.
    pub fn space(&self, role: Role) -> &Namespace {
        self.spaces.get(&role).unwrap_or_else(|| panic!("this lab has no {} namespace", role.name()))
    }

    /// Folder for files of this lab; removed with it.
    pub fn dir(&self) -> PathBuf {
        self.id.dir()
    }

    /// Starts a process in a namespace. Its output goes to `NAME.log` in the lab's folder.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&self, role: Role, name: &str, command: Command) -> Result<Process> {
        self.spawn_nice(role, name, command, 0)
    }

    /// Like [`Lab::spawn`], with a nice value.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn_nice(&self, role: Role, name: &str, command: Command, nice: i32) -> Result<Process> {
        let log = self.dir().join(format!("{name}.log"));
        Process::start(&Start { name, namespace: self.space(role), log, nice, kept: self.plan.keep }, command)
    }

    /// Runs a program to its end in a namespace.
    ///
    /// # Errors
    /// When the program cannot be started. A failing exit status is in the output, not an error.
    pub fn output<S: AsRef<OsStr>>(&self, role: Role, program: impl AsRef<OsStr>, arguments: &[S]) -> Result<Output> {
        process::output(self.space(role), program.as_ref(), arguments)
    }

    /// Packets that the router sent towards the server since the lab began.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn sent_to_server(&self) -> Result<u64> {
        self.space(Role::Net).counter(ROUTER_INTERFACE, Direction::Sent)
    }

    /// Waits until no packet went towards the server for `quiet`, and returns the count.
    ///
    /// # Errors
    /// When traffic does not stop within `deadline`.
    pub fn wait_quiet(&self, quiet: Duration, deadline: Duration) -> Result<u64> {
        let mut last = (self.sent_to_server()?, Instant::now());
        let settled = wait_until(deadline, || {
            let Ok(now) = self.sent_to_server() else { return false };
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() >= quiet
        });
        if !settled {
            bail!("packets still go to the server after {deadline:?}");
        }
        Ok(last.0)
    }

    /// Takes the lab down, as dropping it does, but says when something stays behind.
    ///
    /// # Errors
    /// When a namespace or a file cannot be removed.
    pub fn end(mut self) -> Result<()> {
        // Nothing is left for the drop.
        self.plan.keep = true;
        cleanup::take_down(&self.id)
    }

    /// Cuts every way through the delay line, silently. Connections whose packets were dropped are sent again for
    /// minutes by the kernels at their ends: this is how a count of packets comes to an end.
    pub fn cut_line(&mut self) {
        if let Some(line) = self.line.take() {
            line.kill();
        }
    }

    /// Opens the ways through the delay line again.
    ///
    /// # Errors
    /// When the line does not start.
    pub fn mend_line(&mut self) -> Result<()> {
        if self.line.is_some() { Ok(()) } else { self.start_line() }
    }

    fn start_line(&mut self) -> Result<()> {
        let Some(distance) = &self.plan.distance else { return Ok(()) };
        let seed = self.plan.seed;
        let mut links =
            vec![self.link(&USERS_JOINT, distances(seed, user_addresses(&self.plan), &distance.user), distance)];
        if self.plan.relays > 0 {
            links.push(self.link(
                &EXITS_JOINT,
                distances(seed ^ 1, exit_addresses(&self.plan), &distance.exit),
                distance,
            ));
            links.push(self.link(
                &HARVESTER_JOINT,
                distances(seed ^ 2, exit_addresses(&self.plan), &distance.leg),
                distance,
            ));
        }
        let report = self.dir().join("line.json");
        // The report of an earlier line must not be taken for this one's.
        let _ = fs::remove_file(&report);
        let plan = LinePlan { seed, links, report: report.clone() };
        let file = self.dir().join("line-plan.json");
        fs::write(&file, serde_json::to_vec(&plan)?).context("write the delay line's plan")?;
        let mut command = Command::new(tool()?);
        command.arg("line").arg(&file);
        let mut line = self.spawn_nice(Role::Net, "line", command, -15)?;
        let mut ended = false;
        wait_until(Duration::from_secs(10), || {
            ended = line.ended().is_some();
            ended || report.exists()
        });
        if ended || !report.exists() {
            bail!("the delay line did not start: {}", line.log_tail(5));
        }
        self.line = Some(line);
        Ok(())
    }

    fn link(&self, joint: &Joint, round_trips: address::Distances, distance: &Distance) -> LinkPlan {
        let end = |(role, device): (Role, &str)| (namespace::path_of(self.space(role).name()), device.to_owned());
        LinkPlan { near: end(joint.near), far: end(joint.far), round_trips, jitter_ms: distance.jitter_ms }
    }

    /// Whether the delay line lost packets so far.
    ///
    /// # Errors
    /// When its report cannot be read.
    pub fn line_drops(&self) -> Result<u64> {
        if self.plan.distance.is_none() {
            return Ok(0);
        }
        let text = fs::read(self.dir().join("line.json")).context("read the delay line's report")?;
        let report: serde_json::Value = serde_json::from_slice(&text).context("parse the delay line's report")?;
        report["dropped"].as_u64().context("no `dropped` in the delay line's report")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.plan.keep && !std::thread::panicking() {
            cleanup::release(&self.id);
            return;
        }
        if let Err(error) = cleanup::take_down(&self.id) {
            eprintln!("lab: {error:#}; run `sensor-lab down`");
        }
    }
}

/// Polls `done` every few milliseconds until it is true or the deadline has passed; returns whether it became true.
pub fn wait_until(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The `sensor-lab` binary: this process, or the one built beside this test.
///
/// # Errors
/// When it was not built.
pub fn tool() -> Result<PathBuf> {
    sibling("sensor-lab")
}

/// A binary of this workspace in the folder where this one was built.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    if own.file_name() == Some(OsStr::new(name)) {
        return Ok(own);
    }
    let near = own.parent().into_iter().chain(own.parent().and_then(Path::parent));
    near.map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("no `{name}` near {}: run `cargo build` for the whole workspace", own.display()))
}
