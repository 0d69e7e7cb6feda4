//! A map for keys that are addresses or hashes; never walked where order matters.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sensor_common::hash::mix;

/// A fixed hash: the same on every run.
#[derive(Clone, Default)]
pub struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(u64::from(*byte), self.0);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(word, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// See the module.
pub type Table<V> = HashMap<u64, V, BuildHasherDefault<Mixed>>;
