//! Writes to the database on a thread of its own, so that no disk ever holds up a tick.
//!
//! One batch is under way at a time. A batch that could not be written is not repeated: the next one is then asked to be
//! whole, so that nothing is missed, and comes after a pause.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::standing::StandingRows;
use super::{Store, StoreError};
use crate::engine::state::State;

/// Pause after a failure: a full disk is not helped by haste.
const PAUSE: Duration = Duration::from_secs(60);

/// What goes into one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    pub state: State,
    /// What changed of the operator's rules; `None`: nothing.
    pub standing: Option<StandingRows>,
    /// Secret of this installation; `None`: unchanged.
    pub seed: Option<u64>,
}

/// How writing goes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// What the last attempt failed with; `None`: it did not.
    pub error: Option<String>,
    /// Batches that were not written.
    pub failures: u64,
    failed_at: Option<Instant>,
    /// The next batch must hold everything.
    whole: bool,
}

/// Which batch the writer takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// None yet: one is under way, or the pause after a failure is not over.
    Nothing,
    /// What changed.
    Changes,
    /// Everything.
    Everything,
}

/// The thread's address.
#[derive(Debug)]
pub struct Writer {
    batches: mpsc::Sender<(Batch, Option<oneshot::Sender<()>>)>,
    health: Arc<Mutex<Health>>,
}

impl Writer {
    /// Starts the thread.
    #[must_use]
    pub fn start(store: Store) -> Self {
        let (batches, mut receiver) = mpsc::channel::<(Batch, Option<oneshot::Sender<()>>)>(1);
        let health = Arc::new(Mutex::new(Health::default()));
        let report = Arc::clone(&health);
        thread::spawn(move || {
            let path = store.path.clone();
            let mut store = Some(store);
            while let Some((batch, done)) = receiver.blocking_recv() {
                let result = write(&mut store, &path, &batch);
                note(&mut report.lock().unwrap_or_else(PoisonError::into_inner), result);
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
        });
        Self { batches, health }
    }

    /// Which batch it takes now.
    #[must_use]
    pub fn wants(&self) -> Wants {
        let health = self.health();
        if self.batches.capacity() == 0 || health.failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return Wants::Nothing;
        }
        if health.whole { Wants::Everything } else { Wants::Changes }
    }

    /// Hands a batch over. Only after [`Writer::wants`] asked for it; it is lost otherwise.
    pub fn put(&self, batch: Batch) {
        if self.batches.try_send((batch, None)).is_err() {
            note(
                &mut self.health.lock().unwrap_or_else(PoisonError::into_inner),
                Err(StoreError("the writer is busy or gone".to_owned())),
            );
        }
    }

    /// Writes the last batch, with everything in it if an earlier one failed, and waits for it.
    ///
    /// # Errors
    /// If it could not be written.
    pub async fn finish(self, batch: Batch) -> Result<(), String> {
        let (done, wait) = oneshot::channel();
        if self.batches.send((batch, Some(done))).await.is_err() || wait.await.is_err() {
            return Err("the writer is gone".to_owned());
        }
        self.health().error.map_or(Ok(()), Err)
    }

    /// How it goes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes one batch. After an error the database is opened anew: it refuses to go on with the old handle.
fn write(store: &mut Option<Store>, path: &Path, batch: &Batch) -> Result<(), StoreError> {
    let open = match store.take() {
        Some(open) => open,
        None => Store::reopen(path)?,
    };
    open.write(batch)?;
    *store = Some(open);
    Ok(())
}

fn note(health: &mut Health, result: Result<(), StoreError>) {
    match result {
        Ok(()) => {
            if health.error.take().is_some() {
                tracing::info!("state is written again");
            }
            health.failed_at = None;
            health.whole = false;
        }
        Err(error) => {
            tracing::warn!(%error, "state could not be written; the sensor goes on without");
            health.error = Some(error.to_string());
            health.failures = health.failures.saturating_add(1);
            health.failed_at = Some(Instant::now());
            health.whole = true;
        }
    }
}
