//! A table with a cap that forgets the least recently used entry for a new one.
//!
//! Found by keyed hash, linked by recency. The hash is never walked: the order of recency depends on the calls alone
//! and [`Bounded::iter`] sorts by key, so the same calls forget and give the same entries on every machine.
//!
//! An entry takes the size of its key and value, 8 bytes of links and 9 to 20 of index. Room for the expected number is
//! reserved at once, which costs address space but no memory, so that no growth ever holds up a tick.

use hashbrown::HashTable;

use super::keyed::Key;

/// No slot.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Debug)]
pub struct Bounded<K, V> {
    secret: u64,
    /// Where entries are, by the hash of their key.
    index: HashTable<u32>,
    entries: Vec<Entry<K, V>>,
    // Apart from the entries: a change of order needs nothing of them.
    links: Vec<Links>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

/// Where an entry is, until it is removed. Places are handed out in the order of the first entries, and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub(super) u32);

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    older: u32,
    newer: u32,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self {
            secret: 0,
            index: HashTable::new(),
            entries: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl<K, V> Bounded<K, V> {
    /// Bytes of one entry, index and links included, when the index is as sparse as it may be.
    pub const ENTRY_BYTES: usize = size_of::<Entry<K, V>>() + size_of::<Links>() + 20;
}

impl<K: Key, V: Default> Bounded<K, V> {
    /// An empty table with room for so many entries.
    #[must_use]
    pub fn with_room(entries: usize, secret: u64) -> Self {
        Self {
            secret,
            index: HashTable::with_capacity(entries),
            entries: Vec::with_capacity(entries),
            links: Vec::with_capacity(entries),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// Where an entry is.
    #[must_use]
    pub fn find(&self, key: &K) -> Option<Place> {
        let hash = key.hash(self.secret);
        self.index.find(hash, |at| self.entries[*at as usize].key == *key).map(|at| Place(*at))
    }

    /// Where an entry most likely is, without a look at the entries; [`Bounded::is_at`] tells. The index compares seven
    /// bits of the hash: one guess in some thirty is wrong.
    #[must_use]
    pub fn guess(&self, key: &K) -> Option<Place> {
        self.index.find(key.hash(self.secret), |_| true).map(|at| Place(*at))
    }

    /// Whether an entry is at a place.
    #[must_use]
    pub fn is_at(&self, Place(at): Place, key: &K) -> bool {
        self.entries[at as usize].key == *key
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).map(|Place(at)| &self.entries[at as usize].value)
    }

    /// The entry, without making it recent.
    #[must_use]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).map(|at| self.at(at))
    }

    /// The entry at a place, without making it recent.
    #[must_use]
    pub fn at(&mut self, Place(at): Place) -> &mut V {
        &mut self.entries[at as usize].value
    }

    /// The entry, which becomes the most recent one.
    pub fn touch(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).map(|at| self.touch_at(at))
    }

    /// The entry at a place, which becomes the most recent one.
    pub fn touch_at(&mut self, Place(at): Place) -> &mut V {
        if at != self.newest {
            self.unlink(at);
            self.link(at);
        }
        &mut self.entries[at as usize].value
    }

    /// Enters or replaces an entry; it becomes the most recent one. The cap is kept with [`Self::shrink`].
    pub fn insert(&mut self, key: K, value: V) -> &mut V {
        if let Some(place) = self.find(&key) {
            *self.at(place) = value;
            return self.touch_at(place);
        }
        let links = Links { older: NONE, newer: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                let slot = at as usize;
                (self.entries[slot], self.links[slot]) = (Entry { key, value }, links);
                at
            }
            None => {
                self.entries.push(Entry { key, value });
                self.links.push(links);
                u32::try_from(self.entries.len() - 1).expect("caps are far below 2^32 entries")
            }
        };
        let (entries, secret) = (&self.entries, self.secret);
        let hash = key.hash(secret);
        self.index.insert_unique(hash, at, |at| entries[*at as usize].key.hash(secret));
        self.link(at);
        &mut self.entries[at as usize].value
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (entries, hash) = (&self.entries, key.hash(self.secret));
        let found = self.index.find_entry(hash, |at| entries[*at as usize].key == *key);
        let (at, _) = found.ok()?.remove();
        self.unlink(at);
        self.free.push(at);
        Some(std::mem::take(&mut self.entries[at as usize].value))
    }

    /// The least recently used entry.
    #[must_use]
    pub fn oldest(&self) -> Option<(&K, &V)> {
        self.entry(self.oldest)
    }

    /// Takes out the least recently used entry if there are more than `cap`; to be called until it gives `None`.
    pub fn shrink(&mut self, cap: usize) -> Option<(K, V)> {
        if self.len() <= cap {
            return None;
        }
        let (key, _) = self.entry(self.oldest)?;
        let key = *key;
        self.remove(&key).map(|value| (key, value))
    }

    /// Entries in the order of their keys, which are sorted for it.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut all: Vec<(&K, &V)> = self.recent().collect();
        all.sort_unstable_by_key(|(key, _)| **key);
        all.into_iter()
    }

    /// Entries, most recently used first.
    pub fn recent(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut at = self.newest;
        std::iter::from_fn(move || {
            let entry = self.entry(at)?;
            at = self.links[at as usize].older;
            Some(entry)
        })
    }

    fn entry(&self, at: u32) -> Option<(&K, &V)> {
        self.entries.get(at as usize).map(|entry| (&entry.key, &entry.value))
    }

    fn unlink(&mut self, at: u32) {
        let Links { older, newer } = self.links[at as usize];
        match self.links.get_mut(older as usize) {
            Some(links) => links.newer = newer,
            None => self.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(links) => links.older = older,
            None => self.newest = older,
        }
    }

    fn link(&mut self, at: u32) {
        let newest = self.newest;
        self.links[at as usize] = Links { older: newest, newer: NONE };
        match self.links.get_mut(newest as usize) {
            Some(links) => links.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Bounded;

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let mut table = Bounded::with_room(2, 7);
        for key in 0..4_u64 {
            table.insert(key, key * 10);
        }
        assert_eq!(table.touch(&0), Some(&mut 0));
        assert_eq!(table.remove(&2), Some(20));
        table.insert(9, 90);
        assert_eq!(table.recent().map(|(k, _)| *k).collect::<Vec<_>>(), [9, 0, 3, 1]);
        assert_eq!(table.iter().map(|(k, _)| *k).collect::<Vec<_>>(), [0, 1, 3, 9]);
        assert_eq!(table.shrink(3), Some((1, 10)));
        assert_eq!(table.shrink(3), None);
        assert_eq!(table.oldest(), Some((&3, &30)));
        while table.shrink(0).is_some() {}
        assert!(table.is_empty() && table.oldest().is_none());
    }

    /// A list in the order of recency, searched from end to end.
    #[derive(Default)]
    struct Model(Vec<(u64, u32)>);

    impl Model {
        fn take(&mut self, key: u64) -> Option<u32> {
            let at = self.0.iter().position(|(known, _)| *known == key)?;
            Some(self.0.remove(at).1)
        }
    }

    proptest! {
        /// Whatever the secret, a table does what a plain list would.
        #[test]
        fn a_table_is_a_list_by_recency(
            secret in any::<u64>(),
            steps in prop::collection::vec((0_u8..4, 0_u64..24, any::<u32>()), 0..300),
        ) {
            let (mut table, mut model) = (Bounded::with_room(0, secret), Model::default());
            for (what, key, value) in steps {
                match what {
                    0 => {
                        model.take(key);
                        model.0.push((key, value));
                        table.insert(key, value);
                    }
                    1 => {
                        let known = model.take(key);
                        model.0.extend(known.map(|known| (key, known)));
                        prop_assert_eq!(table.touch(&key).copied(), known);
                    }
                    2 => prop_assert_eq!(table.remove(&key), model.take(key)),
                    _ => {
                        let gone = (model.0.len() > 8).then(|| model.0.remove(0));
                        prop_assert_eq!(table.shrink(8), gone);
                    }
                }
                let recent: Vec<_> = table.recent().map(|(k, v)| (*k, *v)).collect();
                prop_assert!(recent.iter().rev().eq(model.0.iter()));
                prop_assert_eq!(table.len(), model.0.len());
                prop_assert_eq!(table.get(&key), model.0.iter().find(|(k, _)| *k == key).map(|(_, v)| v));
            }
        }
    }
}
