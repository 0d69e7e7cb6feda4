//! Runs the shipped `sensor` binary in a lab's server namespace, with paths of its own, and talks to it the way an
//! operator does: by its command line.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use super::process::Process;
use super::topology::SERVER_INTERFACE;
use super::{Lab, Role, sibling, wait_until};
use crate::lab::address::{PLAIN_PORT, TLS_PORT};

/// How long the sensor may take to load its program and answer.
const READY: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM.
const END: Duration = Duration::from_secs(10);

/// Where its metrics are scraped, inside the server namespace.
pub const METRICS: &str = "127.0.0.1:9640";

/// How to run the sensor.
#[derive(Clone, Debug)]
pub struct SensorOptions {
    /// The binary under test.
    pub binary: PathBuf,
    /// Interface of the server namespace that it watches.
    pub interface: String,
    /// Act, or only say what it would do.
    pub enforce: bool,
    /// Values for the `[tunables]` table.
    pub tunables: Vec<(String, u64)>,
    /// More lines for the configuration file, before its `[tunables]` table.
    pub config: String,
    /// More flags for `sensor run`.
    pub flags: Vec<String>,
}

impl SensorOptions {
    /// The binary named by `SENSOR_BIN`, or the one built beside this program; enforcing, with default tunables.
    ///
    /// # Errors
    /// When there is no such binary.
    pub fn built() -> Result<Self> {
        let binary = match std::env::var_os("SENSOR_BIN") {
            Some(path) => PathBuf::from(path),
            None => sibling("sensor")?,
        };
        Ok(Self::of(binary))
    }

    /// The given binary, enforcing, with default tunables.
    pub fn of(binary: PathBuf) -> Self {
        Self {
            binary,
            interface: SERVER_INTERFACE.to_owned(),
            enforce: true,
            tunables: Vec::new(),
            config: String::new(),
            flags: Vec::new(),
        }
    }

    /// Sets one tunable in the configuration file.
    #[must_use]
    pub fn tune(mut self, name: &str, value: u64) -> Self {
        self.tunables.push((name.to_owned(), value));
        self
    }
}

/// A running sensor.
#[derive(Debug)]
pub struct Sensor {
    options: SensorOptions,
    process: Process,
    paths: Paths,
}

/// Where a lab's sensor keeps its things: all inside the lab's folder.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Configuration file.
    pub config: PathBuf,
    /// Control socket.
    pub socket: PathBuf,
    /// Store.
    pub state: PathBuf,
    /// The private BPF file system with the pins.
    pub bpffs: PathBuf,
}

impl Paths {
    fn in_lab(lab: &Lab) -> Result<Self> {
        let dir = lab.dir();
        let bpf = dir.join("bpf");
        if !bpf.exists() {
            fs::create_dir(&bpf).context("create the folder for the private bpffs")?;
            mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&Path>)
                .with_context(|| format!("mount a bpffs on {}", bpf.display()))?;
        }
        Ok(Self {
            config: dir.join("sensor.toml"),
            socket: dir.join("sensor.sock"),
            state: dir.join("state"),
            bpffs: bpf,
        })
    }
}

impl Sensor {
    /// Starts the sensor and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time; the error holds the end of its log.
    pub fn start(lab: &Lab, options: SensorOptions) -> Result<Self> {
        let mut sensor = Self::launch(lab, options)?;
        let mut ended = None;
        let ready = wait_until(READY, || {
            ended = sensor.process.ended();
            ended.is_some() || sensor.ask(lab, &["status"]).is_ok_and(|status| status["ready"] == true)
        });
        if let Some(status) = ended {
            bail!("the sensor ended with {status}:\n{}", sensor.process.log_tail(20));
        }
        if !ready {
            bail!("the sensor is not ready after {READY:?}:\n{}", sensor.process.log_tail(20));
        }
        Ok(sensor)
    }

    /// Starts the sensor without waiting, for tests of its failures.
    ///
    /// # Errors
    /// When its files cannot be written or it cannot be started.
    pub fn launch(lab: &Lab, options: SensorOptions) -> Result<Self> {
        let paths = Paths::in_lab(lab)?;
        fs::write(&paths.config, config(&options)).context("write the sensor's configuration")?;
        let mut command = Command::new(&options.binary);
        command.arg("--socket").arg(&paths.socket).args(["run", "--interface", &options.interface]);
        command.arg("--config").arg(&paths.config);
        command.arg("--bpffs").arg(&paths.bpffs).arg("--state-dir").arg(&paths.state);
        for port in [TLS_PORT, PLAIN_PORT] {
            command.arg("--service").arg(port.to_string());
        }
        command.arg("--metrics").arg(METRICS);
        if options.enforce {
            command.arg("--enforce");
        }
        command.args(&options.flags);
        // The shell that runs the lab may itself be an SSH session; its peer is none of the lab's.
        command.env_remove("SSH_CONNECTION").env_remove("SSH_CLIENT");
        let process = lab.spawn(Role::Server, "sensor", command)?;
        Ok(Self { options, process, paths })
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Runs one command of the sensor's CLI and returns its output, whatever the exit status.
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub fn cli(&self, lab: &Lab, arguments: &[&str]) -> Result<Output> {
        let mut all: Vec<OsString> = vec!["--socket".into(), self.paths.socket.clone().into()];
        all.extend(arguments.iter().map(OsString::from));
        lab.output(Role::Server, &self.options.binary, &all)
    }

    /// Runs a reading command with `--json` and returns what it printed.
    ///
    /// # Errors
    /// When it fails or prints something else than JSON.
    pub fn ask(&self, lab: &Lab, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.cli(lab, &all)?;
        if !output.status.success() {
            bail!("`sensor {}`: {}", all.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("`sensor {}` printed no JSON", all.join(" ")))
    }

    /// Ends it by SIGTERM. Its program stays attached.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop(END)
    }

    /// Removes program and pins by `sensor detach`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn detach(&self, lab: &Lab) -> Result<()> {
        let arguments: Vec<OsString> = vec![
            "detach".into(),
            "--interface".into(),
            OsString::from(&self.options.interface),
            "--bpffs".into(),
            self.paths.bpffs.clone().into(),
        ];
        let output = lab.output(Role::Server, &self.options.binary, &arguments)?;
        if !output.status.success() {
            bail!("`sensor detach` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

fn config(options: &SensorOptions) -> String {
    let mut text = format!("{}\n[tunables]\n", options.config);
    for (name, value) in &options.tunables {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}
