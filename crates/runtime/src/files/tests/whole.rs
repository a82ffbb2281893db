//! A file goes on as a whole or not at all, unless bad rows are to be skipped.

use weir_config::{BadRows, FilesFormat};

use super::world::{Running, World, lines, records};

/// Rows that are more than what is held in memory.
const MANY: i64 = 400_000;

async fn taken(files: &[(&str, String)]) -> (World, Running) {
    let world = World { bad_rows: BadRows::RefuseFile, ..World::new() };
    for (path, text) in files {
        world.put(path, text.clone()).await;
    }
    let mut running = world.begin(Some(FilesFormat::Ndjson)).await;
    running.take_all(&world).await;
    (world, running)
}

#[tokio::test]
async fn a_file_with_a_bad_row_is_one_letter_and_none_of_its_rows_goes_on() {
    let bad = format!("{}{{\"id\":\"no\"}}\n{}", lines(0..5), lines(5..9));
    let (world, mut running) = taken(&[("a.json", lines(10..12)), ("b.json", bad), ("c.json", lines(12..14))]).await;
    assert_eq!(running.rows().await, records(10..14));
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let (source, error, payload) = &letters[0];
    assert_eq!(source, "files/in/b.json");
    assert!(
        error.starts_with("1 of the file's 10 rows are refused, and so none went on; the first in line 6: "),
        "{error}"
    );
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    assert_eq!(payload["first"][0]["row"], "{\"id\":\"no\"}");
    assert_eq!((running.block().taken, running.block().failed), (2, 1));
    // Mended and written again, it is taken.
    world.put("b.json", lines(0..10)).await;
    running.take_all(&world).await;
    assert_eq!(running.rows().await.len(), 14);
}

#[tokio::test]
async fn a_file_larger_than_memory_is_read_to_its_end_before_any_row_goes_on() {
    let bad = format!("{}no json\n", lines(0..MANY));
    let (_world, running) = taken(&[("bad.json", bad)]).await;
    assert!(running.rows().await.is_empty());
    assert_eq!(running.letters().await.len(), 1);
    let (_world, running) = taken(&[("good.json", lines(0..MANY))]).await;
    let rows = running.rows().await;
    assert_eq!(rows.len() as i64, MANY);
    assert_eq!(rows, records(0..MANY));
}

#[tokio::test]
async fn a_file_that_is_cut_off_leaves_nothing() {
    let world = World { bad_rows: BadRows::RefuseFile, ..World::new() };
    let schema = apache_avro::Schema::parse_str(
        r#"{"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}]}"#,
    )
    .unwrap();
    let mut container = apache_avro::Writer::new(&schema, Vec::new());
    for id in 0..50_000_i64 {
        let mut record = apache_avro::types::Record::new(&schema).unwrap();
        record.put("id", id);
        container.append(record).unwrap();
    }
    let mut bytes = container.into_inner().unwrap();
    bytes.truncate(bytes.len() - 7);
    world.put("cut.avro", bytes).await;
    let mut running = world.begin(Some(FilesFormat::Avro)).await;
    running.take_all(&world).await;
    assert!(running.rows().await.is_empty());
    let letters = running.letters().await;
    assert!(letters[0].1.starts_with("the file can't be read: ") && !letters[0].1.contains("went on"), "{letters:?}");
    assert_eq!(running.block().failed, 1);
}
