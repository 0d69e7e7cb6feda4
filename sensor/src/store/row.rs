//! The engine's rows in the database. Networks, of which there may be a million, are stored as numbers; everything
//! else as JSON, so that a field may be added. A row that cannot be read is left out: it is learned again.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::engine::network::Network;
use crate::engine::state::{Rows, State};
use crate::engine::time::Time;

/// Address of the network to first sight, last sight, and flags.
const NETWORKS: TableDefinition<'_, [u8; 16], (u64, u64, u8)> = TableDefinition::new("networks");

/// Flags of a network.
const SAMPLED: u8 = 1;
const SUSPECT: u8 = 1 << 1;

/// Keys and values in JSON.
type Documents = TableDefinition<'static, &'static [u8], &'static [u8]>;

const SOURCES: Documents = Documents::new("sources");
const OFFENCES: Documents = Documents::new("offences");
const COHORTS: Documents = Documents::new("cohorts");
const CAMPAIGNS: Documents = Documents::new("campaigns");
const RULES: Documents = Documents::new("rules");

/// Every row.
pub(super) fn read(transaction: &ReadTransaction) -> Result<State, StoreError> {
    Ok(State {
        networks: networks(transaction)?,
        sources: documents(transaction, SOURCES)?,
        offences: documents(transaction, OFFENCES)?,
        cohorts: documents(transaction, COHORTS)?,
        campaigns: documents(transaction, CAMPAIGNS)?,
        rules: documents(transaction, RULES)?,
        ..State::default()
    })
}

/// Writes the rows that changed.
pub(super) fn write(transaction: &WriteTransaction, state: &State) -> Result<(), StoreError> {
    // Destructured in full: a new table must be noticed here.
    let State { meta: _, networks, sources, offences, cohorts, campaigns, rules } = state;
    write_networks(transaction, networks)?;
    write_documents(transaction, SOURCES, sources)?;
    write_documents(transaction, OFFENCES, offences)?;
    write_documents(transaction, COHORTS, cohorts)?;
    write_documents(transaction, CAMPAIGNS, campaigns)?;
    write_documents(transaction, RULES, rules)
}

fn networks(transaction: &ReadTransaction) -> Result<Rows<[u8; 16], Network>, StoreError> {
    let mut rows = Rows { whole: true, ..Rows::default() };
    let table = match transaction.open_table(NETWORKS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(rows),
        Err(error) => return Err(error.into()),
    };
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (first, last, flags) = value.value();
        let network = Network {
            first_seen: Time(first),
            last_seen: Time(last),
            sampled: flags & SAMPLED != 0,
            suspect: flags & SUSPECT != 0,
        };
        rows.put.push((key.value(), network));
    }
    Ok(rows)
}

fn write_networks(transaction: &WriteTransaction, rows: &Rows<[u8; 16], Network>) -> Result<(), StoreError> {
    if rows.whole {
        transaction.delete_table(NETWORKS)?;
    }
    let mut table = transaction.open_table(NETWORKS)?;
    for (key, network) in &rows.put {
        let Network { first_seen, last_seen, sampled, suspect } = *network;
        let flags = if sampled { SAMPLED } else { 0 } | if suspect { SUSPECT } else { 0 };
        table.insert(key, (first_seen.0, last_seen.0, flags))?;
    }
    for key in &rows.gone {
        table.remove(key)?;
    }
    Ok(())
}

fn documents<K: DeserializeOwned, V: DeserializeOwned>(
    transaction: &ReadTransaction,
    definition: Documents,
) -> Result<Rows<K, V>, StoreError> {
    let mut rows = Rows { whole: true, ..Rows::default() };
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(rows),
        Err(error) => return Err(error.into()),
    };
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (key, value) = (serde_json::from_slice(key.value()), serde_json::from_slice(value.value()));
        if let (Ok(key), Ok(value)) = (key, value) {
            rows.put.push((key, value));
        }
    }
    Ok(rows)
}

fn write_documents<K: Serialize, V: Serialize>(
    transaction: &WriteTransaction,
    definition: Documents,
    rows: &Rows<K, V>,
) -> Result<(), StoreError> {
    if rows.whole {
        transaction.delete_table(definition)?;
    }
    let mut table = transaction.open_table(definition)?;
    for (key, value) in &rows.put {
        table.insert(json(key)?.as_slice(), json(value)?.as_slice())?;
    }
    for key in &rows.gone {
        table.remove(json(key)?.as_slice())?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(error.to_string()))
}
