//! Which tests can run here: a test that cannot says so and returns, unless the caller demanded its tier.

use std::path::Path;

use crate::lab::process::installed;

/// What a test needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Loading programs into the kernel.
    Bpf,
    /// Root, network namespaces, veth and TUN.
    Net,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Bpf => "bpf",
            Self::Net => "net",
        }
    }

    fn obstacle(self) -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("not root".to_owned());
        }
        match self {
            Self::Bpf if !Path::new("/sys/kernel/btf/vmlinux").exists() => {
                Some("this kernel has no BTF (/sys/kernel/btf/vmlinux)".to_owned())
            }
            Self::Bpf => None,
            Self::Net if !installed("ip") => Some("`ip` is not installed (apt-get install iproute2)".to_owned()),
            Self::Net if std::fs::File::open("/dev/net/tun").is_err() => {
                Some("/dev/net/tun cannot be opened".to_owned())
            }
            Self::Net => namespace_obstacle(),
        }
    }
}

/// Tries on a thread of its own, so that the caller stays where it is.
fn namespace_obstacle() -> Option<String> {
    let tried = std::thread::spawn(|| nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)).join();
    match tried {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("no network namespace to be had: {error}")),
        Err(_) => Some("the namespace probe panicked".to_owned()),
    }
}

/// True when tests of `tier` can run. Otherwise prints `SKIP tier: reason`.
///
/// # Panics
/// When the tier cannot run but `SENSOR_REQUIRE` (a comma list) names it.
pub fn require(tier: Tier) -> bool {
    let Some(reason) = tier.obstacle() else { return true };
    skip(tier.name(), &reason)
}

/// Like [`require`], for a program that the test drives.
///
/// # Panics
/// When it is not installed but `SENSOR_REQUIRE` names the tier.
pub fn require_program(tier: Tier, program: &str) -> bool {
    installed(program) || skip(tier.name(), &format!("`{program}` is not installed"))
}

fn skip(tier: &str, reason: &str) -> bool {
    let demanded = std::env::var("SENSOR_REQUIRE").unwrap_or_default();
    assert!(!demanded.split(',').any(|name| name.trim() == tier), "SENSOR_REQUIRE demands {tier}, but: {reason}");
    println!("SKIP {tier}: {reason}");
    false
}
