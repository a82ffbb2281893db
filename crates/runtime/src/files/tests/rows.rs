//! Rows of each format, good and bad.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tokio::io::AsyncReadExt;
use weir_config::FilesFormat;

use super::world::{Running, World, lines, records};

async fn taken(format: FilesFormat, files: &[(&str, Vec<u8>)]) -> (World, Running) {
    let world = World::new();
    for (path, bytes) in files {
        world.put(path, bytes.clone()).await;
    }
    let mut running = world.begin(Some(format)).await;
    running.take_all(&world).await;
    (world, running)
}

#[tokio::test]
async fn csv_is_read_with_its_bad_rows_in_the_dead_letters() {
    let text = "word,id\nx,1\ny,two\n,3\nz,4,5\n";
    let (_world, running) = taken(FilesFormat::Csv, &[("a.csv", text.into())]).await;
    assert_eq!(running.rows().await, [r#"{"id":1,"word":"x"}"#, r#"{"id":3,"word":""}"#].map(str::to_owned));
    let letters = running.letters().await;
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|(source, ..)| source == "files/in/a.csv"));
    assert!(letters[0].1.starts_with("line 3: field `id`: "), "{letters:?}");
    assert!(letters[1].1.starts_with("line 5: "), "{letters:?}");
    assert_eq!(letters[0].2, r#"{"line":3,"path":"a.csv"}"#);
    assert_eq!((running.block().taken, running.block().failed), (1, 0));
}

#[tokio::test]
async fn lines_of_json_that_are_refused_are_letters_as_they_stood() {
    let text = "{\"id\":1}\nno json\n{\"id\":2}";
    let (_world, running) = taken(FilesFormat::Ndjson, &[("a.json", text.into())]).await;
    assert_eq!(running.rows().await, records(1..3));
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].2, "no json");
}

#[tokio::test]
async fn of_very_many_bad_rows_the_first_thousand_are_letters_and_one_says_how_many_more() {
    let text = format!("{}{}{}", lines(0..1), "bad\n".repeat(1500), lines(1..2));
    let (_world, running) = taken(FilesFormat::Ndjson, &[("a.json", text.into())]).await;
    assert_eq!(running.rows().await, records(0..2));
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1001);
    let (_, error, payload) = &letters[1000];
    assert!(error.starts_with("500 more records after line 1001 were refused"), "{error}");
    assert!(payload.contains("\"refused\":500"), "{payload}");
}

async fn compressed(text: &str, suffix: &str) -> Vec<u8> {
    use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};

    let mut out = Vec::new();
    match suffix {
        "gz" => GzipEncoder::new(text.as_bytes()).read_to_end(&mut out).await.unwrap(),
        _ => ZstdEncoder::new(text.as_bytes()).read_to_end(&mut out).await.unwrap(),
    };
    out
}

#[tokio::test]
async fn compressed_files_are_known_by_their_names_and_cut_ones_are_one_letter() {
    let gzip = compressed(&lines(0..10), "gz").await;
    let zstd = compressed(&lines(10..20), "zst").await;
    let mut cut = compressed(&lines(20..5000), "gz").await;
    cut.truncate(cut.len() - 10);
    let files = [("a.json.gz", gzip), ("b.json.zst", zstd), ("c.json.gz", cut)];
    let (_world, running) = taken(FilesFormat::Ndjson, &files).await;
    let rows = running.rows().await;
    assert_eq!(rows[..20], records(0..20));
    let letters = running.letters().await;
    let (_, error, payload) = letters.iter().find(|(source, ..)| source == "files/in/c.json.gz").unwrap();
    assert!(error.contains("gzip"), "{error}");
    assert!(payload.contains("c.json.gz") && payload.len() < 500, "{payload}");
    assert_eq!((running.block().taken, running.block().failed), (2, 1));
}

#[tokio::test]
async fn avro_containers_are_read_with_the_schema_that_is_in_them() {
    let writer = apache_avro::Schema::parse_str(
        r#"{"type": "record", "name": "Row", "fields": [{"name": "id", "type": "int"}, {"name": "more", "type": "string"}]}"#,
    )
    .unwrap();
    let mut container = apache_avro::Writer::new(&writer, Vec::new());
    for id in 0..5 {
        let mut record = apache_avro::types::Record::new(&writer).unwrap();
        record.put("id", id);
        record.put("more", "left out");
        container.append(record).unwrap();
    }
    let bytes = container.into_inner().unwrap();
    let (_world, running) =
        taken(FilesFormat::Avro, &[("a.avro", bytes), ("b.avro", b"Obj no container".to_vec())]).await;
    assert_eq!(running.rows().await, records(0..5));
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0, "files/in/b.avro");
    assert_eq!((running.block().taken, running.block().failed), (1, 1));
}

fn parquet(columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    let batch = batch.unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn parquet_is_read_row_group_by_row_group_with_its_bad_rows_in_the_dead_letters() {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter((0..5000).map(|id| (id != 1234).then_some(id))));
    let words: ArrayRef = Arc::new(StringArray::from_iter((0..5000).map(|id| (id % 2 == 0).then(|| format!("w{id}")))));
    let bytes = parquet(vec![("word", words), ("id", ids)], 700);
    let (_world, running) = taken(FilesFormat::Parquet, &[("a.parquet", bytes)]).await;
    let rows = running.rows().await;
    assert_eq!(rows.len(), 4999);
    assert_eq!(rows[0], r#"{"id":0,"word":"w0"}"#);
    assert_eq!(rows[4998], r#"{"id":4999,"word":null}"#);
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].1.starts_with("line 1235: field `id`: "), "{letters:?}");
    assert_eq!(letters[0].2, r#"{"word":"w1234"}"#);
}

#[tokio::test]
async fn parquet_that_fits_no_row_is_one_letter_that_names_the_file_and_the_reason() {
    let ids = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
    let words: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let files = [
        ("a.parquet", parquet(vec![("word", words)], 10)),
        ("b.parquet", parquet(vec![("id", ids()), ("idd", ids())], 10)),
        ("c.parquet", b"this is no Parquet at all".to_vec()),
        ("d.parquet", b"".to_vec()),
        ("e.parquet", parquet(vec![("id", ids())], 10)),
    ];
    let (_world, running) = taken(FilesFormat::Parquet, &files).await;
    assert_eq!(running.rows().await, records(1..3));
    let letters = running.letters().await;
    let told: Vec<_> = letters.iter().map(|(source, error, _)| (source.as_str(), error.as_str())).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].0.ends_with("a.parquet") && told[0].1.contains("no column for the field `id`"), "{told:?}");
    assert!(told[1].0.ends_with("b.parquet") && told[1].1.contains("column `idd`"), "{told:?}");
    assert!(told[2].0.ends_with("c.parquet"), "{told:?}");
    assert!(letters.iter().all(|(.., payload)| payload.contains("\"path\"") && payload.len() < 500));
    assert_eq!((running.block().taken, running.block().failed), (2, 3));
}
