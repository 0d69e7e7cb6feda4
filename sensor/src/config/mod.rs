//! Configuration: a TOML file, and flags that win over it. Checked as a whole before anything starts or changes.
//!
//! `run`, `check-config` and `reload` all come through [`Config::load`] or [`Config::read`]. What is wrong is said with
//! file, line, key and what is allowed; nothing is guessed.

mod capacity;
mod file;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use sensor_common::address::Prefix;

use crate::cli::run::{LogFormat, ModeFlag, RunOptions};
use crate::engine::tier::Tiers;
use crate::exit::{Code, Failure};
use crate::kernel::size::Capacity;
use crate::kernel::xdp::ModeChoice;
use crate::tunable::{ROWS, Tunables};

/// The file that is read when none is named, if it exists.
pub const DEFAULT_PATH: &str = "/etc/sensor/sensor.toml";

/// TCP ports on which model servers and gateways commonly listen.
pub const DEFAULT_SERVICES: [u16; 10] = [80, 443, 3000, 5000, 8000, 8001, 8080, 8443, 11434, 30000];

/// The BPF file system that every host has.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";

/// Where metrics are served unless told otherwise.
pub const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// What the sensor does and where it keeps its things.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None`: flags and defaults only.
    pub path: Option<PathBuf>,
    /// Interface whose ingress is watched.
    pub interface: String,
    pub mode: ModeChoice,
    /// Carry out verdicts; `false`: dry run, they are only counted.
    pub enforce: bool,
    /// Watched TCP ports, ascending.
    pub services: Vec<u16>,
    /// Prefixes that nothing may refuse.
    pub allow: Vec<Prefix>,
    pub tiers: Tiers,
    pub tunables: Tunables,
    /// Entries of the kernel's tables.
    pub capacity: Capacity,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whether metrics may be served on an address that others can reach.
    pub metrics_public: bool,
    pub socket: PathBuf,
    pub state_dir: PathBuf,
    pub bpffs: PathBuf,
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the file and lays the command line over it.
    ///
    /// # Errors
    /// Exit code 3, naming file, line and key; 2 if no interface is named anywhere.
    pub fn load(flags: &RunOptions) -> Result<Self, Failure> {
        let path = match &flags.config {
            Some(path) => Some(path.clone()),
            None => Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists()),
        };
        let mut config = match &path {
            Some(path) => Self::read(path)?,
            None => Self::parse("", Path::new(DEFAULT_PATH))?,
        };
        config.overlay(flags)?;
        if config.interface.is_empty() {
            return Err(Failure::new(
                Code::Usage,
                "no interface is named",
                "give --interface NAME, or `interface = \"NAME\"` in the configuration; `ip link` lists them",
            ));
        }
        Ok(config)
    }

    /// The file that is named, or the default one if it exists; `None` without either.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn file(named: Option<&Path>) -> Result<Option<Self>, Failure> {
        let default = Some(Path::new(DEFAULT_PATH)).filter(|path| path.exists());
        named.or(default).map(Self::read).transpose()
    }

    /// Reads and checks one file.
    ///
    /// # Errors
    /// Exit code 3, naming file, line and key.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::new(Code::Config, format!("{}: {error}", path.display()), "name a file you may read with --config")
        })?;
        let mut config = Self::parse(&text, path)?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// Checks the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// Exit code 3, naming file, line and key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        file::parse(text).map_err(|fault| {
            let place = match fault.line {
                Some(line) => format!("{}:{line}", path.display()),
                None => path.display().to_string(),
            };
            let hint = "`sensor check-config FILE` checks a file; the example configuration explains every key";
            Failure::new(Code::Config, format!("{place}: {}", fault.text), hint)
        })
    }

    fn overlay(&mut self, flags: &RunOptions) -> Result<(), Failure> {
        // Destructured in full: a new flag must be noticed here.
        let RunOptions {
            interface,
            config: _,
            mode,
            enforce,
            dry_run,
            services,
            bpffs,
            state_dir,
            metrics,
            log_format,
            socket,
        } = flags.clone();
        let set = |place: &mut PathBuf, value: Option<PathBuf>| {
            if let Some(value) = value {
                *place = value;
            }
        };
        set(&mut self.socket, socket);
        set(&mut self.state_dir, state_dir);
        set(&mut self.bpffs, bpffs);
        if let Some(interface) = interface {
            self.interface = interface;
        }
        self.mode = mode.map_or(self.mode, ModeChoice::from);
        self.enforce = (self.enforce || enforce) && !dry_run;
        self.log_format = log_format.unwrap_or(self.log_format);
        if let Some(address) = metrics {
            if !address.ip().is_loopback() && !self.metrics_public {
                return Err(Failure::new(
                    Code::Usage,
                    format!("--metrics {address} can be reached from outside"),
                    "give a loopback address, or set `metrics_public = true` in the configuration",
                ));
            }
            self.metrics = Some(address);
        }
        if !services.is_empty() {
            self.services = sorted(services);
        }
        Ok(())
    }

    /// The keys that differ in `new` and take effect at the next start only.
    #[must_use]
    pub fn fixed(&self, new: &Self) -> Vec<&'static str> {
        [
            ("interface", self.interface != new.interface),
            ("mode", self.mode != new.mode),
            ("metrics", self.metrics != new.metrics),
            ("socket", self.socket != new.socket),
            ("state_dir", self.state_dir != new.state_dir),
            ("bpffs", self.bpffs != new.bpffs),
            ("log_format", self.log_format != new.log_format),
            ("capacity", self.capacity != new.capacity),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    /// This configuration with everything from `new` that may change while the sensor runs.
    #[must_use]
    pub fn adopt(&self, new: Self) -> Self {
        Self {
            path: new.path,
            enforce: new.enforce,
            services: new.services,
            allow: new.allow,
            tiers: new.tiers,
            tunables: new.tunables,
            ..self.clone()
        }
    }
}

impl From<ModeFlag> for ModeChoice {
    fn from(flag: ModeFlag) -> Self {
        match flag {
            ModeFlag::Auto => Self::Auto,
            ModeFlag::Native => Self::Native,
            ModeFlag::Generic => Self::Generic,
        }
    }
}

/// The tunables that differ: name, old and new value.
#[must_use]
pub fn retuned(old: &Tunables, new: &Tunables) -> Vec<(&'static str, u64, u64)> {
    let pair = |name: &'static str| Some((name, old.get(name)?, new.get(name)?));
    ROWS.iter().filter_map(|row| pair(row.name)).filter(|(_, old, new)| old != new).collect()
}

fn sorted(mut ports: Vec<u16>) -> Vec<u16> {
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests;
