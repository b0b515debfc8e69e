//! A table that can go back: to a savepoint, to the begin of a transaction, or after a question of what would be.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub struct Journal<K, V> {
    rows: HashMap<K, V>,
    /// What each change found, the latest last.
    log: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Journal<K, V> {
    fn default() -> Self {
        Journal { rows: HashMap::new(), log: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Journal<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub fn set(&mut self, key: K, value: V) {
        let before = self.rows.insert(key, value);
        self.log.push((key, before));
    }

    pub fn change(&mut self, key: K, change: impl FnOnce(&mut V)) {
        let mut value = self.rows.get(&key).expect("what is changed is there").clone();
        change(&mut value);
        self.set(key, value);
    }

    /// Takes every row away.
    pub fn clear(&mut self) {
        self.log.extend(self.rows.drain().map(|(key, value)| (key, Some(value))));
    }

    pub fn rows(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub fn mark(&self) -> usize {
        self.log.len()
    }

    pub fn back_to(&mut self, mark: usize) {
        for (key, before) in self.log.drain(mark..).rev() {
            match before {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    /// There is no way back behind this moment.
    pub fn settle(&mut self) {
        self.log.clear();
    }
}
