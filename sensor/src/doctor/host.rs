//! Checks of the host: kernel, permissions, memory, clock, configuration, daemon.

use super::facts::{Daemon, Facts};
use super::{Check, Grade};
use crate::exit::Code;

/// Clock sources that are read without leaving the CPU: the packet path reads the time once a frame.
const QUICK_CLOCKS: [&str; 5] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![
        config(facts),
        kernel(facts),
        btf(facts),
        compiler(facts),
        bpffs(facts),
        memory(facts),
        clock(facts),
        daemon(facts),
    ]
}

fn config(facts: &Facts) -> Check {
    match &facts.config {
        Ok(Some(path)) => Check::ok("config", format!("{} is valid", path.display())),
        Ok(None) => Check::ok("config", "no file, defaults hold"),
        Err(failure) => Check::failure("config", failure),
    }
}

fn kernel(facts: &Facts) -> Check {
    match &facts.host {
        Ok(()) => Check::ok("kernel", format!("Linux {}, with all capabilities that are needed", facts.release)),
        Err(failure) => Check::failure("kernel", failure),
    }
}

fn btf(facts: &Facts) -> Check {
    if facts.has_btf {
        return Check::ok("btf", "the kernel describes its types");
    }
    Check::warn(
        "btf",
        "the kernel has no type information (CONFIG_DEBUG_INFO_BTF)",
        "the sensor runs without it; bpftool shows less of its tables",
    )
}

fn compiler(facts: &Facts) -> Check {
    match facts.jit {
        Some(0) => Check::warn(
            "jit",
            "BPF programs are interpreted: every frame costs ten times as much",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Check::ok("jit", "BPF programs are compiled"),
        // Kernels built with CONFIG_BPF_JIT_ALWAYS_ON may hide the switch from this user.
        None => Check::ok("jit", "BPF programs are compiled, or the switch cannot be read"),
    }
}

fn bpffs(facts: &Facts) -> Check {
    let path = facts.bpffs.display();
    if facts.bpffs_mounted {
        return Check::ok("bpffs", format!("a BPF file system is mounted on {path}"));
    }
    Check::warn(
        "bpffs",
        format!("no BPF file system on {path}"),
        format!("`sensor run` mounts one if it may; or `mount -t bpf bpf {path}`"),
    )
}

fn memory(facts: &Facts) -> Check {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let (kernel, engine) = (facts.kernel_bytes, facts.engine_bytes);
    let takes = format!("the kernel's tables take {}, the daemon's up to {} when full", mib(kernel), mib(engine));
    if let Daemon::Answers(_) = facts.daemon {
        return Check::ok("memory", format!("{takes}; a daemon has them already (`sensor status`)"));
    }
    let host = facts.available_bytes.unwrap_or(u64::MAX);
    let group = facts.group_bytes.unwrap_or(u64::MAX);
    let (left, whose) = if group < host { (group, "this control group leaves") } else { (host, "the host has free") };
    let finding = if left == u64::MAX { takes } else { format!("{takes}; {whose} {}", mib(left)) };
    let advice = "make the tables smaller ([capacity], and the tunables sources_max and networks_max), or give the host \
                  or its control group more memory";
    if left < kernel {
        return Check::fail("memory", Code::Capability, finding, advice);
    }
    if left < kernel.saturating_add(engine) {
        return Check::warn("memory", finding, advice);
    }
    Check::ok("memory", finding)
}

fn clock(facts: &Facts) -> Check {
    match facts.clock.as_deref() {
        Some(clock) if QUICK_CLOCKS.contains(&clock) => Check::ok("clock", format!("the clock source is {clock}")),
        Some(clock) => Check::warn(
            "clock",
            format!("the clock source is {clock}, slow to read, and every frame reads it"),
            "`cat /sys/devices/system/clocksource/clocksource0/available_clocksource` lists others; see `dmesg | grep tsc`",
        ),
        None => Check::warn("clock", "the clock source cannot be read", "look whether /sys is mounted"),
    }
}

fn daemon(facts: &Facts) -> Check {
    let at = facts.socket.display();
    match &facts.daemon {
        Daemon::Answers(status) => {
            let (version, pid, interface) = (&status.sensor_version, status.pid, &status.interface);
            let finding = format!("sensor {version} (process {pid}) watches {interface} and answers on {at}");
            let warnings = status.warnings.len();
            if !status.ready {
                return Check::warn(
                    "daemon",
                    format!("{finding}, but is not ready yet"),
                    "wait a second and ask again",
                );
            }
            if warnings > 0 {
                return Check::warn(
                    "daemon",
                    format!("{finding}, with {warnings} warning(s)"),
                    "`sensor status` has them",
                );
            }
            Check::ok("daemon", finding)
        }
        Daemon::Silent(error) => Check {
            advice: "start it with `sensor run` or `systemctl start sensor`; --socket names another socket".to_owned(),
            ..Check::warn("daemon", format!("no daemon answers on {at}: {error}"), "")
        },
        Daemon::Denied(error) => Check::warn(
            "daemon",
            format!("permission to use {at} is denied: {error}"),
            "run as root or as a member of the socket's group",
        ),
        Daemon::Strange(error) => Check {
            grade: Grade::Fail,
            code: Code::Runtime,
            ..Check::warn(
                "daemon",
                format!("what answers on {at} cannot be understood: {error}"),
                "are daemon and command of the same release? look at the daemon's log",
            )
        },
    }
}
