//! The tries of prefix rules: entered and taken out by one system call each, walked in pieces.

use std::os::fd::AsFd;

use aya::maps::lpm_trie::Key;
use aya::maps::{IterableMap, LpmTrie, MapData, MapError};
use sensor_common::address::{Address, Prefix};
use sensor_common::filter::Trie;
use sensor_common::rule::Reference;

use super::KernelError;
use super::batch;
use super::maps::{Plainly, gone, refused};

/// A trie as aya has it.
pub(super) type Table<V> = LpmTrie<MapData, Plainly<Address>, V>;

/// One piece of a walk.
pub(super) type Piece = batch::Piece<Prefix, Reference>;

/// Where prefixes stand with the rules they mean.
pub(super) trait Tries {
    /// Enters a prefix, or lets it mean another rule.
    fn insert(&mut self, trie: Trie, prefix: &Prefix, rule: Reference) -> Result<(), KernelError>;

    /// Takes a prefix out; nothing happens if it is not there.
    fn remove(&mut self, trie: Trie, prefix: &Prefix) -> Result<(), KernelError>;

    /// The entries behind `from`, or the first ones: at most [`batch::ENTRIES`] of them. If `from` is gone the walk
    /// begins again.
    fn walk(&mut self, trie: Trie, from: Option<&Prefix>) -> Result<Piece, KernelError>;
}

/// The kernel's tries of allowed and denied prefixes.
pub(super) struct KernelTries {
    pub(super) allow: Table<Plainly<Reference>>,
    pub(super) deny: Table<Plainly<Reference>>,
}

impl KernelTries {
    fn table(&mut self, trie: Trie) -> Result<&mut Table<Plainly<Reference>>, KernelError> {
        match trie {
            Trie::Allow => Ok(&mut self.allow),
            Trie::Deny => Ok(&mut self.deny),
            Trie::Tier => Err(KernelError::new("look for a rule", "tiers have none")),
        }
    }
}

impl Tries for KernelTries {
    fn insert(&mut self, trie: Trie, prefix: &Prefix, rule: Reference) -> Result<(), KernelError> {
        let result = self.table(trie)?.insert(&key(prefix), Plainly(rule), 0);
        result.map_err(|error| refused(&format!("enter {prefix}"), &error))
    }

    fn remove(&mut self, trie: Trie, prefix: &Prefix) -> Result<(), KernelError> {
        let result = self.table(trie)?.remove(&key(prefix));
        gone(result).map_err(|error| refused(&format!("take out {prefix}"), &error))
    }

    fn walk(&mut self, trie: Trie, from: Option<&Prefix>) -> Result<Piece, KernelError> {
        let table = self.table(trie)?;
        batch::piece(table.map().fd().as_fd(), from).map_err(|error| KernelError::new("read prefixes", error))
    }
}

/// The prefix as aya's key.
pub(super) fn key(prefix: &Prefix) -> Key<Plainly<Address>> {
    Key::new(prefix.bits, Plainly(prefix.address))
}

/// Puts a prefix into the trie of tiers.
pub(super) fn enter_tier(table: &mut Table<u32>, prefix: &Prefix, tier: u32) -> Result<(), MapError> {
    table.insert(&key(prefix), tier, 0)
}
