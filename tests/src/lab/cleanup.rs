//! Leaves the machine as it was: ends the processes of a lab, removes its namespaces, mounts and files; on drop, on
//! SIGINT and SIGTERM, and later for runs that were killed. Touches nothing that a lab did not make.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace::{delete, names, path_of};
use super::wait_until;

/// All namespaces of labs start with this, followed by the owner's process id and a number.
const PREFIX: &str = "sensorlab-";
/// Files of running labs, one folder for each.
const RUN_DIR: &str = "/run/sensor-lab";

static LIVE: Mutex<BTreeSet<LabId>> = Mutex::new(BTreeSet::new());

/// Names one lab on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LabId {
    owner: u32,
    number: u32,
}

impl LabId {
    /// Claims the next free number of this process and writes down who owns it.
    pub(crate) fn claim() -> Result<Self> {
        let owner = std::process::id();
        let mut live = LIVE.lock().expect("no holder panics");
        let number =
            (0..).find(|number| !live.contains(&Self { owner, number: *number })).expect("numbers never run out");
        let id = Self { owner, number };
        let dir = id.dir();
        fs::create_dir_all(&dir).with_context(|| format!("create {}: the lab needs root", dir.display()))?;
        fs::write(dir.join("owner"), start_time(owner).unwrap_or_default()).context("write the owner file")?;
        live.insert(id.clone());
        drop(live);
        watch_signals();
        Ok(id)
    }

    /// Folder with logs, plans, sockets and the private bpffs.
    pub(crate) fn dir(&self) -> PathBuf {
        Path::new(RUN_DIR).join(format!("{}-{}", self.owner, self.number))
    }

    /// Name of the namespace with the given role.
    pub(crate) fn namespace(&self, role: &str) -> String {
        format!("{}{role}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("{PREFIX}{}-{}-", self.owner, self.number)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let owner = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        Some(Self { owner, number })
    }

    fn owner_lives(&self) -> bool {
        let Some(now) = start_time(self.owner) else { return false };
        // A recycled process id has another start time.
        fs::read_to_string(self.dir().join("owner")).map_or(true, |then| then == now)
    }
}

/// Stops guarding the lab: it stays up when this process ends.
pub(crate) fn release(id: &LabId) {
    LIVE.lock().expect("no holder panics").remove(id);
}

/// Takes one lab down completely. Errors are returned at the end, after everything was tried.
pub(crate) fn take_down(id: &LabId) -> Result<()> {
    let spaces = names(&id.prefix());
    end_processes(&spaces);
    let mut outcome = Ok(());
    for space in &spaces {
        if let Err(error) = delete(space) {
            outcome = Err(error);
        }
    }
    let dir = id.dir();
    let bpf = dir.join("bpf");
    if bpf.exists() {
        // Not mounted is fine; the folder removal below reports what really stays behind.
        let _ = umount2(&bpf, MntFlags::MNT_DETACH);
    }
    if dir.exists()
        && let Err(error) = fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
    {
        outcome = Err(error);
    }
    release(id);
    outcome
}

/// Takes down every lab whose owner is gone and returns their names.
///
/// # Errors
/// When a namespace or folder cannot be removed.
pub fn take_down_leftovers() -> Result<Vec<String>> {
    let from_spaces = names(PREFIX);
    let from_dirs = fs::read_dir(RUN_DIR)
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>())
        .unwrap_or_default();
    let ids: BTreeSet<LabId> = from_spaces
        .iter()
        .filter_map(|name| LabId::parse(name.strip_prefix(PREFIX)?))
        .chain(from_dirs.iter().filter_map(|name| LabId::parse(name)))
        .collect();
    let mut removed = Vec::new();
    for id in ids.into_iter().filter(|id| !id.owner_lives()) {
        take_down(&id)?;
        removed.push(format!("{}-{}", id.owner, id.number));
    }
    Ok(removed)
}

/// Ends every process whose network namespace is one of `spaces`; these namespaces are the lab's own.
fn end_processes(spaces: &[String]) {
    let inodes: BTreeSet<u64> =
        spaces.iter().filter_map(|name| fs::metadata(path_of(name)).ok()).map(|meta| meta.ino()).collect();
    if inodes.is_empty() {
        return;
    }
    for pid in members(&inodes) {
        let _ = kill(pid, Signal::SIGTERM);
    }
    if !wait_until(Duration::from_secs(3), || members(&inodes).is_empty()) {
        for pid in members(&inodes) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        wait_until(Duration::from_secs(3), || members(&inodes).is_empty());
    }
}

fn members(inodes: &BTreeSet<u64>) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && !is_zombie(*pid))
        .filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|meta| inodes.contains(&meta.ino())))
        .map(|pid| Pid::from_raw(pid.cast_signed()))
        .collect()
}

fn is_zombie(pid: u32) -> bool {
    stat_field(pid, 0).is_none_or(|state| state == "Z")
}

/// Kernel start time of a process, in clock ticks since boot.
fn start_time(pid: u32) -> Option<String> {
    stat_field(pid, 19)
}

/// A field of `/proc/PID/stat`, counted from the state, which is the first after the parenthesised name.
fn stat_field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(index).map(str::to_owned)
}

/// Takes all live labs down when the user interrupts, then ends with the usual 128 + signal.
fn watch_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("build a signal runtime");
        let (ready, installed) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(end_on_signal(&ready)))
            .expect("start the signal thread");
        // Handlers must be in place before there is something to clean.
        let _ = installed.recv();
    });
}

async fn end_on_signal(ready: &std::sync::mpsc::Sender<()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).expect("catch SIGINT");
    let mut terminate = signal(SignalKind::terminate()).expect("catch SIGTERM");
    let _ = ready.send(());
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    let labs: Vec<LabId> = LIVE.lock().expect("no holder panics").iter().cloned().collect();
    eprintln!("\ninterrupted: taking the lab down");
    for id in labs {
        if let Err(error) = take_down(&id) {
            eprintln!("{error:#}");
        }
    }
    std::process::exit(code);
}
