//! Named network namespaces: creation, work inside them, and configuration by `ip -batch`.
//! Refuses to decide what goes into a namespace: that is `topology`.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

/// Where iproute2 keeps named namespaces.
const NETNS_DIR: &str = "/run/netns";

/// One named network namespace of a lab. It outlives this value; `cleanup` removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: OwnedFd,
}

impl Namespace {
    /// Creates the namespace with routing quiet and permissive: no router solicitations, no duplicate address
    /// detection, no reverse path filter.
    pub(crate) fn create(name: &str) -> Result<Self> {
        run_ip(&["netns", "add", name], "")?;
        let path = path_of(name);
        let file = File::open(&path).with_context(|| format!("open namespace {}", path.display()))?;
        let namespace = Self { name: name.to_owned(), file: file.into() };
        for key in ["all", "default"] {
            for (knob, value) in [
                ("accept_ra", "0"),
                ("autoconf", "0"),
                ("accept_dad", "0"),
                ("router_solicitations", "0"),
                // Reports of multicast groups go out at once, not seconds later among what a test counts.
                ("mldv1_unsolicited_report_interval", "1"),
                ("mldv2_unsolicited_report_interval", "1"),
            ] {
                namespace.sysctl(&format!("ipv6/conf/{key}/{knob}"), value)?;
            }
            for knob in ["rp_filter", "send_redirects", "accept_redirects"] {
                namespace.sysctl(&format!("ipv4/conf/{key}/{knob}"), "0")?;
            }
        }
        // Remembered round trips would make the second connection of an address differ from its first.
        namespace.sysctl("ipv4/tcp_no_metrics_save", "1")?;
        Ok(namespace)
    }

    /// The name that `ip netns exec` takes.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn duplicate(&self) -> Result<OwnedFd> {
        self.file.try_clone().context("duplicate a namespace descriptor")
    }

    /// Runs `work` on a thread of its own inside the namespace and returns what it returns.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or when `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter a namespace that we hold open");
                    work()
                })
                .join()
                .expect("the work inside the namespace panicked")
        })
    }

    /// Writes one knob below `/proc/sys/net`.
    pub(crate) fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        self.run(|| fs::write(&path, value)).with_context(|| format!("set {} to {value}", path.display()))
    }

    /// Applies lines of `ip` commands in one process.
    pub(crate) fn batch(&self, lines: &str) -> Result<()> {
        run_ip(&["-n", &self.name, "-batch", "-"], lines)
    }

    /// One statistics counter of an interface, such as `tx_packets`.
    ///
    /// # Errors
    /// When the interface or the counter does not exist.
    pub fn counter(&self, interface: &str, direction: Direction) -> Result<u64> {
        let table = self.run(|| fs::read_to_string("/proc/thread-self/net/dev")).context("read interface counters")?;
        let row = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))
            .with_context(|| format!("no interface {interface} in {}", self.name))?;
        let column = match direction {
            Direction::Received => 1,
            Direction::Sent => 9,
        };
        let value = row.split_whitespace().nth(column).context("short line in /proc/net/dev")?;
        value.parse().with_context(|| format!("counter {value} of {interface}"))
    }
}

/// Which packets of an interface to count.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    /// Packets that arrived.
    Received,
    /// Packets that left.
    Sent,
}

/// The path of a named namespace.
pub(crate) fn path_of(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// Names of all namespaces that start with `prefix`.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(NETNS_DIR) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

/// Removes a named namespace; one that is already gone is no error.
pub(crate) fn delete(name: &str) -> Result<()> {
    if !path_of(name).exists() {
        return Ok(());
    }
    run_ip(&["netns", "del", name], "")
}

fn run_ip(arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("run `ip`: install it with `apt-get install iproute2`")?;
    let mut stdin = child.stdin.take().expect("stdin was piped");
    stdin.write_all(input.as_bytes()).context("write to `ip -batch`")?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for `ip`")?;
    if !output.status.success() {
        bail!("`ip {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
