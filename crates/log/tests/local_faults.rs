//! Full disks, failing disks, rivals, long retention: the engine says what is the matter, loses nothing, and goes on by
//! itself where it may.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_env::{Env, ManualClock};
use weir_log::local::files::{FaultyFiles, Files};
use weir_log::local::{Inspection, Options, SEGMENT_BYTES_MIN, inspect, verify, verify_on};
use weir_log::{AppendError, Block, Condition, Engine, EngineError, LocalEngine, Log, ReadLimit};
use weir_types::{LogName, SequenceNumber, Timestamp};

const LIMIT: ReadLimit = ReadLimit { bytes_max: 1 << 20 };

fn small() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        allocate_bytes: 4096,
        group_bytes_max: SEGMENT_BYTES_MIN,
        dead_bytes_max: 4 * SEGMENT_BYTES_MIN,
        ..Options::default()
    }
}

fn name(text: &str) -> LogName {
    text.parse().unwrap()
}

fn open(dir: &Path) -> Result<LocalEngine, EngineError> {
    LocalEngine::open(dir, small(), Env::system())
}

fn open_on(files: &FaultyFiles) -> LocalEngine {
    LocalEngine::open_on(Arc::new(files.clone()), small(), Env::system()).unwrap()
}

fn block(bytes: usize) -> Vec<Block> {
    vec![Block { records: 1, payload: Bytes::from(vec![7; bytes]) }]
}

async fn append(log: &Arc<dyn Log>, bytes: usize) -> Result<SequenceNumber, AppendError> {
    log.append(block(bytes), Condition::Always).await
}

/// Counts the records from the head to the tail, all of which must read.
async fn count(log: &Arc<dyn Log>) -> u64 {
    let bounds = log.bounds();
    let mut next = bounds.head;
    while next < bounds.tail {
        next = log.read(next, LIMIT).await.unwrap().last().unwrap().end();
    }
    next.since(bounds.head)
}

#[tokio::test]
async fn full_disk_refuses_and_recovers_by_itself() {
    let files = FaultyFiles::new(1);
    let engine = open_on(&files);
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    append(&log, 1000).await.unwrap();
    files.set_bytes_max(files.used() + 100_000);
    let mut taken = 1;
    let refused = loop {
        match append(&log, 3000).await {
            Ok(first) => assert_eq!(first, SequenceNumber(taken)),
            Err(error) => break error,
        }
        taken += 1;
        assert!(taken < 100, "the disk is never full");
    };
    assert!(matches!(refused, AppendError::DiskFull { .. }), "{refused:?}");
    assert!(taken > 10, "only {taken} appends before the disk was full");
    for _ in 0..3 {
        assert!(matches!(append(&log, 3000).await, Err(AppendError::DiskFull { .. })));
    }
    assert_eq!(count(&log).await, taken);
    assert!(matches!(
        engine.log(&name("stream/b/0")).await,
        Err(EngineError::Create(AppendError::DiskFull { .. })) | Ok(_)
    ));

    // A trim works on a full disk, and makes room.
    log.trim(SequenceNumber(taken - 2)).await.unwrap();
    assert_eq!(append(&log, 3000).await.unwrap(), SequenceNumber(taken), "numbers of refused appends are used again");
    files.set_bytes_max(u64::MAX);
    for _ in 0..50 {
        append(&log, 3000).await.unwrap();
    }
    drop((engine, log));
    assert!(verify_on(&files).unwrap().is_clean());
    let engine = open_on(&files);
    assert_eq!(count(&engine.log(&name("stream/a/0")).await.unwrap()).await, 53);
}

#[tokio::test]
async fn refused_write_leaves_nothing_behind_and_the_next_one_is_taken() {
    let files = FaultyFiles::new(2);
    let engine = open_on(&files);
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    for round in 0..30_u64 {
        assert_eq!(append(&log, 900).await.unwrap(), SequenceNumber(round));
        // One for the mark that the writer leaves when it falls idle, which may come before or after.
        files.fail_writes(2);
        let refused = log.append(block(700), Condition::TailIs(SequenceNumber(round + 1))).await;
        assert!(matches!(refused, Err(AppendError::Io { .. })), "{refused:?}");
        files.fail_writes(0);
    }
    let tail = log.bounds().tail.0;
    assert_eq!((tail, count(&log).await), (30, 30));
    drop((engine, log));
    files.crash();
    assert!(verify_on(&files).unwrap().is_clean());
    let engine = open_on(&files);
    assert_eq!(engine.log(&name("stream/a/0")).await.unwrap().bounds().tail.0, tail);
}

#[tokio::test]
async fn failed_sync_ends_the_engine_and_acknowledges_nothing() {
    let files = FaultyFiles::new(3);
    let engine = open_on(&files);
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    for _ in 0..5 {
        append(&log, 500).await.unwrap();
    }
    files.fail_syncs(1);
    assert!(matches!(append(&log, 500).await, Err(AppendError::Closed)));
    assert_eq!(files.syncs_failed(), 1, "the real file layer would have ended the process");
    assert!(matches!(append(&log, 500).await, Err(AppendError::Closed)));
    drop((engine, log));
    files.crash();
    let engine = open_on(&files);
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    assert!((5..=6).contains(&count(&log).await), "what was acknowledged, and maybe what was in flight");
}

#[tokio::test]
async fn second_owner_of_a_folder_is_refused_and_the_first_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    let refused = open(folder.path());
    let Err(EngineError::InUse { owner, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(*owner, Some(std::process::id()));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("is in use") && text.contains(&std::process::id().to_string()), "{text}");
    assert!(matches!(verify(folder.path()), Err(EngineError::InUse { .. })));
    engine.close().await.unwrap();
    open(folder.path()).unwrap();
}

#[tokio::test]
async fn missing_folder_is_made_by_open_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b/log");
    assert!(matches!(inspect(&deep), Err(EngineError::Io { .. })));
    drop(open(&deep).unwrap());
    assert_eq!(inspect(&deep).unwrap().logs, vec![]);
}

#[tokio::test]
async fn trimmed_space_is_free_when_the_trim_returns() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    let appends = (0..200).map(|_| append(&log, 8000));
    futures::future::join_all(appends).await;
    let on_disk =
        || -> u64 { std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum() };
    assert!(on_disk() > 1_600_000 && engine.bytes() > 1_600_000);
    log.trim(SequenceNumber(199)).await.unwrap();
    assert!(on_disk() < 400_000, "{} bytes are left", on_disk());
    assert_eq!(count(&log).await, 1);
    drop((engine, log));
    let engine = open(folder.path()).unwrap();
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    assert_eq!((log.bounds().head.0, count(&log).await), (199, 1));
}

/// Appends and trims until the engine holds fewer bytes than this.
async fn until_below(engine: &LocalEngine, busy: &Arc<dyn Log>, bytes: u64) {
    for _ in 0..2000 {
        if engine.bytes() < bytes {
            return;
        }
        let first = append(busy, 100).await.unwrap();
        busy.trim(first).await.unwrap();
    }
    panic!("{} bytes are held: {:?}", engine.bytes(), engine.inspect());
}

fn files_of(inspection: &Inspection, extension: &str) -> usize {
    inspection.segments.iter().filter(|segment| segment.name.ends_with(extension)).count()
}

#[tokio::test]
async fn idle_log_of_long_retention_does_not_pin_the_segments_of_busy_ones() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    let idle = engine.log(&name("machine/schemas")).await.unwrap();
    let busy = engine.log(&name("stream/busy/0")).await.unwrap();
    for round in 0..60 {
        idle.append(block(50 + round), Condition::Always).await.unwrap();
        let appends = (0..10).map(|_| append(&busy, 4000));
        futures::future::join_all(appends).await;
        busy.trim(busy.bounds().tail).await.unwrap();
    }
    // 60 records of 100 bytes in 2.4 MB of dead ones.
    until_below(&engine, &busy, 400_000).await;
    assert_eq!(count(&idle).await, 60);
    drop((engine, idle, busy));
    assert!(verify(folder.path()).unwrap().is_clean());
    let engine = open(folder.path()).unwrap();
    let inspection = engine.inspect();
    assert!((1..16).contains(&files_of(&inspection, ".cold")), "{inspection:?}");
    let idle = engine.log(&name("machine/schemas")).await.unwrap();
    assert_eq!(count(&idle).await, 60);
    let sizes: Vec<usize> =
        idle.read(SequenceNumber(0), LIMIT).await.unwrap().iter().map(|block| block.payload.len()).collect();
    assert_eq!(sizes, (50..110).collect::<Vec<usize>>());
}

#[tokio::test]
async fn full_queue_refuses_at_once() {
    let files = FaultyFiles::new(4);
    let options = Options { queue_bytes_max: 10_000, ..small() };
    let engine = LocalEngine::open_on(Arc::new(files), options, Env::system()).unwrap();
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    // All are submitted before this task yields to anybody.
    let results = futures::future::join_all((0..200).map(|_| append(&log, 4000))).await;
    let busy =
        results.iter().filter(|result| matches!(result, Err(AppendError::Busy { queued, .. }) if *queued <= 10_000));
    let (busy, taken) = (busy.count(), results.iter().filter(|result| result.is_ok()).count());
    assert!(busy > 0 && taken > 0 && busy + taken == 200, "{busy} busy, {taken} taken");
    assert_eq!(log.bounds().tail.0, taken as u64);
    // An append larger than the queue is taken when nothing else waits.
    append(&log, 20_000).await.unwrap();
}

#[tokio::test]
async fn seek_finds_times_in_memory_on_disk_and_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp(0));
    let reopen = || LocalEngine::open(folder.path(), small(), Env::seeded(clock.clone(), 1)).unwrap();
    let engine = reopen();
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    for _ in 0..100 {
        clock.advance(Duration::from_secs(1));
        append(&log, 2000).await.unwrap();
    }
    // The wall clock jumps back: times in a log don't.
    clock.jump(Timestamp(5));
    append(&log, 2000).await.unwrap();
    drop((engine, log));
    let engine = reopen();
    let log = engine.log(&name("stream/a/0")).await.unwrap();
    append(&log, 2000).await.unwrap();
    for second in 1..=100_i64 {
        let place = log.seek(Timestamp(second * 1000)).await.unwrap().0 as i64;
        // Runs of 64 KiB: at most 32 records of 2 kB before the one that is looked for.
        assert!((second - 1 - 32..=second - 1).contains(&place), "second {second} is at {place}");
    }
    assert_eq!(log.seek(Timestamp(100_001)).await.unwrap(), SequenceNumber(102));
    let last = log.read(SequenceNumber(101), LIMIT).await.unwrap();
    assert_eq!(last[0].appended_at, Timestamp(100_000));
}

#[tokio::test]
async fn many_logs_reopen_with_their_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    let names: Vec<LogName> = (0..400).map(|i| name(&format!("stream/s{i:03}/0"))).collect();
    let logs = futures::future::join_all(names.iter().map(|name| engine.log(name))).await;
    let logs: Vec<Arc<dyn Log>> = logs.into_iter().map(Result::unwrap).collect();
    for _ in 0..3 {
        futures::future::join_all(logs.iter().map(|log| append(log, 100))).await;
    }
    futures::future::join_all(logs.iter().take(100).map(|log| log.trim(SequenceNumber(3)))).await;
    drop((engine, logs));
    let engine = open(folder.path()).unwrap();
    assert_eq!(engine.names(), names);
    for (i, name) in names.iter().enumerate() {
        let log = engine.log(name).await.unwrap();
        let head = if i < 100 { 3 } else { 0 };
        assert_eq!((log.bounds().head.0, log.bounds().tail.0, count(&log).await), (head, 3, 3 - head));
    }
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for options in [
        Options { segment_bytes: 100, ..Options::default() },
        Options { segment_bytes: 1 << 40, ..Options::default() },
        Options { queue_bytes_max: 0, ..Options::default() },
        Options { group_bytes_max: 0, ..Options::default() },
    ] {
        let refused = LocalEngine::open(folder.path(), options, Env::system());
        assert!(matches!(refused, Err(EngineError::Options { .. })), "{refused:?}");
    }
    assert!(Files::list(&FaultyFiles::new(1)).unwrap().is_empty());
}
