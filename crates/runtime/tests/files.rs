//! Files from a folder to a table, through a whole node on the machine's clock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use weir_config::{Inputs, load};
use weir_env::Env;
use weir_runtime::{FilesStatus, Node, Options, StartError};

/// How long anything may take until a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const SCHEMA: &str = r#"{"type": "record", "name": "Row", "fields": [
    {"name": "id", "type": "long"}, {"name": "word", "type": ["null", "string"], "default": null}]}"#;

/// A folder with a configuration, a folder where files arrive, and a data folder.
struct World {
    root: TempDir,
    env: Env,
}

impl World {
    /// `more` is added to the block `in`.
    fn new(more: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let hcl = format!(
            "files \"in\" {{\n  location = \"inbox\"\n  schema = \"row.avsc\"\n  every = \"1s\"\n  {more}\n}}\n\
             table \"rows\" {{\n  from = files.in\n}}\n"
        );
        std::fs::write(root.path().join("weir.hcl"), hcl).unwrap();
        std::fs::write(root.path().join("row.avsc"), SCHEMA).unwrap();
        std::fs::create_dir(root.path().join("inbox")).unwrap();
        Self { root, env: Env::system() }
    }

    fn inbox(&self, path: &str) -> PathBuf {
        self.root.path().join("inbox").join(path)
    }

    /// Writes a file that was written long ago: it has settled.
    fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.inbox(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Under a hidden name first, as whoever writes for others does.
        let hidden = path.with_file_name(".partial");
        std::fs::write(&hidden, bytes).unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        File::options().write(true).open(&hidden).unwrap().set_modified(old).unwrap();
        std::fs::rename(hidden, path).unwrap();
    }

    async fn start(&self) -> Arc<Node> {
        let began = self.env.elapsed();
        loop {
            let plan = load(self.root.path(), &Inputs::default()).unwrap();
            match Node::start(plan, &self.data(), self.env.clone(), Options::default()).await {
                Ok(node) => return node,
                // A node that was dropped lets go of its folder when its tasks have ended.
                Err(StartError::Log(_)) if self.env.elapsed() - began < PATIENCE => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Waits until the block says so.
    async fn until(&self, node: &Node, wanted: impl Fn(&FilesStatus) -> bool) -> FilesStatus {
        let began = self.env.elapsed();
        loop {
            let status = node.status().files.remove(0);
            if wanted(&status) {
                return status;
            }
            assert!(self.env.elapsed() - began < PATIENCE, "it never came to that: {status:?}");
            // Whatever runs on other threads goes on meanwhile.
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
    }
}

async fn numbers(node: &Node, sql: &str) -> Vec<i64> {
    let batches = node.query(sql).await.unwrap().collect().await.unwrap();
    let column = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

async fn texts(node: &Node, sql: &str) -> Vec<String> {
    let batches = node.query(sql).await.unwrap().collect().await.unwrap();
    let mut found = Vec::new();
    for batch in batches {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        found.extend(column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()));
    }
    found
}

fn lines(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| format!("{{\"id\":{id}}}\n")).collect()
}

const IDS: &str = "select id from rows order by id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_file_is_in_the_table_once_over_stops_and_deaths() {
    let world = World::new("format = \"ndjson\"\n  pattern = \"**.json\"");
    world.put("a.json", lines(0..10));
    world.put("not.txt", "no record");
    let node = world.start().await;
    world.until(&node, |files| files.taken == 1).await;
    node.close().await.unwrap();
    drop(node);
    world.put("deep/er/b.json", lines(10..20));
    let node = world.start().await;
    world.until(&node, |files| files.taken == 2).await;
    // As if it had died.
    drop(node);
    world.put("a.json", lines(20..31));
    let node = world.start().await;
    let status = world.until(&node, |files| files.taken == 3).await;
    assert_eq!((status.seen, status.failed, status.waiting), (2, 0, 0));
    assert_eq!(status.content, "ndjson");
    assert_eq!(numbers(&node, IDS).await, (0..31).collect::<Vec<_>>());
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_grows_is_taken_when_it_has_settled() {
    let world = World::new("format = \"ndjson\"\n  settle = \"2s\"");
    let node = world.start().await;
    let mut file = File::create(world.inbox("grows.json")).unwrap();
    for id in 0..3 {
        file.write_all(lines(id..id + 1).as_bytes()).unwrap();
        file.flush().unwrap();
        let seen = world.until(&node, |files| files.waiting == 1).await;
        assert_eq!(seen.taken, 0);
    }
    drop(file);
    world.until(&node, |files| files.taken > 0).await;
    assert_eq!(numbers(&node, IDS).await, [0, 1, 2]);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_starts_new_waits_for_its_folder_and_takes_what_comes_later() {
    let world = World::new("format = \"ndjson\"\n  start = \"new\"");
    std::fs::remove_dir(world.inbox("")).unwrap();
    let node = world.start().await;
    let status = world.until(&node, |files| files.trouble.is_some()).await;
    assert!(status.trouble.unwrap().starts_with("there is no folder `"));
    world.put("a.json", lines(0..2));
    world.until(&node, |files| files.taken == 1 && files.trouble.is_none()).await;
    assert_eq!(numbers(&node, IDS).await, [0, 1]);
    node.close().await.unwrap();

    let world = World::new("format = \"ndjson\"\n  start = \"new\"");
    world.put("old.json", lines(0..2));
    let node = world.start().await;
    world.until(&node, |files| files.last_look.is_some()).await;
    world.put("new.json", lines(2..4));
    let status = world.until(&node, |files| files.taken == 1).await;
    assert_eq!(status.seen, 2);
    assert_eq!(numbers(&node, IDS).await, [2, 3]);
    node.close().await.unwrap();
}

fn parquet(ids: Vec<i64>) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn avro(ids: std::ops::Range<i64>) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(SCHEMA).unwrap();
    let mut writer = apache_avro::Writer::new(&schema, Vec::new());
    for id in ids {
        let mut record = apache_avro::types::Record::new(&schema).unwrap();
        record.put("id", id);
        record.put("word", apache_avro::types::Value::Union(0, Box::new(apache_avro::types::Value::Null)));
        writer.append(record).unwrap();
    }
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_every_format_are_in_the_table_and_what_is_bad_is_in_the_dead_letters() {
    let good: [(&str, &str, Vec<u8>); 4] = [
        ("csv", "x", b"id,word\n0,a\n1,b\nmany,c\n2,d\n".to_vec()),
        ("ndjson", "x", format!("{}{{\"id\":\"many\"}}\n{}", lines(0..2), lines(2..3)).into_bytes()),
        ("avro", "x", avro(0..3)),
        ("parquet", "x", parquet(vec![0, 1, 2])),
    ];
    let bad: [&[u8]; 4] = [b"id,wort\n7,a\n", b"\xff\xfe\n", b"Obj\x01 no", b"PAR1 no PAR1"];
    for ((format, name, bytes), bad) in good.into_iter().zip(bad) {
        let world = World::new(&format!("format = \"{format}\"\n  bad_rows = \"skip\""));
        world.put(&format!("a/{name}"), bytes);
        world.put("b/bad", bad);
        let node = world.start().await;
        world.until(&node, |files| files.taken + files.failed == 2).await;
        assert_eq!(numbers(&node, IDS).await, [0, 1, 2], "{format}");
        let letters = texts(&node, "select source || ': ' || error from dead_letters order by source, error").await;
        let of_rows = letters.iter().filter(|letter| letter.starts_with("files/in/a/x: line ")).count();
        assert_eq!(of_rows, usize::from(["csv", "ndjson"].contains(&format)), "{format}: {letters:?}");
        let of_file: Vec<_> = letters.iter().filter(|letter| letter.starts_with("files/in/b/bad: ")).collect();
        assert_eq!(of_file.len(), 1, "{format}: {letters:?}");
        let status = node.status().files.remove(0);
        // Text that is not UTF-8 is a bad line, and not a bad file.
        assert_eq!(status.failed, u64::from(format != "ndjson"), "{format}: {of_file:?}");
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_row_refuses_its_file_until_it_is_written_again() {
    let world = World::new("format = \"csv\"");
    world.put("good.csv", "id,word\n0,a\n1,b\n");
    world.put("bad.csv", "id,word\n2,a\nmany,c\n3,d\n");
    let node = world.start().await;
    let status = world.until(&node, |files| files.taken + files.failed == 2).await;
    assert_eq!((status.taken, status.failed), (1, 1));
    assert_eq!(numbers(&node, IDS).await, [0, 1]);
    let letters = texts(&node, "select source || ': ' || error from dead_letters").await;
    let is_told = |letter: &str| letter.starts_with("files/in/bad.csv: ") && letter.contains("line 3");
    assert!(letters.len() == 1 && is_told(&letters[0]), "{letters:?}");
    world.put("bad.csv", "id,word\n2,a\n30,c\n3,d\n");
    world.until(&node, |files| files.taken == 2).await;
    assert_eq!(numbers(&node, IDS).await, [0, 1, 2, 3, 30]);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_small_files_are_each_there_once_though_the_node_stops_in_the_middle() {
    const FILES: i64 = 2_000;
    let world = World::new("format = \"ndjson\"");
    let inbox: &Path = &world.inbox("");
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for id in 0..FILES {
        let mut file = File::create(inbox.join(format!("{id}.json"))).unwrap();
        file.write_all(lines(id..id + 1).as_bytes()).unwrap();
        file.set_modified(old).unwrap();
    }
    let node = world.start().await;
    let began = world.env.elapsed();
    world.until(&node, |files| files.taken >= FILES as u64 / 4).await;
    drop(node);
    let node = world.start().await;
    let status = world.until(&node, |files| files.taken >= FILES as u64).await;
    println!("{FILES} files in {:?}, a stop included", world.env.elapsed() - began);
    assert_eq!((status.taken, status.failed), (FILES as u64, 0));
    assert_eq!(numbers(&node, "select count(*) from rows").await, [FILES]);
    assert_eq!(numbers(&node, "select count(distinct id) from rows").await, [FILES]);
    node.close().await.unwrap();
}
