//! The only unsafe code of the lab: what a child does between fork and exec, and opening a TUN device.
//! Refuses to know about topologies or roles.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

/// How a child process starts.
pub(crate) struct Birth {
    /// Network namespace to enter, or none to stay.
    pub(crate) namespace: Option<OwnedFd>,
    /// Die (SIGKILL) when the thread that spawned the child ends.
    pub(crate) mortal: bool,
    /// Nice value from -20 to 19; ignored where it is not permitted. A negative one asks for a real-time priority first:
    /// where the kernel groups processes by session, nice says nothing against work in another terminal.
    pub(crate) nice: i32,
}

/// Makes `command` enter its namespace and process group right before exec.
pub(crate) fn prepare(command: &mut Command, birth: Birth) {
    command.process_group(0);
    let hook = move || {
        if let Some(namespace) = &birth.namespace {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        }
        if birth.mortal {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        }
        if birth.nice != 0 && !(birth.nice < 0 && real_time(libc::SCHED_RR, 1)) {
            // SAFETY: setpriority takes plain integers and touches no memory of ours.
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, birth.nice) };
        }
        Ok(())
    };
    // SAFETY: the hook makes only system calls; it neither allocates nor takes locks.
    unsafe { command.pre_exec(hook) };
}

/// Attaches to the existing TUN device `name` of the calling thread's network namespace.
/// Reads and writes carry whole IP packets and never block.
pub(crate) fn open_tun(name: &str) -> io::Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("interface name too long: {name}")));
    }
    // SAFETY: ifreq is a C struct of integers and bytes; all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and `request` lives through the call, which reads and writes one ifreq.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

/// Gives a thread or process a nice value from -20 to 19.
pub(crate) fn set_nice(id: i32, nice: i32) -> io::Result<()> {
    let id = libc::id_t::try_from(id).map_err(io::Error::other)?;
    // SAFETY: setpriority takes plain integers and touches no memory of ours.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, id, nice) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the calling thread a real-time priority so that its wake-ups are on time; false where not permitted.
pub(crate) fn become_punctual() -> bool {
    real_time(libc::SCHED_FIFO, 5)
}

/// Only a system call, so it may run between fork and exec.
fn real_time(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameter` lives through the call, which only reads it.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) == 0 }
}
