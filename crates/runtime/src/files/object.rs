//! Objects that were found, and the marks by which they are known again.

use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use weir_types::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

/// An object as a look found it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Object {
    /// When it was written, by its store's clock. First, since objects are taken in this order.
    pub modified: Timestamp,
    /// Its path below the location.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// What its store calls this content of it, as the store writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its version, where the store keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Object {
    pub fn new(path: String, meta: &ObjectMeta) -> Self {
        Self {
            modified: Timestamp(meta.last_modified.timestamp_millis()),
            path,
            bytes: meta.size,
            etag: meta.e_tag.clone(),
            version: meta.version.clone(),
        }
    }

    /// Tells whether the store still has the object as it was found.
    pub fn is(&self, meta: &ObjectMeta) -> bool {
        let same_tag = match (&self.etag, &meta.e_tag) {
            (Some(known), Some(found)) => known == found,
            _ => self.modified.0 == meta.last_modified.timestamp_millis(),
        };
        same_tag && self.bytes == meta.size
    }

    /// The mark of the object once it was taken: another content has another one.
    pub fn mark(&self) -> Mark {
        self.mark_with("", self.etag.is_none())
    }

    /// The mark of an object that could not be read. It goes by the time as well: the same content, written again, is tried
    /// again.
    pub fn mark_of_failure(&self) -> Mark {
        self.mark_with("failed", true)
    }

    fn mark_with(&self, kind: &str, by_time: bool) -> Mark {
        let mut text = format!("{kind}\0{}\0{}\0{}", self.path, self.etag.as_deref().unwrap_or_default(), self.bytes);
        if by_time {
            text.push_str(&format!("\0{}", self.modified.0));
        }
        Mark(xxh3_128(text.as_bytes()))
    }
}

/// An object and its content, in 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mark(pub u128);

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Mark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(etag: Option<&str>, bytes: u64, modified: i64) -> Object {
        let etag = etag.map(str::to_owned);
        Object { modified: Timestamp(modified), path: "a/b.csv".to_owned(), bytes, etag, version: None }
    }

    #[test]
    fn a_mark_changes_with_the_content_and_with_the_time_only_where_nothing_better_is_known() {
        assert_eq!(object(Some("x"), 1, 10).mark(), object(Some("x"), 1, 20).mark());
        assert_ne!(object(Some("x"), 1, 10).mark(), object(Some("y"), 1, 10).mark());
        assert_ne!(object(None, 1, 10).mark(), object(None, 1, 20).mark());
        assert_ne!(object(None, 1, 10).mark(), object(None, 2, 10).mark());
        let elsewhere = Object { path: "a/c.csv".to_owned(), ..object(Some("x"), 1, 10) };
        assert_ne!(object(Some("x"), 1, 10).mark(), elsewhere.mark());
    }

    #[test]
    fn what_failed_is_another_one_when_it_is_written_again() {
        assert_ne!(object(Some("x"), 1, 10).mark_of_failure(), object(Some("x"), 1, 20).mark_of_failure());
        assert_ne!(object(Some("x"), 1, 10).mark_of_failure(), object(Some("x"), 1, 10).mark());
    }

    #[test]
    fn marks_read_back_as_they_were_written() {
        for mark in [Mark(0), Mark(u128::MAX), object(None, 3, 4).mark()] {
            let text = serde_json::to_string(&mark).unwrap();
            assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark);
        }
    }
}
