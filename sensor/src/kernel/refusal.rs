//! What the kernel refuses at the start, in words an operator can act on.

use std::error::Error;
use std::io;

use aya::EbpfError;
use aya::programs::ProgramError;

use crate::exit::{Code, Failure};

/// Oldest kernel the program runs on: XDP with frags and its helpers came with it.
pub(super) const OLDEST: (u32, u32) = (5, 18);

/// Lines of the verifier's log that are shown: the verdict stands at its end.
const LOG_LINES: usize = 12;

/// The failure behind an error of loading the object or creating its maps.
pub(super) fn loading(error: &EbpfError) -> Failure {
    let doing = "the kernel refused the sensor's maps";
    match os_error(error) {
        Some(code) => os(doing, code, error),
        None => Failure::new(Code::Capability, format!("{doing}: {}", chain(error)), KERNEL_HINT),
    }
}

/// The failure behind an error of loading the program.
pub(super) fn verifying(error: &ProgramError) -> Failure {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        if let Some(helper) = missing_helper(&log) {
            return Failure::new(Code::Capability, format!("this kernel lacks the helper {helper}"), KERNEL_HINT);
        }
        if matches!(io_error.raw_os_error(), Some(libc::EPERM | libc::ENOMEM)) {
            return os("the kernel refused the sensor's program", io_error.raw_os_error().unwrap_or(0), error);
        }
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        return Failure::new(
            Code::Capability,
            format!("the kernel's verifier refused the sensor's program ({io_error}):\n  {tail}"),
            KERNEL_HINT,
        );
    }
    os("the kernel refused the sensor's program", os_error(error).unwrap_or(0), error)
}

const KERNEL_HINT: &str = "the sensor needs Linux 5.18 or later with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT; \
     please report the kernel's version with this message";

/// A failure with the advice that belongs to an error number.
pub(super) fn os(doing: &str, code: i32, error: &dyn Error) -> Failure {
    let (exit, hint) = match code {
        libc::EPERM | libc::EACCES => (
            Code::Capability,
            "run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; kernel lockdown and some containers forbid bpf() even so",
        ),
        libc::ENOMEM => (
            Code::Capability,
            "raise the limit of locked memory (`ulimit -l unlimited`, systemd: LimitMEMLOCK=infinity), or the memory \
             limit of this control group; smaller tables can be asked for in [capacity] of the configuration",
        ),
        libc::ENOSPC => (Code::Capability, "a kernel limit is reached: look at `bpftool map` for maps nobody needs"),
        libc::ENODEV => (Code::Capability, "the interface went away meanwhile: `ip link` lists those there are"),
        _ => (Code::Runtime, ""),
    };
    Failure::new(exit, format!("{doing}: {}", chain(error)), hint)
}

/// The helper that the verifier did not know.
fn missing_helper(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("unknown func") || line.contains("invalid func"))?;
    let name = line.split_whitespace().find(|word| word.contains('#'))?;
    let (name, number) = name.split_once('#')?;
    match number.trim_end_matches(|c: char| !c.is_ascii_digit()) {
        "181" => Some("bpf_loop (Linux 5.17)".to_owned()),
        "189" => Some("bpf_xdp_load_bytes (Linux 5.18)".to_owned()),
        "188" => Some("bpf_xdp_get_buff_len (Linux 5.18)".to_owned()),
        number => Some(format!("{name} (number {number})")),
    }
}

/// The error and its causes, once each.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The operating system's error number somewhere behind an error.
pub(super) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::missing_helper;

    #[test]
    fn a_missing_helper_is_named() {
        for (description, log, expected) in [
            (
                "number known, name not",
                "12: (85) call unknown#181\ninvalid func unknown#181",
                Some("bpf_loop (Linux 5.17)"),
            ),
            ("of a program type", "unknown func bpf_xdp_load_bytes#189", Some("bpf_xdp_load_bytes (Linux 5.18)")),
            ("one nobody thought of", "invalid func unknown#999", Some("unknown (number 999)")),
            ("another complaint", "R1 invalid mem access 'scalar'", None),
        ] {
            assert_eq!(missing_helper(log).as_deref(), expected, "{description}");
        }
    }
}
