//! Facts about this host, read from `/proc`, `/sys`, the kernel and the control socket. What cannot be read is `None`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::sys::utsname::uname;
use sensor_common::names;

use crate::cli::run::DoctorOptions;
use crate::config::{Config, DEFAULT_BPFFS};
use crate::control::client::{self, CallError};
use crate::control::protocol::{Answer, DEFAULT_SOCKET, Request, Status};
use crate::engine;
use crate::exit::Failure;
use crate::kernel::{probe, size};

/// See the module.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The configuration is in order, as far as there is one.
    pub config: Result<Option<PathBuf>, Failure>,
    pub release: String,
    /// Whether kernel and permissions let a program be loaded.
    pub host: Result<(), Failure>,
    pub has_btf: bool,
    /// `net.core.bpf_jit_enable`.
    pub jit: Option<u64>,
    pub bpffs: PathBuf,
    /// Whether a BPF file system is mounted there.
    pub bpffs_mounted: bool,
    pub clock: Option<String>,
    /// CPUs that are online.
    pub cpus: u32,
    /// Bytes that the kernel's tables take as configured, and the engine's tables when they are full.
    pub kernel_bytes: u64,
    pub engine_bytes: u64,
    /// Bytes free on the host, and what the control group leaves; `None`: no limit.
    pub available_bytes: Option<u64>,
    pub group_bytes: Option<u64>,
    /// `None`: no interface is named.
    pub interface: Option<Interface>,
    pub socket: PathBuf,
    pub daemon: Daemon,
}

/// The interface to be watched.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    pub name: String,
    /// Why there is none, if there is none.
    pub missing: Option<Failure>,
    pub state: String,
    pub is_loopback: bool,
    pub mtu: Option<u64>,
    /// Driver of its device; `None` for virtual ones.
    pub driver: Option<String>,
    pub receive_queues: usize,
    /// The XDP program on it.
    pub occupant: Option<Occupant>,
}

/// An XDP program on an interface.
#[derive(Clone, Debug)]
pub struct Occupant {
    pub is_sensor: bool,
    pub is_native: bool,
    /// That it is in the way.
    pub busy: Failure,
}

/// Who answers on the control socket.
#[derive(Clone, Debug)]
pub enum Daemon {
    Answers(Box<Status>),
    /// Nobody.
    Silent(String),
    Denied(String),
    /// Something that is not understood, or a refusal.
    Strange(String),
}

impl Facts {
    /// Looks at this host.
    #[must_use]
    pub fn read(options: &DoctorOptions) -> Self {
        let loaded = Config::file(options.config.as_deref());
        let config = loaded.as_ref().ok().and_then(Option::as_ref);
        let named = options.interface.clone().or_else(|| config.map(|config| config.interface.clone()));
        let bpffs = options.bpffs.clone().or_else(|| config.map(|config| config.bpffs.clone()));
        let bpffs = bpffs.unwrap_or_else(|| PathBuf::from(DEFAULT_BPFFS));
        let socket = options.socket.clone().or_else(|| config.map(|config| config.socket.clone()));
        let socket = socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
        let cpus = size::cpus();
        let capacity = config.map(|config| config.capacity).unwrap_or_default();
        let tunables = config.map(|config| config.tunables.clone()).unwrap_or_default();
        Self {
            release: uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default(),
            host: probe::host(),
            has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            jit: number("/proc/sys/net/core/bpf_jit_enable"),
            bpffs_mounted: is_bpffs(&bpffs),
            bpffs,
            clock: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            cpus,
            kernel_bytes: size::kernel_bytes(&capacity.sizes(cpus)),
            engine_bytes: engine::bytes_at_most(&tunables),
            available_bytes: available(&text("/proc/meminfo").unwrap_or_default()),
            group_bytes: group(&text("/proc/self/cgroup").unwrap_or_default()),
            interface: named.filter(|name| !name.is_empty()).map(|name| Interface::read(&name)),
            daemon: Daemon::ask(&socket),
            socket,
            config: loaded.map(|config| config.and_then(|config| config.path)),
        }
    }
}

impl Interface {
    fn read(name: &str) -> Self {
        let index = match probe::interface_index(name) {
            Ok(index) => index,
            Err(failure) => return Self { name: name.to_owned(), missing: Some(failure), ..Self::default() },
        };
        let folder = Path::new("/sys/class/net").join(name);
        let driver = fs::read_link(folder.join("device/driver")).ok();
        let queues = fs::read_dir(folder.join("queues")).into_iter().flatten().flatten();
        let receive = queues.filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-"));
        let occupant = probe::occupant(index).ok().flatten().map(|found| Occupant {
            is_sensor: found.name.as_deref() == Some(names::PROGRAM),
            is_native: found.mode == crate::kernel::XdpMode::Native,
            busy: probe::busy(name, &found),
        });
        Self {
            name: name.to_owned(),
            missing: None,
            state: text(folder.join("operstate")).unwrap_or_default(),
            // ARPHRD_LOOPBACK in linux/if_arp.h.
            is_loopback: number(folder.join("type")) == Some(772),
            mtu: number(folder.join("mtu")),
            driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            receive_queues: receive.count(),
            occupant,
        }
    }
}

impl Daemon {
    fn ask(socket: &Path) -> Self {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return Self::Strange("the runtime cannot start".to_owned());
        };
        match runtime.block_on(client::call(socket, &Request::Status)) {
            Ok(versioned) => match versioned.answer {
                Answer::Status(status) => Self::Answers(status),
                Answer::Explain(_)
                | Answer::Sources { .. }
                | Answer::Campaigns { .. }
                | Answer::Rules { .. }
                | Answer::Bulk(_)
                | Answer::Tunables { .. }
                | Answer::Done { .. } => Self::Strange("it answers something else".to_owned()),
            },
            Err(CallError::Unreachable(error)) => Self::Silent(error.to_string()),
            Err(CallError::Denied(error)) => Self::Denied(error.to_string()),
            Err(CallError::Refused(refusal)) => Self::Strange(refusal.error),
            Err(CallError::Strange(error)) => Self::Strange(error),
        }
    }
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Whether a path, or its nearest folder that exists, is on a BPF file system.
fn is_bpffs(path: &Path) -> bool {
    let nearest = path.ancestors().find(|folder| folder.exists());
    nearest.and_then(|folder| statfs(folder).ok()).is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// `MemAvailable` of `/proc/meminfo`, bytes.
pub(super) fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}

/// What this process's control group (version 2) and those above it leave, bytes; `None` without a limit.
fn group(own: &str) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = Path::new("/sys/fs/cgroup").join(path);
    let within = folder.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let left = |folder: &Path| {
        let most = number(folder.join("memory.max"))?;
        Some(most.saturating_sub(number(folder.join("memory.current")).unwrap_or(0)))
    };
    within.filter_map(left).min()
}
