//! The sensor as shipped: its own daemon with its default configuration, attached by itself. Several may run, each on
//! an interface of its own with rules of its own; those that are not measured are stopped meanwhile.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::maps::MapData;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramFd, loaded_programs};
use ipnet::IpNet;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sensor::control::client::call;
use sensor::control::protocol::{Answer, Request, Status};
use serde_json::Value;

use super::feeder::pin;
use crate::lab::address::{PLAIN_PORT, TLS_PORT};
use crate::lab::process::Process;
use crate::lab::{Lab, Role, wait_until};

/// The pinned link, beside the pinned maps.
const LINK: &str = "link";
/// How long the sensor may take to load its program and answer.
const READY: Duration = Duration::from_secs(60);
/// How long rules may take to stand in the kernel once they were taken.
const RULES: Duration = Duration::from_secs(60);
/// How long it may take to end after SIGTERM.
const END: Duration = Duration::from_secs(20);
/// How long rules given to a sensor hold, seconds: longer than any run.
const TTL_S: u64 = 86_400;

/// A running sensor.
pub(super) struct Instance {
    binary: PathBuf,
    socket: PathBuf,
    pins: PathBuf,
    process: Process,
}

/// How to start one.
pub(super) struct Plan<'a> {
    /// The binary.
    pub(super) binary: &'a Path,
    /// Names its files.
    pub(super) name: &'a str,
    /// Interface of the server namespace.
    pub(super) interface: &'a str,
    /// Lines of its configuration file; none: as shipped.
    pub(super) config: &'a str,
    /// Port of its metrics on the loopback interface of the server namespace.
    pub(super) port: u16,
    /// Services; none: the lab's two.
    pub(super) services: &'a [u16],
}

/// The lab's private BPF file system, mounted if need be.
pub(super) fn bpffs(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.dir().join("bpf");
    if !folder.exists() {
        fs::create_dir(&folder).context("create the folder for the private bpffs")?;
        mount(Some("bpf"), &folder, Some("bpf"), MsFlags::empty(), None::<&Path>)
            .with_context(|| format!("mount a bpffs on {}", folder.display()))?;
    }
    Ok(folder)
}

impl Instance {
    /// Starts a sensor and waits until it says that it is ready. Its daemon keeps to the CPU that is not measured.
    pub(super) fn start(lab: &Lab, plan: &Plan<'_>, cpu: usize) -> Result<Self> {
        let folder = lab.dir().join(plan.name);
        fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        let (config, socket, bpffs) = (folder.join("sensor.toml"), folder.join("sensor.sock"), bpffs(lab)?);
        fs::write(&config, plan.config).context("write the sensor's configuration")?;
        let mut command = Command::new(plan.binary);
        command.arg("--socket").arg(&socket).args(["run", "--enforce", "--interface", plan.interface]);
        command.arg("--config").arg(&config).arg("--bpffs").arg(&bpffs).arg("--state-dir").arg(folder.join("state"));
        command.arg("--metrics").arg(format!("127.0.0.1:{}", plan.port));
        let services = if plan.services.is_empty() { &[TLS_PORT, PLAIN_PORT] } else { plan.services };
        for port in services {
            command.arg("--service").arg(port.to_string());
        }
        command.env_remove("SSH_CONNECTION").env_remove("SSH_CLIENT");
        let process = lab.spawn(Role::Server, plan.name, command)?;
        let pins = bpffs.join("sensor").join(plan.interface);
        let mut instance = Self { binary: plan.binary.to_owned(), socket, pins, process };
        let mut ended = None;
        let ready = wait_until(READY, || {
            ended = instance.process.ended();
            ended.is_some() || instance.ask(lab, &["status"]).is_ok_and(|status| status["ready"] == true)
        });
        if ended.is_some() || !ready {
            bail!("the sensor {} is not ready:\n{}", plan.name, instance.process.log_tail(20));
        }
        instance.keep_to(cpu)?;
        Ok(instance)
    }

    /// Keeps every thread of the daemon to one CPU.
    fn keep_to(&self, cpu: usize) -> Result<()> {
        let folder = format!("/proc/{}/task", self.process.id());
        for task in fs::read_dir(&folder).with_context(|| format!("list {folder}"))?.flatten() {
            if let Some(Ok(id)) = task.file_name().to_str().map(str::parse) {
                pin(Pid::from_raw(id), cpu)?;
            }
        }
        Ok(())
    }

    /// Stops the daemon; its program stays in force.
    pub(super) fn pause(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// Lets the daemon go on.
    pub(super) fn resume(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// Ends the daemon; program and tables stay.
    pub(super) fn end(&self) -> Result<()> {
        self.resume()?;
        self.process.signal(Signal::SIGTERM)?;
        let folder = format!("/proc/{}/status", self.process.id());
        let gone = || fs::read_to_string(&folder).map_or(true, |status| status.contains("State:\tZ"));
        ensure!(wait_until(END, gone), "the sensor does not end within {END:?}");
        Ok(())
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The folder with its pinned link and maps.
    pub(super) fn pins(&self) -> &Path {
        &self.pins
    }

    /// The program that runs on the interface.
    pub(super) fn program(&self) -> Result<ProgramFd> {
        let link: FdLink = PinnedLink::from_pin(self.pins.join(LINK)).context("open the pinned link")?.into();
        let id = link.info().context("ask for the link's program")?.program_id();
        program(id)
    }

    /// Runs a reading command with `--json`.
    pub(super) fn ask(&self, lab: &Lab, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["--socket".to_owned(), self.socket.display().to_string()];
        all.extend(arguments.iter().map(|word| (*word).to_owned()));
        all.push("--json".to_owned());
        let output = lab.output(Role::Server, &self.binary, &all)?;
        if !output.status.success() {
            bail!("`sensor {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("the sensor prints JSON")
    }

    /// Its status, by the control socket.
    pub(super) fn status(&self) -> Result<Status> {
        match self.tell(&[Request::Status])?.pop() {
            Some(Answer::Status(status)) => Ok(*status),
            other => bail!("the sensor answers `status` with {other:?}"),
        }
    }

    /// Never refuse a prefix.
    pub(super) fn allow(&self, prefix: &str) -> Result<()> {
        self.tell(&[Request::Allow { prefix: prefix.to_owned(), note: "bench".to_owned(), ttl_s: Some(TTL_S) }])?;
        Ok(())
    }

    /// Refuses prefixes, by a list in a file, and waits until all stand in the kernel.
    pub(super) fn block(&self, lab: &Lab, prefixes: &[IpNet]) -> Result<()> {
        let list = self.socket.with_file_name("block.txt");
        let lines: Vec<String> = prefixes.iter().map(IpNet::to_string).collect();
        fs::write(&list, lines.join("\n")).context("write a list of prefixes")?;
        let ttl = format!("{TTL_S}s");
        let mut command: Vec<OsString> = vec!["--socket".into(), self.socket.clone().into(), "block".into()];
        command.extend(["--force", "--ttl", &ttl, "--reason", "bench", "--file"].map(OsString::from));
        command.push(list.into());
        let output = lab.output(Role::Server, &self.binary, &command)?;
        ensure!(output.status.success(), "`sensor block`: {}", String::from_utf8_lossy(&output.stderr).trim());
        let standing = || {
            let status = self.ask(lab, &["status"]).unwrap_or_default();
            let pending = status["rules_pending"].as_u64().unwrap_or_default();
            pending == 0 && status["rules"]["deny"].as_u64().is_some_and(|count| count >= prefixes.len() as u64)
        };
        ensure!(wait_until(RULES, standing), "{} rules do not stand after {RULES:?}", prefixes.len());
        Ok(())
    }

    fn tell(&self, requests: &[Request]) -> Result<Vec<Answer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("build a runtime")?;
        runtime.block_on(async {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                let answer = call(&self.socket, request).await;
                answers.push(answer.map_err(|error| anyhow!("{request:?}: {error:?}"))?.answer);
            }
            Ok(answers)
        })
    }
}

/// A program in the kernel.
pub(crate) fn program(id: u32) -> Result<ProgramFd> {
    let found = loaded_programs().flatten().find(|program| program.id() == id);
    found.with_context(|| format!("no program {id} in the kernel"))?.fd().context("open the program")
}

/// Bytes that the kernel holds for each map pinned in a folder.
pub(super) fn map_memory(pins: &Path) -> Result<BTreeMap<String, u64>> {
    let mut bytes = BTreeMap::new();
    for entry in fs::read_dir(pins).with_context(|| format!("list {}", pins.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == LINK || !entry.path().is_file() {
            continue;
        }
        let data = MapData::from_pin(entry.path()).with_context(|| format!("open the map {name}"))?;
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd()));
        let info = info.with_context(|| format!("ask for the memory of {name}"))?;
        let line = info.lines().find_map(|line| line.strip_prefix("memlock:")).context("no memlock")?;
        bytes.insert(name, line.trim().parse().context("memlock is a number")?);
    }
    Ok(bytes)
}
