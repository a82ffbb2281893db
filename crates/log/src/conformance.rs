//! The one suite that every engine must pass: each function proves one fact of the contract, and panics if it does not hold.
//!
//! Every fact takes a fresh, empty engine. [`all`] runs them one after another. Facts that hold only for some engines
//! (what survives a crash, how much disk is used) stand with those engines.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use weir_types::limits::APPEND_BYTES_MAX;
use weir_types::{LogName, SequenceNumber, Timestamp};

use crate::{
    AppendError, Block, Bounds, Condition, Engine, EngineError, Log, ReadError, ReadLimit, StoredBlock, TrimError,
};

const EVERYTHING: ReadLimit = ReadLimit { bytes_max: usize::MAX };

/// Runs every fact, each on an engine of its own from `make`.
///
/// # Panics
/// If a fact does not hold.
pub async fn all(make: impl AsyncFn() -> Arc<dyn Engine>) {
    what_is_appended_is_read_back(make().await).await;
    empty_log_has_no_bounds_and_no_blocks(make().await).await;
    sequence_numbers_count_records_without_gaps(make().await).await;
    blocks_of_one_append_lie_together(make().await).await;
    failed_condition_stores_nothing(make().await).await;
    conditional_appends_in_flight_chain(make().await).await;
    appends_keep_the_order_of_their_first_poll(make().await).await;
    only_one_of_many_rivals_wins(make().await).await;
    dropped_append_is_whole_or_absent(make().await).await;
    read_begins_with_the_block_that_holds_the_place(make().await).await;
    read_keeps_to_its_limit_but_returns_one_block(make().await).await;
    read_at_the_tail_or_beyond_is_empty(make().await).await;
    trim_moves_the_head_and_is_idempotent(make().await).await;
    trim_past_the_tail_is_refused(make().await).await;
    trim_inside_a_block_keeps_its_later_records(make().await).await;
    trimming_everything_keeps_the_tail(make().await).await;
    seek_finds_a_place_before_the_first_record_of_that_time(make().await).await;
    times_never_go_back(make().await).await;
    tail_watch_wakes_a_waiting_reader(make().await).await;
    two_handles_are_one_log(make().await).await;
    many_logs_do_not_mix(make().await).await;
    appends_beyond_the_limits_are_refused(make().await).await;
    largest_append_is_taken(make().await).await;
    closed_engine_refuses_and_close_is_idempotent(make().await).await;
}

fn name(text: &str) -> LogName {
    text.parse().expect("the suite's names follow the rule")
}

async fn open(engine: &Arc<dyn Engine>, text: &str) -> Arc<dyn Log> {
    engine.log(&name(text)).await.expect("open a log")
}

fn block(records: u32, text: impl Into<Vec<u8>>) -> Block {
    Block { records, payload: Bytes::from(text.into()) }
}

async fn append(log: &Arc<dyn Log>, records: u32, text: &str) -> SequenceNumber {
    log.append(vec![block(records, text)], Condition::Always).await.expect("append")
}

async fn read(log: &Arc<dyn Log>, from: u64) -> Vec<StoredBlock> {
    log.read(SequenceNumber(from), EVERYTHING).await.expect("read")
}

async fn texts(log: &Arc<dyn Log>, from: u64) -> Vec<String> {
    read(log, from).await.iter().map(|block| String::from_utf8_lossy(&block.payload).into_owned()).collect()
}

fn bounds(head: u64, tail: u64) -> Bounds {
    Bounds { head: SequenceNumber(head), tail: SequenceNumber(tail) }
}

/// The bytes, the number of records and the place come back as they went in.
pub async fn what_is_appended_is_read_back(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    let payload: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    let first = log.append(vec![block(7, payload.clone())], Condition::Always).await.expect("append");
    assert_eq!(first, SequenceNumber(0));
    let blocks = read(&log, 0).await;
    assert_eq!(blocks.len(), 1);
    assert_eq!((blocks[0].first, blocks[0].records), (SequenceNumber(0), 7));
    assert_eq!(blocks[0].payload, payload);
    assert!(engine.bytes() >= 100_000, "the engine counts what it holds");
    assert!((100_000..101_000).contains(&log.bytes()), "the log counts its own: {}", log.bytes());
    append(&log, 1, "").await;
    assert_eq!(read(&log, 7).await[0].payload, Bytes::new(), "an empty payload is a payload");
}

/// A new log holds nothing.
pub async fn empty_log_has_no_bounds_and_no_blocks(engine: Arc<dyn Engine>) {
    assert!(engine.names().is_empty());
    let log = open(&engine, "stream/a/0").await;
    assert_eq!(log.name().as_str(), "stream/a/0");
    assert_eq!(log.bounds(), bounds(0, 0));
    assert!(read(&log, 0).await.is_empty());
    assert_eq!(log.seek(Timestamp(0)).await.expect("seek"), SequenceNumber(0));
    log.trim(SequenceNumber(0)).await.expect("trim nothing");
    assert_eq!(engine.names(), vec![name("stream/a/0")]);
}

/// Each append begins where the last one ended.
pub async fn sequence_numbers_count_records_without_gaps(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    assert_eq!(append(&log, 3, "a").await, SequenceNumber(0));
    assert_eq!(append(&log, 1, "b").await, SequenceNumber(3));
    assert_eq!(append(&log, 1000, &"c".repeat(1000)).await, SequenceNumber(4));
    assert_eq!(log.bounds(), bounds(0, 1004));
}

/// Appends of several blocks by many callers don't interleave.
pub async fn blocks_of_one_append_lie_together(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    let appends = (0..40_u32).map(|caller| {
        let blocks = (0..5).map(|part| block(2, format!("{caller}/{part}"))).collect();
        log.append(blocks, Condition::Always)
    });
    let firsts = futures::future::join_all(appends).await;
    for (caller, first) in firsts.into_iter().enumerate() {
        let first = first.expect("append").0;
        for (part, stored) in read(&log, first).await.iter().take(5).enumerate() {
            assert_eq!(stored.first.0, first + 2 * part as u64);
            assert_eq!(stored.payload, format!("{caller}/{part}"));
        }
    }
    assert_eq!(log.bounds(), bounds(0, 400));
}

/// A conflict names both tails, and leaves the log as it was.
pub async fn failed_condition_stores_nothing(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 2, "a").await;
    for wrong in [0, 1, 3] {
        let refused = log.append(vec![block(1, "x"), block(1, "y")], Condition::TailIs(SequenceNumber(wrong))).await;
        let Err(AppendError::Conflict { log: named, expected, tail }) = refused else {
            panic!("expected a conflict, got {refused:?}");
        };
        assert_eq!((named.as_str(), expected.0, tail.0), ("stream/a/0", wrong, 2));
    }
    assert_eq!(texts(&log, 0).await, ["a"]);
    let taken = log.append(vec![block(1, "b")], Condition::TailIs(SequenceNumber(2))).await;
    assert_eq!(taken.expect("append"), SequenceNumber(2));
}

/// A caller may submit its next conditional append before the last one is durable.
pub async fn conditional_appends_in_flight_chain(engine: Arc<dyn Engine>) {
    let log = open(&engine, "machine/a").await;
    let chain =
        (0..50_u64).map(|i| log.append(vec![block(2, format!("{i}"))], Condition::TailIs(SequenceNumber(2 * i))));
    for (i, result) in futures::future::join_all(chain).await.into_iter().enumerate() {
        assert_eq!(result.expect("a chained append"), SequenceNumber(2 * i as u64));
    }
    let refused = log.append(vec![block(1, "x")], Condition::TailIs(SequenceNumber(98))).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })));
}

/// Appends are sequenced in the order in which they were first polled.
pub async fn appends_keep_the_order_of_their_first_poll(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    let appends = (0..100_u32).map(|i| log.append(vec![block(1, format!("{i}"))], Condition::Always));
    futures::future::join_all(appends).await;
    let expected: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    assert_eq!(texts(&log, 0).await, expected);
}

/// Of callers that expect the same tail one is stored, and the others are fenced.
pub async fn only_one_of_many_rivals_wins(engine: Arc<dyn Engine>) {
    let log = open(&engine, "machine/a").await;
    for round in 0..10 {
        let rivals = (0..8).map(|i| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                log.append(vec![block(1, format!("{round}/{i}"))], Condition::TailIs(SequenceNumber(round))).await
            })
        });
        let results = futures::future::join_all(rivals).await;
        let won = results.iter().filter(|result| matches!(result, Ok(Ok(_)))).count();
        assert_eq!((won, log.bounds()), (1, bounds(0, round + 1)));
    }
}

/// Dropping the future of an append after its first poll leaves a log that reads well, with all or nothing of it.
pub async fn dropped_append_is_whole_or_absent(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    for _ in 0..20 {
        let _ = log.append(vec![block(1, "first"), block(1, "second")], Condition::Always).now_or_never();
    }
    append(&log, 1, "last").await;
    let mut found = texts(&log, 0).await;
    assert_eq!(found.pop().as_deref(), Some("last"));
    assert!(found.chunks(2).all(|pair| pair == ["first", "second"]), "{found:?}");
}

/// A read from inside a block returns that block whole.
pub async fn read_begins_with_the_block_that_holds_the_place(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 10, "a").await;
    append(&log, 10, "b").await;
    assert_eq!(texts(&log, 9).await, ["a", "b"]);
    assert_eq!(texts(&log, 10).await, ["b"]);
    assert_eq!(read(&log, 19).await[0].first, SequenceNumber(10));
}

/// The limit is on payload bytes; progress is always possible.
pub async fn read_keeps_to_its_limit_but_returns_one_block(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    for _ in 0..5 {
        append(&log, 1, "0123456789").await;
    }
    for (bytes_max, blocks) in [(0, 1), (9, 1), (19, 1), (20, 2), (49, 4), (50, 5), (1000, 5)] {
        let found = log.read(SequenceNumber(0), ReadLimit { bytes_max }).await.expect("read");
        assert_eq!(found.len(), blocks, "with {bytes_max} bytes");
    }
}

/// There is nothing to read yet, which is no error.
pub async fn read_at_the_tail_or_beyond_is_empty(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 2, "a").await;
    assert!(read(&log, 2).await.is_empty());
    assert!(read(&log, 1_000_000).await.is_empty());
}

/// Trimming twice, or to below the head, does nothing more; what was trimmed is named when asked for.
pub async fn trim_moves_the_head_and_is_idempotent(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    for text in ["a", "b", "c"] {
        append(&log, 2, text).await;
    }
    for to in [4, 4, 1, 0] {
        log.trim(SequenceNumber(to)).await.expect("trim");
        assert_eq!(log.bounds(), bounds(4, 6));
    }
    let refused = log.read(SequenceNumber(3), EVERYTHING).await;
    let Err(ReadError::Trimmed { asked, head, .. }) = refused else { panic!("expected trimmed, got {refused:?}") };
    assert_eq!((asked.0, head.0), (3, 4));
    assert_eq!(texts(&log, 4).await, ["c"]);
}

/// What was never appended can't be trimmed.
pub async fn trim_past_the_tail_is_refused(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 2, "a").await;
    let refused = log.trim(SequenceNumber(3)).await;
    let Err(TrimError::PastTail { asked, tail, .. }) = refused else { panic!("expected a refusal, got {refused:?}") };
    assert_eq!((asked.0, tail.0), (3, 2));
    assert_eq!(log.bounds(), bounds(0, 2));
}

/// Blocks are not cut.
pub async fn trim_inside_a_block_keeps_its_later_records(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 10, "a").await;
    log.trim(SequenceNumber(5)).await.expect("trim");
    assert_eq!(log.bounds(), bounds(5, 10));
    let blocks = read(&log, 5).await;
    assert_eq!((blocks[0].first.0, blocks[0].records), (0, 10));
    assert!(matches!(log.read(SequenceNumber(4), EVERYTHING).await, Err(ReadError::Trimmed { .. })));
}

/// An empty log goes on counting where it was.
pub async fn trimming_everything_keeps_the_tail(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 5, "a").await;
    log.trim(SequenceNumber(5)).await.expect("trim");
    assert_eq!((log.bounds(), log.bytes()), (bounds(5, 5), 0));
    assert!(read(&log, 5).await.is_empty());
    assert_eq!(append(&log, 1, "b").await, SequenceNumber(5));
    assert_eq!(texts(&log, 5).await, ["b"]);
}

/// Whatever time is asked for, no record of that time or later lies before the place.
pub async fn seek_finds_a_place_before_the_first_record_of_that_time(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    for i in 0..20 {
        append(&log, 3, &format!("{i}")).await;
    }
    let blocks = read(&log, 0).await;
    let last = blocks[blocks.len() - 1].appended_at;
    for time in blocks.iter().map(|block| block.appended_at).chain([Timestamp(0)]) {
        let place = log.seek(time).await.expect("seek");
        let first = blocks.iter().find(|block| block.appended_at >= time).expect("each time is one of theirs");
        assert!(place <= first.first, "seek({time}) found {place}, and {} is of that time", first.first);
    }
    assert_eq!(log.seek(Timestamp(last.0 + 1)).await.expect("seek"), SequenceNumber(60));
    log.trim(SequenceNumber(31)).await.expect("trim");
    assert_eq!(log.seek(Timestamp(0)).await.expect("seek"), SequenceNumber(31));
}

/// Times within a log are in order, and one append has one time.
pub async fn times_never_go_back(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    for _ in 0..10 {
        log.append(vec![block(1, "x"), block(1, "y")], Condition::Always).await.expect("append");
    }
    let blocks = read(&log, 0).await;
    assert!(blocks.is_sorted_by_key(|block| block.appended_at));
    assert!(blocks.chunks(2).all(|pair| pair[0].appended_at == pair[1].appended_at));
}

/// A reader that has seen everything sleeps until there is more.
pub async fn tail_watch_wakes_a_waiting_reader(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 1, "a").await;
    let mut tail = log.tail();
    assert_eq!(*tail.borrow_and_update(), SequenceNumber(1));
    let reader = tokio::spawn(async move { tail.wait_for(|tail| tail.0 >= 3).await.map(|tail| *tail).ok() });
    append(&log, 1, "b").await;
    append(&log, 1, "c").await;
    assert_eq!(reader.await.expect("the reader ends"), Some(SequenceNumber(3)));
}

/// Two handles of one name see one another's appends and trims.
pub async fn two_handles_are_one_log(engine: Arc<dyn Engine>) {
    let one = open(&engine, "stream/a/0").await;
    let two = open(&engine, "stream/a/0").await;
    append(&one, 1, "a").await;
    assert_eq!(append(&two, 1, "b").await, SequenceNumber(1));
    assert_eq!(texts(&one, 0).await, ["a", "b"]);
    two.trim(SequenceNumber(1)).await.expect("trim");
    assert_eq!(one.bounds(), bounds(1, 2));
    assert_eq!(engine.names().len(), 1);
}

/// Logs count, trim and read apart from one another.
pub async fn many_logs_do_not_mix(engine: Arc<dyn Engine>) {
    let mut logs = Vec::new();
    for i in 0..50 {
        logs.push(open(&engine, &format!("stream/s{i:02}/0")).await);
    }
    for round in 0..10 {
        let appends = logs.iter().enumerate().map(async |(i, log)| append(log, 1, &format!("{i}/{round}")).await);
        for first in futures::future::join_all(appends).await {
            assert_eq!(first, SequenceNumber(round));
        }
    }
    logs[7].trim(SequenceNumber(10)).await.expect("trim");
    for (i, log) in logs.iter().enumerate().filter(|(i, _)| *i != 7) {
        let expected: Vec<String> = (0..10).map(|round| format!("{i}/{round}")).collect();
        assert_eq!(texts(log, 0).await, expected);
    }
    let names = engine.names();
    assert!(names.len() == 50 && names.is_sorted());
}

/// Nothing, no records, and too much are refused before they are queued.
pub async fn appends_beyond_the_limits_are_refused(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    let large = Bytes::from(vec![0; APPEND_BYTES_MAX / 2 + 1]);
    let refused = [
        vec![],
        vec![block(1, "a"), block(0, "b")],
        vec![Block { records: 1, payload: large.clone() }, Block { records: 1, payload: large }],
        vec![block(1, "a"); crate::BLOCKS_MAX + 1],
        vec![block(2 + crate::SPARE_RECORDS_MAX as u32, "a")],
    ];
    for blocks in refused {
        assert!(matches!(log.append(blocks, Condition::Always).await, Err(AppendError::Limit { .. })));
    }
    assert_eq!(log.bounds(), bounds(0, 0));
}

/// The limit itself is within the limit.
pub async fn largest_append_is_taken(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    log.append(vec![block(1, vec![7; APPEND_BYTES_MAX])], Condition::Always).await.expect("append");
    assert_eq!(read(&log, 0).await[0].payload.len(), APPEND_BYTES_MAX);
    append(&log, 1 + crate::SPARE_RECORDS_MAX as u32, "a").await;
}

/// After `close` nothing is taken or answered.
pub async fn closed_engine_refuses_and_close_is_idempotent(engine: Arc<dyn Engine>) {
    let log = open(&engine, "stream/a/0").await;
    append(&log, 1, "a").await;
    engine.close().await.expect("close");
    engine.close().await.expect("close again");
    let append = log.append(vec![block(1, "b")], Condition::Always).await;
    assert!(matches!(append, Err(AppendError::Closed)), "{append:?}");
    let read = log.read(SequenceNumber(0), EVERYTHING).await;
    assert!(matches!(read, Err(ReadError::Closed)), "{read:?}");
    let trim = log.trim(SequenceNumber(1)).await;
    assert!(matches!(trim, Err(TrimError::Append(AppendError::Closed))), "{trim:?}");
    let seek = log.seek(Timestamp(0)).await;
    assert!(matches!(seek, Err(ReadError::Closed)), "{seek:?}");
    assert!(matches!(engine.log(&name("stream/b/0")).await, Err(EngineError::Closed)));
}
