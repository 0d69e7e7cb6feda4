//! What the host offers, asked before anything is loaded: kernel, capabilities, interface, who sits on it.

use std::fs;
use std::thread;

use aya::programs::loaded_programs;
use futures_util::TryStreamExt;
use nix::net::if_::if_nametoindex;
use nix::sys::utsname::uname;
use rtnetlink::packet_route::link::{LinkAttribute, LinkXdp, XdpAttached};

use super::XdpMode;
use super::refusal::OLDEST;
use crate::exit::{Code, Failure};

/// Bits of the capability sets (linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// An XDP program found on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    pub program_id: u32,
    pub mode: XdpMode,
    /// The program's name, where this process may ask for it.
    pub name: Option<String>,
}

/// Fails unless this kernel is new enough and this process may use it.
///
/// # Errors
/// Exit code 4, naming what is missing.
pub fn host() -> Result<(), Failure> {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    if version(&release).is_some_and(|version| version < OLDEST) {
        let (major, minor) = OLDEST;
        return Err(Failure::new(
            Code::Capability,
            format!("Linux {release} is too old: the sensor needs {major}.{minor} (bpf_loop, XDP with frags)"),
            "boot a newer kernel; Debian 12 and Ubuntu 22.10 have one",
        ));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lacking = effective(&status).map(lacking).unwrap_or_default();
    if !lacking.is_empty() {
        return Err(Failure::new(
            Code::Capability,
            format!("no permission: {} missing", lacking.join(", ")),
            "run as root, or give the binary its capabilities: `setcap cap_bpf,cap_net_admin,cap_perfmon+ep`",
        ));
    }
    Ok(())
}

/// The index of an interface.
///
/// # Errors
/// Exit code 4 if there is none of this name.
pub fn interface_index(interface: &str) -> Result<u32, Failure> {
    if_nametoindex(interface).map_err(|_| {
        let mut names: Vec<String> = nix::net::if_::if_nameindex()
            .map(|all| all.iter().map(|one| one.name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        Failure::new(
            Code::Capability,
            format!("no interface is called `{interface}`"),
            format!("give one of {} with --interface", names.join(", ")),
        )
    })
}

/// The XDP program on an interface, if there is one.
///
/// # Errors
/// If the kernel does not answer.
pub fn occupant(index: u32) -> Result<Option<Occupant>, Failure> {
    // A thread of its own: the caller may or may not be inside a runtime.
    let asked = thread::scope(|scope| scope.spawn(|| ask(index)).join());
    let found = match asked {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return Err(Failure::new(
                Code::Runtime,
                format!("the kernel does not say what runs on the interface: {error}"),
                "",
            ));
        }
        Err(_) => return Err(Failure::new(Code::Runtime, "asking the kernel about the interface failed", "")),
    };
    Ok(found.map(|(program_id, mode)| Occupant { program_id, mode, name: program_name(program_id) }))
}

/// That another program is there: exit code 6.
#[must_use]
pub fn busy(interface: &str, occupant: &Occupant) -> Failure {
    let name = occupant.name.as_deref().map(|name| format!(" `{name}`")).unwrap_or_default();
    Failure::new(
        Code::Busy,
        format!(
            "interface {interface} is busy: XDP program {}{name} is attached to it ({} mode), and the sensor displaces \
             nobody",
            occupant.program_id,
            occupant.mode.name(),
        ),
        format!(
            "stop the program's owner (`bpftool net show dev {interface}` helps to find it), or, if nobody owns it, \
             `ip link set dev {interface} xdp off`; or watch another interface"
        ),
    )
}

fn ask(index: u32) -> Result<Option<(u32, XdpMode)>, Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let mut links = handle.link().get().match_index(index).execute();
        let Some(link) = links.try_next().await? else { return Ok(None) };
        Ok(link.attributes.iter().find_map(|attribute| {
            if let LinkAttribute::Xdp(attributes) = attribute { attached(attributes) } else { None }
        }))
    })
}

fn attached(attributes: &[LinkXdp]) -> Option<(u32, XdpMode)> {
    let place = attributes.iter().find_map(|a| if let LinkXdp::Attached(place) = a { Some(place) } else { None })?;
    if *place == XdpAttached::None {
        return None;
    }
    let mode = if *place == XdpAttached::SocketBuffer { XdpMode::Generic } else { XdpMode::Native };
    let id = attributes.iter().find_map(|attribute| {
        let (LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id)) = attribute
        else {
            return None;
        };
        Some(*id).filter(|id| *id != 0)
    });
    Some((id.unwrap_or(0), mode))
}

fn program_name(id: u32) -> Option<String> {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id)?;
    program.name_as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The effective capabilities in `/proc/self/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// What a capability set lacks.
fn lacking(set: u64) -> Vec<&'static str> {
    let has = |bit: u32| set >> bit & 1 != 0;
    let mut lacking = Vec::new();
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        lacking.push("CAP_BPF");
    }
    if !has(CAP_NET_ADMIN) {
        lacking.push("CAP_NET_ADMIN");
    }
    // Without it the verifier forbids arithmetic on packet pointers.
    if !has(CAP_PERFMON) && !has(CAP_SYS_ADMIN) {
        lacking.push("CAP_PERFMON");
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::{effective, lacking, version};

    #[test]
    fn kernel_releases_are_read() {
        for (release, expected) in [
            ("6.1.0-37-amd64", Some((6, 1))),
            ("5.10.0", Some((5, 10))),
            ("6.18.44-fc-v657", Some((6, 18))),
            ("7.2-rc1", Some((7, 2))),
            ("unknown", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn capabilities_that_lack_are_named() {
        for (description, set, expected) in [
            ("root", "000001ffffffffff", vec![]),
            ("nobody", "0000000000000000", vec!["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]),
            ("the three that are needed", "000000c000001000", vec![]),
            ("the two of old notes", "0000008000001000", vec!["CAP_PERFMON"]),
            ("an older host's way", "0000000000201000", vec![]),
            ("network only", "0000004000001000", vec!["CAP_BPF"]),
        ] {
            let set = effective(&format!("Name:\tsensor\nCapEff:\t{set}\n")).expect("the line is there");
            assert_eq!(lacking(set), expected, "{description}");
        }
    }
}
