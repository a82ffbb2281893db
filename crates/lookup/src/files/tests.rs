//! Which files are meant, and whether they changed.

use std::io::Write;

use super::*;

const LATER: Timestamp = Timestamp(4_102_444_800_000);

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

async fn places(folder: &Path, text: &str) -> Result<Vec<String>, LoadError> {
    let listing = Listing::of(&Files::parse(text, folder).unwrap()).await?;
    let root = folder.canonicalize().unwrap();
    let below =
        |place: &str| Path::new(place).canonicalize().unwrap().strip_prefix(&root).unwrap().display().to_string();
    Ok(listing.found.iter().map(|found| below(&found.place)).collect())
}

#[tokio::test]
async fn folders_and_patterns_name_their_files() {
    let folder = written(&[
        ("a.csv", "x"),
        ("in/b.csv", "x"),
        ("in/c.NDJSON.gz", "x"),
        ("in/README", "x"),
        ("in/.d.csv", "x"),
        ("in/_tmp/e.csv", "x"),
        ("in/deep/f.csv", "x"),
        ("in/ü 1.csv", "x"),
    ]);
    let at = async |text: &str| places(folder.path(), text).await.unwrap();
    assert_eq!(at("a.csv").await, ["a.csv"]);
    let all = ["in/b.csv", "in/c.NDJSON.gz", "in/deep/f.csv", "in/ü 1.csv"];
    for text in ["in", "in/", "in/**"] {
        let mut found = at(text).await;
        found.sort();
        assert_eq!(found, all, "{text}");
    }
    assert_eq!(at("in/*.csv").await.len(), 2);
    assert_eq!(at("**/f.csv").await, ["in/deep/f.csv"]);
    assert!(matches!(places(folder.path(), "in/*.parquet").await, Err(LoadError::NoFiles { .. })));
    assert!(matches!(places(folder.path(), "b.csv").await, Err(LoadError::Read { .. })));
}

#[test]
fn places_are_shown_as_they_are_written_and_keys_in_urls_are_not() {
    let shown = |text: &str| Files::parse(text, Path::new("/data")).unwrap().to_string();
    assert_eq!(shown("a b.csv"), "/data/a b.csv");
    assert_eq!(shown("in/*.csv"), "/data/in/*.csv");
    assert_eq!(shown("s3://bucket/in/**.csv"), "s3://bucket/in/**.csv");
    assert_eq!(shown("https://host/a.csv?sig=hunter2"), "https://host/a.csv");
}

#[test]
fn formats_are_told_by_endings() {
    let of = Format::of_name;
    assert_eq!(of("a.CSV"), Some(Format::Csv));
    assert_eq!(of("a.jsonl.zst"), Some(Format::Ndjson));
    assert_eq!(of("in/a.parquet"), Some(Format::Parquet));
    for other in ["a", "a.gz", "csv", "a.avro"] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[tokio::test]
async fn a_change_is_told_by_the_stamp_and_a_young_file_by_none() {
    let folder = written(&[("in/a.csv", "x")]);
    let files = Files::parse("in/", folder.path()).unwrap();
    let stamp = async || Listing::of(&files).await.unwrap().stamp(LATER).unwrap();
    let before = stamp().await;
    assert_eq!(before, stamp().await);
    std::fs::write(folder.path().join("in/a.csv"), "xy").unwrap();
    let changed = stamp().await;
    assert_ne!(before, changed);
    std::fs::write(folder.path().join("in/b.csv"), "x").unwrap();
    assert_ne!(changed, stamp().await);
    let listing = Listing::of(&files).await.unwrap();
    let youngest = listing.found.iter().map(|found| found.meta.last_modified.timestamp_millis()).max().unwrap();
    assert!(listing.stamp(Timestamp(youngest + 1000)).is_none());
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_listed_is_not_read() {
    let folder = written(&[("a.csv", "x")]);
    let listing = Listing::of(&Files::parse("a.csv", folder.path()).unwrap()).await.unwrap();
    assert_eq!(listing.read(&listing.found[0], 10).await.unwrap(), "x");
    assert!(matches!(listing.read(&listing.found[0], 0).await, Err(LoadError::TooLarge { .. })));
    std::fs::write(folder.path().join("a.csv"), "other").unwrap();
    assert!(matches!(listing.read(&listing.found[0], 10).await, Err(LoadError::Read { .. })));
}

#[test]
fn packed_files_are_told_by_their_first_bytes_and_bounded() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&[b'x'; 1000]).unwrap();
    let gzip = Bytes::from(gzip.finish().unwrap());
    let zstd = Bytes::from(zstd::stream::encode_all(&[b'x'; 1000][..], 1).unwrap());
    for packed in [gzip, zstd] {
        assert_eq!(unpack("a", packed.clone(), 1000).unwrap(), vec![b'x'; 1000]);
        assert!(matches!(unpack("a", packed.clone(), 999), Err(LoadError::TooLarge { .. })));
        assert!(matches!(unpack("a", packed.slice(..packed.len() - 5), 1000), Err(LoadError::Unpack { .. })));
    }
    assert_eq!(unpack("a", Bytes::from_static(b"plain"), 1).unwrap(), "plain");
}
