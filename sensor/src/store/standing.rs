//! The operator's rules in the database: few, written whole.

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

impl StandingRow {
    fn key(&self) -> String {
        format!("{} {:032x}/{}", self.allow, u128::from_be_bytes(self.address), self.bits)
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

pub(super) fn write(transaction: &WriteTransaction, rows: &[StandingRow]) -> Result<(), StoreError> {
    transaction.delete_table(STANDING)?;
    let mut table = transaction.open_table(STANDING)?;
    for row in rows {
        let value = serde_json::to_vec(row).map_err(|error| StoreError(error.to_string()))?;
        table.insert(row.key().as_str(), value.as_slice())?;
    }
    Ok(())
}
