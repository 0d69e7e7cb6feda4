//! Flags of the commands that run the sensor itself. A flag that is given wins over the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How the program is attached to the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeFlag {
    /// Native if the driver can, generic (loudly) if not.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's common path: works everywhere, costs more.
    Generic,
}

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Flags of `sensor run`. `None` and empty lists mean: as the configuration says, or its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RunOptions {
    /// Interface whose ingress is watched
    #[arg(long, short, value_name = "NAME")]
    pub interface: Option<String>,
    /// Configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the program is attached
    #[arg(long, value_enum)]
    pub mode: Option<ModeFlag>,
    /// Carry out verdicts; without it rules only count what they would refuse
    #[arg(long, conflicts_with = "dry_run")]
    pub enforce: bool,
    /// Refuse nothing, whatever the configuration says
    #[arg(long)]
    pub dry_run: bool,
    /// TCP port of a model server to watch; may be repeated
    #[arg(long = "service", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub services: Vec<u16>,
    /// Where program and tables are pinned, on a BPF file system
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
    /// Where state is kept across restarts
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address for Prometheus to scrape
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Form of the log on standard error
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Where the control socket is made; from the global `--socket`.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
}

/// Flags of `sensor detach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DetachOptions {
    /// Interface to detach from; without it every interface the sensor is attached to
    #[arg(long, short, value_name = "NAME")]
    pub interface: Option<String>,
    /// Configuration file that says where the pins are
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where program and tables are pinned, on a BPF file system
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
}

/// Flags of `sensor doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DoctorOptions {
    /// Interface that is, or is to be, watched
    #[arg(long, short, value_name = "NAME")]
    pub interface: Option<String>,
    /// Configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where program and tables are pinned, on a BPF file system
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the daemon answers; from the global `--socket`.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
}
