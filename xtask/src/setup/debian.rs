//! Debian packages unpacked into `target/setup/root`, as a private copy beside the system.
//! Nothing is installed: no maintainer script runs and the system's package database is only read.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Package};
use crate::command;
use crate::progress::Step;

/// The C library must be the one of the program loader, which is always the system's.
const NEVER_UNPACKED: [&str; 1] = ["libc6"];

/// The unpacked packages of this checkout and the way to more of them.
pub(crate) struct Store {
    setup: PathBuf,
    apt: Option<Apt>,
    /// Whether the lists were refreshed by this run; once is enough.
    refreshed: bool,
}

impl Store {
    /// Opens `target/setup` and clears what an interrupted run left half done.
    pub(crate) fn open(setup: &Path) -> Result<Self> {
        for folder in ["debs", "root/.unpacked", "bin"] {
            let path = setup.join(folder);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let leftovers = setup.join("tmp");
        if leftovers.exists() {
            fs::remove_dir_all(&leftovers).with_context(|| format!("cannot remove {}", leftovers.display()))?;
        }
        let has = |program: &str| command::output(Command::new(program).arg("--version")).is_ok_and(|(ok, _)| ok);
        let apt = (has("apt-get") && has("dpkg-deb")).then(|| Apt::new(setup.join("apt")));
        Ok(Self { setup: setup.to_owned(), apt, refreshed: false })
    }

    /// Root of the unpacked tree.
    pub(crate) fn root(&self) -> PathBuf {
        self.setup.join("root")
    }

    /// Library folder names Debian uses on this processor, relative to a root.
    pub(crate) fn library_folder() -> String {
        let gnu = if ARCH == "arm" { "arm-linux-gnueabihf".to_owned() } else { format!("{ARCH}-linux-gnu") };
        format!("usr/lib/{gnu}")
    }

    /// `LD_LIBRARY_PATH` for programs of the unpacked tree.
    pub(crate) fn library_path(&self) -> String {
        let folder = Self::library_folder();
        // Releases before the merged /usr have some libraries in /lib.
        let folders = [folder.clone(), folder.replacen("usr/", "", 1)];
        let paths = folders.map(|folder| self.root().join(folder).display().to_string());
        paths.join(":")
    }

    /// Whether the packages can be had here; says why not where they should.
    pub(crate) fn offers(&mut self, names: &[&str]) -> bool {
        let found = self.closure(names, |_| {});
        if let (Err(error), Some(_)) = (&found, &self.apt) {
            eprintln!("setup: Debian's {} cannot be had: {error:#}", names.join(" "));
        }
        found.is_ok()
    }

    /// Makes sure that `names` and what they need are unpacked; returns how many packages were new.
    ///
    /// # Errors
    /// Not a Debian machine, packages unknown, no network, no space; the message says which.
    pub(crate) fn unpack(&mut self, names: &[&str], step: &Step) -> Result<usize> {
        let wanted = names.join(" ");
        let outcome = self.closure(names, |text| step.detail(text)).and_then(|packages| self.bring(&packages, step));
        let outcome = match outcome {
            // The archive drops old versions: lists of this morning may name files that are gone.
            Err(_) if !self.refreshed && self.apt.is_some() => {
                self.refresh(|text| step.detail(text))?;
                self.closure(names, |_| {}).and_then(|packages| self.bring(&packages, step))
            }
            other => other,
        };
        outcome.with_context(|| format!("cannot unpack the Debian packages `{wanted}` into {}", self.root().display()))
    }

    fn closure(&mut self, names: &[&str], see: impl FnMut(&str)) -> Result<Vec<Package>> {
        if self.apt.as_ref().is_some_and(|apt| !apt.is_fresh()) {
            self.refresh(see)?;
        }
        let Some(apt) = &self.apt else {
            bail!("this machine has no apt-get and dpkg-deb; install the programs of `{}` yourself", names.join(" "));
        };
        let mut packages = apt.closure(names)?;
        packages.retain(|package| !NEVER_UNPACKED.contains(&package.name.as_str()));
        Ok(packages)
    }

    fn refresh(&mut self, see: impl FnMut(&str)) -> Result<()> {
        self.refreshed = true;
        self.apt.as_ref().map_or(Ok(()), |apt| apt.refresh(see)).context("cannot bring the package lists up to date")
    }

    /// Downloads and unpacks what is not there yet. The mark is set last, so an interrupted run is redone; marks live
    /// in the tree they speak of and go away with it.
    fn bring(&self, packages: &[Package], step: &Step) -> Result<usize> {
        let mark = |package: &Package| self.root().join(".unpacked").join(package.file_name());
        let missing: Vec<&Package> = packages.iter().filter(|package| !mark(package).exists()).collect();
        self.fetch(&missing, step)?;
        for (index, package) in missing.iter().enumerate() {
            step.detail(&format!("unpacking {} of {}, {}", index + 1, missing.len(), package.name));
            let archive = self.setup.join("debs").join(package.file_name());
            command::stdout(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(self.root()))?;
            fs::write(mark(package), "").with_context(|| format!("cannot write {}", mark(package).display()))?;
        }
        Ok(missing.len())
    }

    fn fetch(&self, packages: &[&Package], step: &Step) -> Result<()> {
        let debs = self.setup.join("debs");
        let absent = packages.iter().filter(|package| !debs.join(package.file_name()).exists());
        let absent: Vec<Package> = absent.map(|package| (*package).clone()).collect();
        let Some(apt) = self.apt.as_ref().filter(|_| !absent.is_empty()) else { return Ok(()) };
        let fresh = self.setup.join(format!("tmp/download-{}", process::id()));
        fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
        apt.download(&absent, &fresh, |text| step.detail(text))?;
        for package in &absent {
            let archive = fresh.join(package.file_name());
            let field = |name: &str| command::stdout(Command::new("dpkg-deb").arg("-f").arg(&archive).arg(name));
            let version = field("Version")?;
            if version.trim() != package.version {
                bail!("{} holds version {}, expected {}", archive.display(), version.trim(), package.version);
            }
            fs::rename(&archive, debs.join(package.file_name()))
                .with_context(|| format!("cannot move {} to {}", archive.display(), debs.display()))?;
        }
        Ok(())
    }
}
