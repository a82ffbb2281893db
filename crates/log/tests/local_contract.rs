//! The local engine keeps the contract: on a disk, with tiny segments, without its cache, and on files that are short.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use weir_env::Env;
use weir_log::local::files::FaultyFiles;
use weir_log::local::{Options, SEGMENT_BYTES_MIN};
use weir_log::{Block, Condition, Engine, LocalEngine, conformance};
use weir_types::{LogName, SequenceNumber};

/// Engines in fresh folders, which are removed at the end.
async fn on_disk(options: Options) {
    let folders: Mutex<Vec<TempDir>> = Mutex::default();
    conformance::all(async || {
        let folder = tempfile::tempdir().unwrap();
        let engine = LocalEngine::open(folder.path(), options.clone(), Env::system()).unwrap();
        folders.lock().unwrap().push(folder);
        Arc::new(engine) as Arc<dyn Engine>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_keeps_the_contract() {
    on_disk(Options::default()).await;
}

#[tokio::test]
async fn local_keeps_the_contract_with_tiny_segments_and_without_memory() {
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        allocate_bytes: 4096,
        tail_cache_bytes_max: 0,
        index_cache_bytes_max: 0,
        dead_bytes_max: SEGMENT_BYTES_MIN,
        ..Options::default()
    };
    on_disk(options).await;
}

#[tokio::test]
async fn local_keeps_the_contract_when_reads_and_writes_are_short() {
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, tail_cache_bytes_max: 0, ..Options::default() };
    conformance::all(async || {
        let files = FaultyFiles::new(1);
        files.be_short();
        Arc::new(LocalEngine::open_on(Arc::new(files), options.clone(), Env::system()).unwrap()) as Arc<dyn Engine>
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_after_a_restart_sees_at_once_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let open = || LocalEngine::open(folder.path(), Options::default(), Env::system()).unwrap();
    let name: LogName = "stream/waited/0".parse().unwrap();
    let engine = open();
    let log = engine.log(&name).await.unwrap();
    for _ in 0..3 {
        let block = Block { records: 2, payload: Bytes::from_static(b"block") };
        log.append(vec![block], Condition::Always).await.unwrap();
    }
    // Like a crash: nothing is written down at the end.
    drop((log, engine));
    let engine = open();
    let log = engine.log(&name).await.unwrap();
    assert_eq!(log.bounds().tail, SequenceNumber(6));
    assert_eq!(*log.tail().borrow(), SequenceNumber(6));
}
