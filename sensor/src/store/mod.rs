//! What survives a restart: one embedded database in the state folder.
//!
//! Opened, read and written here and nowhere else; [`writer`] does it off the tick's path. A database that cannot be
//! read is moved aside, never overwritten; without one the daemon goes on and says so.

pub mod standing;
pub mod writer;

mod row;

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition};

use self::standing::StandingRow;
use crate::engine::state::State;
use crate::exit::{Code, Failure};

/// The database's file in the state folder.
pub const FILE: &str = "state.redb";

/// Layout of the tables. Another one is moved aside.
const SCHEMA: u64 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Keys of the table `meta`.
const KEY_SCHEMA: &str = "schema";
const KEY_SEED: &str = "seed";
const KEY_ENGINE: &str = "engine";

/// What was stored.
#[derive(Debug, Default)]
pub struct Stored {
    /// Secret of this installation; seeds fingerprints.
    pub seed: u64,
    pub state: State,
    /// The operator's rules.
    pub standing: Vec<StandingRow>,
    /// Nothing was stored: a first start, or what was there is lost.
    pub fresh: bool,
}

/// The store as the daemon starts with it.
#[derive(Debug)]
pub struct Opened {
    /// `None`: nothing will be kept.
    pub store: Option<Store>,
    pub stored: Stored,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Database,
}

/// Why a database was not opened.
#[derive(Debug)]
enum Unopened {
    /// Another process has it.
    InUse,
    /// It is there and cannot be made sense of.
    Damaged(String),
    /// It cannot be made or reached.
    Unreachable(String),
}

/// Why rows were not written or read.
#[derive(Debug)]
pub struct StoreError(String);

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

/// Opens the store of a state folder, or makes it, and reads what is in it. A damaged one is moved aside.
///
/// # Errors
/// Exit code 6 if another process has it open. Whatever else is wrong becomes a warning: the daemon goes on.
pub fn open(folder: &Path) -> Result<Opened, Failure> {
    let path = folder.join(FILE);
    let mut warnings = Vec::new();
    for _ in 0..2 {
        match guarded(|| Store::open(&path)) {
            Ok((store, stored)) => return Ok(Opened { store: Some(store), stored, warnings }),
            Err(Unopened::InUse) => {
                return Err(Failure::new(
                    Code::Busy,
                    format!("another process has {} open", path.display()),
                    "a second sensor needs a state folder of its own: --state-dir",
                ));
            }
            Err(Unopened::Damaged(why)) => match set_aside(&path) {
                Ok(aside) => warnings.push(format!(
                    "the stored state could not be read ({why}): moved to {}, started with an empty one",
                    aside.display()
                )),
                Err(error) => {
                    warnings.push(format!("the stored state could not be read ({why}) nor moved aside: {error}"));
                    break;
                }
            },
            Err(Unopened::Unreachable(why)) => {
                warnings.push(format!("{} cannot be used: {why}", path.display()));
                break;
            }
        }
    }
    warnings.push("nothing will be kept over a restart".to_owned());
    Ok(Opened { store: None, stored: Stored::fresh(), warnings })
}

impl Stored {
    fn fresh() -> Self {
        Self { seed: fresh_seed(), fresh: true, ..Self::default() }
    }
}

impl Store {
    fn open(path: &Path) -> Result<(Self, Stored), Unopened> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Unopened::Unreachable(error.to_string()))?;
        }
        let known = path.exists();
        let database = create(path)?;
        let store = Self { path: path.to_owned(), database };
        if known {
            let stored = store.read().map_err(Unopened::Damaged)?;
            return Ok((store, stored));
        }
        let stored = Stored::fresh();
        store.begin(stored.seed).map_err(|error| Unopened::Unreachable(error.to_string()))?;
        Ok((store, stored))
    }

    /// Opens the database again after an error.
    fn reopen(path: &Path) -> Result<Self, StoreError> {
        match guarded(|| create(path)) {
            Ok(database) => Ok(Self { path: path.to_owned(), database }),
            Err(Unopened::InUse) => Err(StoreError("another process has it open".to_owned())),
            Err(Unopened::Damaged(why) | Unopened::Unreachable(why)) => Err(StoreError(why)),
        }
    }

    /// Writes what a fresh database needs.
    fn begin(&self, seed: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(KEY_SCHEMA, SCHEMA.to_le_bytes().as_slice())?;
            meta.insert(KEY_SEED, seed.to_le_bytes().as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self) -> Result<Stored, String> {
        let text = |error: StoreError| error.to_string();
        let read = || -> Result<_, StoreError> {
            let transaction = self.database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let number = |key| -> Result<Option<u64>, StoreError> {
                let bytes = meta.get(key)?.map(|value| value.value().to_vec());
                Ok(bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))))
            };
            let engine = meta.get(KEY_ENGINE)?.map(|value| value.value().to_vec());
            Ok((number(KEY_SCHEMA)?, number(KEY_SEED)?, engine))
        };
        let (schema, seed, engine) = read().map_err(text)?;
        if schema != Some(SCHEMA) {
            return Err(format!("its layout is {schema:?}, this sensor has {SCHEMA}"));
        }
        let Some(seed) = seed else { return Err("it holds no seed".to_owned()) };
        let transaction = self.database.begin_read().map_err(|error| text(error.into()))?;
        let mut state = row::read(&transaction).map_err(text)?;
        state.meta = engine.and_then(|bytes: Vec<u8>| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let standing = standing::read(&transaction).map_err(text)?;
        Ok(Stored { seed, state, standing, fresh: false })
    }

    /// Writes one batch; all of it, or nothing.
    pub(crate) fn write(&self, batch: &writer::Batch) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let engine = serde_json::to_vec(&batch.state.meta).map_err(|error| StoreError(error.to_string()))?;
            meta.insert(KEY_ENGINE, engine.as_slice())?;
            if let Some(seed) = batch.seed {
                meta.insert(KEY_SEED, seed.to_le_bytes().as_slice())?;
            }
        }
        row::write(&transaction, &batch.state)?;
        if let Some(rows) = &batch.standing {
            standing::write(&transaction, rows)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The database library checks what it reads, partly by assertions.
fn guarded<T>(open: impl FnOnce() -> Result<T, Unopened>) -> Result<T, Unopened> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err(Unopened::Damaged("it contradicts itself".to_owned())))
}

fn create(path: &Path) -> Result<Database, Unopened> {
    Database::create(path).map_err(|error| {
        if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
            return Unopened::InUse;
        }
        if let DatabaseError::Storage(redb::StorageError::Io(cause)) = &error
            && !is_damage(cause)
        {
            return Unopened::Unreachable(cause.to_string());
        }
        Unopened::Damaged(error.to_string())
    })
}

/// Whether an I/O error speaks of the file's content rather than of the way to it.
fn is_damage(error: &io::Error) -> bool {
    [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof].contains(&error.kind())
}

/// Moves a file out of the way, under a name that tells when; never over another.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for attempt in 0..100 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{now}"));
        if attempt > 0 {
            name.push(format!("-{attempt}"));
        }
        let aside = PathBuf::from(name);
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many damaged files beside it"))
}

/// A secret from the operating system; never 0, which would look like none.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    read.expect("every Linux has /dev/urandom");
    u64::from_le_bytes(bytes).max(1)
}

#[cfg(test)]
mod tests;
