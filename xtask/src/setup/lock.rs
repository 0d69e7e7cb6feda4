//! One set-up at a time per checkout; the lock goes away with the process that holds it.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::progress::Step;

/// Waits for its turn; the lock is held until the file is dropped.
pub(crate) fn take(setup: &Path) -> Result<File> {
    let path = setup.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}: is the folder owned by another user?", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let step = Step::begin("another set-up of this checkout is running");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            step.done("finished, going on");
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}
