//! Talking to apt without changing the system: simulate, download, refresh, all on lists in our own folder.
//! The only verbs ever used are `install` with `-s`, `download`, and `update` on private lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;

/// Lists older than this are refreshed before they are asked.
const LISTS_AGE_MAX: Duration = Duration::from_hours(24);

/// One package of a closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
}

impl Package {
    /// File name apt gives to the downloaded archive.
    pub(crate) fn file_name(&self) -> String {
        let name = self.name.split(':').next().unwrap_or(&self.name);
        format!("{name}_{}_{}.deb", self.version.replace(':', "%3a"), self.architecture)
    }
}

/// apt with package lists and caches of our own; the system's may be stale or absent, and are not ours to refresh.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Keeps everything in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn command(&self) -> Result<Command> {
        fs::create_dir_all(self.folder.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(self.folder.join("cache/archives/partial")))
            .with_context(|| format!("cannot create folders in {}", self.folder.display()))?;
        let path = self.folder.join("apt.conf");
        fs::write(&path, configuration(&self.folder)).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new("apt-get");
        command.arg("-c").arg(path).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command.env_remove("LD_LIBRARY_PATH");
        Ok(command)
    }

    /// Packages that an installation of `names` would bring, relative to what the system has.
    ///
    /// # Errors
    /// A package is unknown to the lists, or its dependencies cannot be met.
    pub(crate) fn closure(&self, names: &[&str]) -> Result<Vec<Package>> {
        let mut command = self.command()?;
        command.args(["-s", "install", "--no-install-recommends", "--"]).args(names);
        Ok(parse_simulation(&command::stdout(&mut command)?))
    }

    /// Downloads archives into `folder`; apt checks them against the signed lists.
    pub(crate) fn download(&self, packages: &[Package], folder: &Path, mut see: impl FnMut(&str)) -> Result<()> {
        let mut command = self.command()?;
        command.current_dir(folder).arg("download");
        command.args(packages.iter().map(|package| format!("{}={}", package.name, package.version)));
        let mut count = 0_usize;
        command::watch(&mut command, |line| {
            if line.starts_with("Get:") {
                count += 1;
                let name = line.split_whitespace().nth(4).unwrap_or_default();
                see(&format!("downloading {count} of {}, {name}", packages.len()));
            }
        })
    }

    /// Whether the lists were brought up to date less than a day ago.
    pub(crate) fn is_fresh(&self) -> bool {
        let age = fs::metadata(self.mark()).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age < LISTS_AGE_MAX)
    }

    /// Brings the lists up to date. Needs no root.
    ///
    /// A source of the user's that does not answer is no reason to stop: what matters is whether the packages
    /// can be resolved afterwards.
    pub(crate) fn refresh(&self, mut see: impl FnMut(&str)) -> Result<()> {
        let mut command = self.command()?;
        let updated = command::watch(command.arg("update"), |line| see(line));
        let lists = fs::read_dir(self.folder.join("lists")).context("cannot read the private package lists")?;
        if !lists.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages")) {
            updated?;
            bail!("`apt-get update` brought no package list: check the network and /etc/apt/sources.list");
        }
        fs::write(self.mark(), "").with_context(|| format!("cannot write {}", self.mark().display()))
    }

    fn mark(&self) -> PathBuf {
        self.folder.join("refreshed")
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    // As root, apt would otherwise download as a user who may not enter the checkout.
    // Hooks of the machine would act on the system's own lists and caches.
    format!(
        "APT::Sandbox::User \"root\";\nAcquire::Retries \"3\";\nAcquire::http::Timeout \"30\";\n\
         Dir::State::lists \"{folder}/lists\";\nDir::Cache \"{folder}/cache\";\n\
         #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
    )
}

/// Reads `apt-get -s install`: the `Inst` lines, in order. `Conf` and `Remv` lines are not ours to act on.
fn parse_simulation(text: &str) -> Vec<Package> {
    text.lines().filter_map(parse_inst).collect()
}

/// `Inst NAME [OLD] (VERSION ORIGIN[, ORIGIN] [ARCH]) []`
fn parse_inst(line: &str) -> Option<Package> {
    let rest = line.strip_prefix("Inst ")?;
    let (head, tail) = rest.split_once('(')?;
    let (inside, _) = tail.rsplit_once(')')?;
    let (_, bracket) = inside.rsplit_once('[')?;
    Some(Package {
        name: head.split_whitespace().next()?.to_owned(),
        version: inside.split_whitespace().next()?.to_owned(),
        architecture: bracket.trim_end_matches(']').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse_simulation;

    #[test]
    fn simulations() {
        let rows: [(&str, &str, &[&str]); 7] = [
            ("new", "Inst ethtool (1:6.1-1 Debian:12.15/oldstable [amd64])", &["ethtool_1%3a6.1-1_amd64.deb"]),
            ("upgrade", "Inst libzstd1 [1.5.2] (1.5.4 Debian:12/stable [amd64])", &["libzstd1_1.5.4_amd64.deb"]),
            (
                "two origins",
                "Inst tinyproxy (1.11 Debian:12/s, Debian-Security:12/s [all])",
                &["tinyproxy_1.11_all.deb"],
            ),
            ("pending marks", "Inst a (1 D:12/s [amd64]) [b:amd64 ]", &["a_1_amd64.deb"]),
            ("foreign", "Inst libc6:i386 (2.36-9 D:12/s [i386])", &["libc6_2.36-9_i386.deb"]),
            ("others are not ours", "Remv rustc [1.63]\nConf rustc-web (1.96 D:12/s [amd64])\nReading...", &[]),
            ("broken line", "Inst half (1.0\nInst other", &[]),
        ];
        for (name, text, expected) in rows {
            let found: Vec<_> = parse_simulation(text).iter().map(super::Package::file_name).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_name_for_apt_keeps_the_foreign_architecture() {
        let found = parse_simulation("Inst libc6:i386 (2.36-9 D:12/s [i386])");
        assert_eq!(found[0].name, "libc6:i386");
    }
}
