//! A cache bounded by bytes; what was used longest ago goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// A cache of shared values under names.
pub(crate) struct Cache<V: ?Sized> {
    bytes_max: u64,
    inner: Mutex<Inner<V>>,
}

struct Inner<V: ?Sized> {
    entries: HashMap<Arc<str>, Entry<V>>,
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
    bytes: u64,
}

struct Entry<V: ?Sized> {
    value: Arc<V>,
    bytes: u64,
    used: u64,
}

impl<V: ?Sized> Cache<V> {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let inner = Inner { entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 };
        Self { bytes_max, inner: Mutex::new(inner) }
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<V>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { entries, by_use, uses, .. } = &mut *inner;
        let entry = entries.get_mut(name)?;
        *uses += 1;
        if let Some(key) = by_use.remove(&entry.used) {
            by_use.insert(*uses, key);
        }
        entry.used = *uses;
        Some(entry.value.clone())
    }

    /// Keeps a value, unless it alone is more than the cache may have.
    pub(crate) fn insert(&self, name: &str, value: Arc<V>, bytes: u64) {
        if bytes > self.bytes_max {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.remove(name);
        inner.uses += 1;
        let (key, used): (Arc<str>, u64) = (name.into(), inner.uses);
        inner.bytes += bytes;
        inner.by_use.insert(used, key.clone());
        inner.entries.insert(key, Entry { value, bytes, used });
        while inner.bytes > self.bytes_max {
            let Some((_, oldest)) = inner.by_use.pop_first() else { break };
            inner.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl<V: ?Sized> Inner<V> {
    fn remove(&mut self, name: &str) {
        if let Some(entry) = self.entries.remove(name) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first_and_bytes_are_bounded() {
        let cache = Cache::new(10);
        cache.insert("a", Arc::new(1), 4);
        cache.insert("b", Arc::new(2), 4);
        assert_eq!(cache.get("a").as_deref(), Some(&1));
        cache.insert("c", Arc::new(3), 4);
        assert_eq!(cache.get("b"), None);
        assert_eq!(cache.get("a").as_deref(), Some(&1));
        cache.insert("too large", Arc::new(4), 11);
        assert_eq!(cache.get("too large"), None);
        cache.insert("a", Arc::new(5), 10);
        assert_eq!((cache.get("a").as_deref(), cache.get("c")), (Some(&5), None));
        assert_eq!(cache.inner.lock().unwrap().bytes, 10);
    }
}
