//! Tables of a running sensor, read element by element while it runs: a copy of each bucket, as it stood.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aya::maps::{Array, Map, MapData};
use sensor_common::connection::{Connection, ConnectionBucket, ConnectionKey};
use sensor_common::names;
use sensor_common::plain::Plain;
use sensor_common::seat::{CLAIMED, FREE};

use super::Site;
use crate::executor::kernel::Wire;

impl Site {
    /// Every connection that the packet path follows; several records where one key has several.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn connections(&self) -> Result<BTreeMap<ConnectionKey, Vec<Connection>>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for bucket in self.buckets::<ConnectionBucket>(names::CONNECTIONS)? {
            for way in used(&bucket.tags) {
                found.entry(bucket.keys[way].key()).or_default().push(bucket.records[way]);
            }
        }
        Ok(found)
    }

    fn buckets<T: Plain>(&self, name: &str) -> Result<Vec<T>> {
        let data = MapData::from_pin(self.pin(name)).with_context(|| format!("open the pinned map {name}"))?;
        let array: Array<MapData, Wire<T>> = Map::from_map_data(data)?.try_into()?;
        (0..array.len()).map(|index| Ok(array.get(&index, 0)?.0)).collect()
    }
}

fn used(keys: &[u64; 8]) -> impl Iterator<Item = usize> {
    keys.iter().enumerate().filter(|(_, key)| !matches!(**key, FREE | CLAIMED)).map(|(way, _)| way)
}
