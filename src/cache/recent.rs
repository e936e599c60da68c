//! Keeps the row groups read last, within a budget of bytes.
//!
//! A night that captions anew asks for features in nearly the order in which they were written, so
//! one row group serves hundreds of images.

use std::collections::HashMap;
use std::hash::Hash;

/// The values used last, as many as the budget holds; the one just added always stays.
pub struct Recent<K, V> {
    budget: usize,
    held: usize,
    clock: u64,
    values: HashMap<K, Kept<V>>,
}

struct Kept<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Eq + Hash + Copy, V: Clone> Recent<K, V> {
    /// `budget`: bytes that the values may take together.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            held: 0,
            clock: 0,
            values: HashMap::new(),
        }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let kept = self.values.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.value.clone())
    }

    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.clock += 1;
        let used = self.clock;
        let replaced = self.values.insert(key, Kept { value, bytes, used });
        self.held = self.held + bytes - replaced.map_or(0, |old| old.bytes);
        while self.held > self.budget && self.values.len() > 1 {
            // A few dozen row groups fit: looking at each is cheaper than keeping them in order.
            let oldest = self.values.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                return;
            };
            if let Some(gone) = self.values.remove(&oldest) {
                self.held -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_what_was_used_longest_ago() {
        let mut recent = Recent::new(30);
        recent.insert('a', 1, 10);
        recent.insert('b', 2, 10);
        recent.insert('c', 3, 10);
        assert_eq!(recent.get(&'a'), Some(1));
        recent.insert('d', 4, 15);
        let left: Vec<_> = "abcd".chars().filter_map(|key| recent.get(&key)).collect();
        assert_eq!(left, [1, 4]);
        assert_eq!(recent.held, 25);
    }

    #[test]
    fn keeps_one_that_is_larger_than_the_budget() {
        let mut recent = Recent::new(5);
        recent.insert('a', 1, 10);
        assert_eq!(recent.get(&'a'), Some(1));
        recent.insert('b', 2, 20);
        assert_eq!((recent.get(&'a'), recent.get(&'b')), (None, Some(2)));
    }

    #[test]
    fn counts_a_replaced_value_once() {
        let mut recent = Recent::new(30);
        recent.insert('a', 1, 10);
        recent.insert('a', 2, 20);
        assert_eq!((recent.held, recent.get(&'a')), (20, Some(2)));
    }
}
