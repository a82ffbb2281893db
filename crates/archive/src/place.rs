//! The names of objects, and what a name says.

use object_store::path::Path;
use weir_types::{Hour, SequenceNumber, ShardId};

/// What an object of an hour is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `manifest.json`.
    Hour,
    /// `shard=S/FIRST.avro`, `shard=S/FIRST-N.avro`.
    Data { shard: ShardId, first: SequenceNumber, part: usize },
    /// `shard=S/FIRST.json`.
    Chunk { shard: ShardId, first: SequenceNumber },
}

pub(crate) const MARKER: &str = "archive.json";
pub(crate) const RETAINED: &str = "retained.json";
const HOUR: &str = "hour=";
const SHARD: &str = "shard=";
const MANIFEST: &str = "manifest.json";

pub(crate) fn hour(root: &Path, hour: Hour) -> Path {
    root.clone().join(format!("{HOUR}{hour}"))
}

pub(crate) fn hour_manifest(root: &Path, at: Hour) -> Path {
    hour(root, at).join(MANIFEST)
}

pub(crate) fn file_name(first: SequenceNumber, part: usize) -> String {
    if part == 0 { format!("{:020}.avro", first.0) } else { format!("{:020}-{part}.avro", first.0) }
}

pub(crate) fn file(root: &Path, at: Hour, shard: ShardId, name: &str) -> Path {
    hour(root, at).join(format!("{SHARD}{shard}")).join(name)
}

pub(crate) fn chunk(root: &Path, at: Hour, shard: ShardId, first: SequenceNumber) -> Path {
    file(root, at, shard, &format!("{:020}.json", first.0))
}

/// Returns the hour of a folder of the root.
pub(crate) fn hour_of(folder: &Path) -> Option<Hour> {
    folder.filename()?.strip_prefix(HOUR)?.parse().ok()
}

/// Says what an object in an hour's folder is; none: nothing of the archive's.
pub(crate) fn kind(folder: &Path, object: &Path) -> Option<Kind> {
    let mut parts = object.prefix_match(folder)?;
    let first = parts.next()?;
    let Some(name) = parts.next() else {
        return (first.as_ref() == MANIFEST).then_some(Kind::Hour);
    };
    if parts.next().is_some() {
        return None;
    }
    let shard = ShardId(first.as_ref().strip_prefix(SHARD)?.parse().ok()?);
    let (stem, extension) = name.as_ref().rsplit_once('.')?;
    let (digits, part) = match stem.split_once('-') {
        Some((digits, part)) => (digits, Some(part.parse::<usize>().ok()?)),
        None => (stem, None),
    };
    if digits.len() != 20 {
        return None;
    }
    let first = SequenceNumber(digits.parse().ok()?);
    match (extension, part) {
        ("avro", Some(0)) => None,
        ("avro", part) => Some(Kind::Data { shard, first, part: part.unwrap_or(0) }),
        ("json", None) => Some(Kind::Chunk { shard, first }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_objects_are() {
        let root = Path::from("archive/flights");
        let at: Hour = "2026-11-26T10".parse().unwrap();
        let folder = hour(&root, at);
        assert_eq!(folder.as_ref(), "archive/flights/hour=2026-11-26T10");
        assert_eq!(hour_of(&folder), Some(at));
        let (shard, first) = (ShardId(7), SequenceNumber(1234));
        for part in [0, 1, 63] {
            let path = file(&root, at, shard, &file_name(first, part));
            assert_eq!(kind(&folder, &path), Some(Kind::Data { shard, first, part }));
        }
        assert_eq!(kind(&folder, &chunk(&root, at, shard, first)), Some(Kind::Chunk { shard, first }));
        assert_eq!(kind(&folder, &hour_manifest(&root, at)), Some(Kind::Hour));
        for name in
            ["x.avro", "shard=7/5.avro", "shard=7/00000000000000001234-0.avro", "shard=7/a/00000000000000001234.avro"]
        {
            let path: Path = format!("{folder}/{name}").into();
            assert_eq!(kind(&folder, &path), None, "{name}");
        }
    }
}
