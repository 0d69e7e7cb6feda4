//! A table with a cap that forgets the least recently used entry for a new one.
//!
//! Ordered by key, linked by recency; both orders depend on the calls alone, so the same calls forget the same
//! entries on every machine.

use std::collections::BTreeMap;

/// No slot.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Debug)]
pub struct Bounded<K, V> {
    index: BTreeMap<K, u32>,
    slots: Vec<Slot<K, V>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

#[derive(Clone, Debug)]
struct Slot<K, V> {
    key: K,
    /// `None`: the slot is free.
    value: Option<V>,
    older: u32,
    newer: u32,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { index: BTreeMap::new(), slots: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl<K: Copy + Ord, V> Bounded<K, V> {
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
        self.index.contains_key(key)
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.slots.get(*self.index.get(key)? as usize)?.value.as_ref()
    }

    /// The entry, without making it recent.
    #[must_use]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.slots.get_mut(*self.index.get(key)? as usize)?.value.as_mut()
    }

    /// The entry, which becomes the most recent one.
    pub fn touch(&mut self, key: &K) -> Option<&mut V> {
        let at = *self.index.get(key)?;
        if at != self.newest {
            self.unlink(at);
            self.link(at);
        }
        self.slots.get_mut(at as usize)?.value.as_mut()
    }

    /// Enters or replaces an entry; it becomes the most recent one. The cap is kept with [`Self::shrink`].
    pub fn insert(&mut self, key: K, value: V) {
        if let Some(known) = self.touch(&key) {
            *known = value;
            return;
        }
        let slot = Slot { key, value: Some(value), older: NONE, newer: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("caps are far below 2^32 entries")
            }
        };
        self.index.insert(key, at);
        self.link(at);
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.index.remove(key)?;
        self.unlink(at);
        self.free.push(at);
        self.slots[at as usize].value.take()
    }

    /// The least recently used entry.
    #[must_use]
    pub fn oldest(&self) -> Option<(&K, &V)> {
        let slot = self.slots.get(self.oldest as usize)?;
        Some((&slot.key, slot.value.as_ref()?))
    }

    /// Takes out the least recently used entry if there are more than `cap`; to be called until it gives `None`.
    pub fn shrink(&mut self, cap: usize) -> Option<(K, V)> {
        if self.len() <= cap {
            return None;
        }
        let key = self.slots.get(self.oldest as usize)?.key;
        self.remove(&key).map(|value| (key, value))
    }

    /// Entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.index.iter().filter_map(|(key, at)| Some((key, self.slots.get(*at as usize)?.value.as_ref()?)))
    }

    /// Entries, most recently used first.
    pub fn recent(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut at = self.newest;
        std::iter::from_fn(move || {
            let slot = self.slots.get(at as usize)?;
            at = slot.older;
            Some((&slot.key, slot.value.as_ref()?))
        })
    }

    fn unlink(&mut self, at: u32) {
        let (older, newer) = (self.slots[at as usize].older, self.slots[at as usize].newer);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn link(&mut self, at: u32) {
        let newest = self.newest;
        let slot = &mut self.slots[at as usize];
        (slot.older, slot.newer) = (newest, NONE);
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let mut table = Bounded::default();
        for key in 0..4 {
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
}
