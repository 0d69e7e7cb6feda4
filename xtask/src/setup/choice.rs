//! Which BPF toolchain to take, as a pure function of what was found on the machine.

use std::collections::BTreeSet;

/// A nightly compiler of rustup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nightly {
    pub(crate) llvm_major: u32,
    pub(crate) rust_src: bool,
}

/// What was found; facts only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) nightly: Option<Nightly>,
    /// Majors of the LLVM development files installed on the system.
    pub(crate) llvm_majors: BTreeSet<u32>,
    /// LLVM major of a system compiler that brings the BPF core library.
    pub(crate) system_llvm_major: Option<u32>,
    /// Whether apt can give the compiler packages.
    pub(crate) debian_packages: bool,
    pub(crate) rustup: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    UseNightly,
    UseSystem,
    Unpack,
    /// Nightly is there, only the library sources are missing.
    AddRustSrc,
    /// Neither; rustup can bring both.
    InstallNightly,
    Stop,
}

/// LLVM majors the pinned bpf-linker can be built for.
pub(crate) const LINKER_LLVM_MAJORS: [u32; 3] = [21, 22, 23];

/// Takes what is there before it brings anything, and Debian's packages before a download by rustup.
pub(crate) fn choose(findings: &Findings) -> Choice {
    let linkable = |major: u32| LINKER_LLVM_MAJORS.contains(&major);
    let matched = |nightly: Nightly| linkable(nightly.llvm_major) && findings.llvm_majors.contains(&nightly.llvm_major);
    match findings.nightly {
        Some(nightly) if nightly.rust_src && matched(nightly) => Choice::UseNightly,
        _ if findings.system_llvm_major.is_some_and(linkable) => Choice::UseSystem,
        _ if findings.debian_packages => Choice::Unpack,
        Some(nightly) if matched(nightly) => Choice::AddRustSrc,
        // Never update a nightly the user has: that would replace it.
        None if findings.rustup && LINKER_LLVM_MAJORS.iter().any(|major| findings.llvm_majors.contains(major)) => {
            Choice::InstallNightly
        }
        _ => Choice::Stop,
    }
}

/// What is missing and what to type, for a machine where nothing can be done from here.
pub(crate) fn advice(findings: &Findings) -> String {
    let majors = LINKER_LLVM_MAJORS.map(|major| major.to_string()).join(", ");
    let have: Vec<_> = findings.llvm_majors.iter().map(u32::to_string).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let (compiler, llvm) = match findings.nightly {
        Some(nightly) if nightly.rust_src => {
            ("nightly with rust-src: found".to_owned(), nightly.llvm_major.to_string())
        }
        Some(nightly) => (
            "rust-src: run `rustup component add rust-src --toolchain nightly`".to_owned(),
            nightly.llvm_major.to_string(),
        ),
        None if findings.rustup => (
            "nightly: run `rustup toolchain install nightly --component rust-src`".to_owned(),
            format!("one of {majors}"),
        ),
        None => (
            "rustup: install it from https://rustup.rs, then `rustup toolchain install nightly --component rust-src`"
                .to_owned(),
            format!("one of {majors}"),
        ),
    };
    format!(
        "the kernel program needs a compiler for BPF and an LLVM of the same major version for its linker.\n  \
         Debian packages (rustc-web, libstd-rust-web-dev-bpf) cannot be had here: on Debian, check /etc/apt/sources.list \
         and the network.\n  compiler: {compiler}\n  LLVM development files: need {llvm}, found {have}; install your \
         distribution's package (Fedora: `sudo dnf install llvm-devel`, Arch: `sudo pacman -S llvm`) or set LLVM_PREFIX\n  \
         then run `cargo xtask setup` again"
    )
}

#[cfg(test)]
mod tests {
    use super::{Choice, Findings, Nightly, advice, choose};

    fn nightly(llvm_major: u32, rust_src: bool) -> Option<Nightly> {
        Some(Nightly { llvm_major, rust_src })
    }

    #[test]
    fn choices() {
        type Row = (&'static str, Option<Nightly>, &'static [u32], Option<u32>, bool, bool, Choice);
        // name, nightly, LLVM on the system, system compiler, Debian packages, rustup
        let rows: [Row; 14] = [
            ("all there", nightly(22, true), &[22], Some(22), true, true, Choice::UseNightly),
            ("nightly, other LLVM", nightly(23, true), &[22], Some(22), true, true, Choice::UseSystem),
            ("nightly without sources", nightly(22, false), &[22], None, true, true, Choice::Unpack),
            ("nightly without LLVM", nightly(22, true), &[], None, true, true, Choice::Unpack),
            ("bare Debian", None, &[], None, true, false, Choice::Unpack),
            ("Debian, packages installed", None, &[22], Some(22), true, false, Choice::UseSystem),
            ("system compiler too old", None, &[], Some(19), true, false, Choice::Unpack),
            ("LLVM no linker knows", nightly(30, true), &[30], None, false, true, Choice::Stop),
            ("no Debian, sources missing", nightly(22, false), &[22], None, false, true, Choice::AddRustSrc),
            ("no Debian, no nightly", None, &[22], None, false, true, Choice::InstallNightly),
            ("no Debian, nightly, no LLVM", nightly(22, true), &[], None, false, true, Choice::Stop),
            ("no Debian, no nightly, no LLVM", None, &[19], None, false, true, Choice::Stop),
            ("no Debian, no rustup", None, &[22], None, false, false, Choice::Stop),
            ("nothing", None, &[], None, false, false, Choice::Stop),
        ];
        for (name, nightly, llvm, system_llvm_major, debian_packages, rustup, expected) in rows {
            let llvm_majors = llvm.iter().copied().collect();
            let findings = Findings { nightly, llvm_majors, system_llvm_major, debian_packages, rustup };
            assert_eq!(choose(&findings), expected, "{name}");
        }
    }

    #[test]
    fn advice_names_the_command() {
        let rows = [
            (Findings { nightly: nightly(22, false), ..Findings::default() }, "rustup component add rust-src"),
            (Findings { rustup: true, ..Findings::default() }, "run `rustup toolchain install nightly"),
            (Findings::default(), "https://rustup.rs"),
            (Findings { nightly: nightly(22, true), ..Findings::default() }, "need 22, found none"),
        ];
        for (findings, expected) in rows {
            assert!(advice(&findings).contains(expected), "{expected}");
        }
    }
}
