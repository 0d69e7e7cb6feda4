//! The operator's rules in the database: those that changed are written, whatever their number.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::engine::time::Time;

const STANDING: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("standing");

/// One rule that an operator made at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRow {
    /// `true`: allowed; `false`: blocked.
    pub allow: bool,
    /// Address in its 16-byte form, and significant bits of 128.
    pub address: [u8; 16],
    pub bits: u32,
    /// Wall-clock end; `None`: without end.
    pub expires: Option<Time>,
    /// The operator's words.
    pub reason: String,
}

/// Which rule a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingKey {
    pub allow: bool,
    pub address: [u8; 16],
    pub bits: u32,
}

/// Changes of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingRows {
    /// To be written.
    pub put: Vec<StandingRow>,
    /// To be deleted.
    pub gone: Vec<StandingKey>,
    /// The table is written anew, beginning with `put`; more may follow with later changes.
    pub whole: bool,
}

impl StandingKey {
    fn text(&self) -> String {
        format!("{} {:032x}/{}", self.allow, u128::from_be_bytes(self.address), self.bits)
    }
}

impl StandingRow {
    fn key(&self) -> StandingKey {
        let Self { allow, address, bits, .. } = *self;
        StandingKey { allow, address, bits }
    }
}

pub(super) fn read(transaction: &ReadTransaction) -> Result<Vec<StandingRow>, StoreError> {
    let table = match transaction.open_table(STANDING) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    for entry in table.iter()? {
        let (_, value) = entry?;
        rows.extend(serde_json::from_slice::<StandingRow>(value.value()).ok().filter(|row| row.bits <= 128));
    }
    Ok(rows)
}

pub(super) fn write(transaction: &WriteTransaction, rows: &StandingRows) -> Result<(), StoreError> {
    if rows.whole {
        transaction.delete_table(STANDING)?;
    }
    let mut table = transaction.open_table(STANDING)?;
    for key in &rows.gone {
        table.remove(key.text().as_str())?;
    }
    for row in &rows.put {
        let value = serde_json::to_vec(row).map_err(|error| StoreError(error.to_string()))?;
        table.insert(row.key().text().as_str(), value.as_slice())?;
    }
    Ok(())
}
