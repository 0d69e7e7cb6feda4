//! Where things are: the checkout, its `target/setup` folder, and the cargo that started us.
//! `target/setup` belongs to the checkout and stays there wherever `CARGO_TARGET_DIR` points.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The checkout this command works on.
pub(crate) struct Workspace {
    /// Absolute path of the folder with the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Absolute, resolved path of `target/setup`; exists.
    pub(crate) setup: PathBuf,
}

impl Workspace {
    /// Finds the checkout from cargo's own variable, so that a shared target folder cannot mislead us.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&manifest)
            .parent()
            .with_context(|| format!("{} has no parent folder", Path::new(&manifest).display()))?
            .to_path_buf();
        let setup = root.join("target").join("setup");
        fs::create_dir_all(&setup)
            .and_then(|()| setup.canonicalize())
            .map(|setup| Self { root, setup: setup.clone() })
            .with_context(|| format!("cannot create {}: check the owner of the folder and free space", setup.display()))
    }

    /// Folder to put first on `PATH`: every outside program that tests and the demo use.
    pub(crate) fn tools(&self) -> PathBuf {
        self.setup.join("tools")
    }

    /// Cargo in the checkout, the same one that runs us.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }
}
