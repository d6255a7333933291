//! A map in a sorted vector: small, cheap to copy and to hash, which is what a state needs to be.

/// Keys in order, each with its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    fn at(&self, key: K) -> Result<usize, usize> {
        // New keys are mostly the greatest: a history of thousands of jobs grows at its end.
        match self.0.last() {
            Some((last, _)) if *last < key => Err(self.0.len()),
            _ => self.0.binary_search_by_key(&key, |(key, _)| *key),
        }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        self.at(key).ok().map(|at| &self.0[at].1)
    }

    /// The value of `key`, to change.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.at(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Whether there is a value for `key`.
    #[must_use]
    pub fn has(&self, key: K) -> bool {
        self.at(key).is_ok()
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, key: K, value: V) {
        match self.at(key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Takes the value of `key` out.
    pub fn take(&mut self, key: K) -> Option<V> {
        self.at(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Drops what does not pass.
    pub fn keep(&mut self, mut pass: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(key, value)| pass(key, value));
    }

    /// Keys and values, in order of the keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(K, V)> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
