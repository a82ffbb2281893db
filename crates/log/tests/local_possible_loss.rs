//! Damage over the newest frames of the last segment: what is lost for certain is named exactly, what may be lost is named
//! too, and no sequence number that a reader may have seen is given away again.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use weir_env::Env;
use weir_log::local::Certainty::{Certain, Possible};
use weir_log::local::files::{Crash, FaultyFiles, Files};
use weir_log::local::{Certainty, Options, Report, SEGMENT_BYTES_MIN, repair_on, verify_on};
use weir_log::{Block, Condition, Engine, EngineError, LocalEngine, Log, ReadError, ReadLimit};
use weir_types::{LogName, SequenceNumber};

const LIMIT: ReadLimit = ReadLimit { bytes_max: 1 << 20 };
const SEGMENT: &str = "000000000001.hot";
const RECORDS: u32 = 2;
const PAYLOAD_BYTES: usize = 200;
const FRAME_BYTES: u64 = 64 + PAYLOAD_BYTES as u64;
/// Both copies of the header, and three frames that create a log each.
const FRAMES_START: u64 = 2 * 4096 + 3 * 80;

fn name(log: usize) -> LogName {
    format!("stream/s{log}/0").parse().unwrap()
}

fn open(files: &FaultyFiles) -> Result<LocalEngine, EngineError> {
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        allocate_bytes: 4096,
        tail_cache_bytes_max: 0,
        ..Options::default()
    };
    LocalEngine::open_on(Arc::new(files.clone()), options, Env::system())
}

async fn append(engine: &LocalEngine, log: usize) -> SequenceNumber {
    let log = engine.log(&name(log)).await.unwrap();
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    log.append(vec![Block { records: RECORDS, payload }], Condition::Always).await.unwrap()
}

/// Returns a folder with one segment, in which the frames of these logs stand in this order. Each has two records.
async fn filled(order: &[usize]) -> FaultyFiles {
    let files = FaultyFiles::new(1);
    let engine = open(&files).unwrap();
    for log in 0..3 {
        engine.log(&name(log)).await.unwrap();
    }
    for log in order {
        append(&engine, *log).await;
    }
    engine.close().await.unwrap();
    files
}

/// Damages every byte of some frames.
fn damage(files: &FaultyFiles, frames: Range<u64>) {
    let place = |frame| FRAMES_START + frame * FRAME_BYTES;
    for offset in place(frames.start)..place(frames.end) {
        files.flip(SEGMENT, offset, (offset % 8) as u8);
    }
}

fn losses(report: &Report) -> Vec<(LogName, u64, u64, Certainty)> {
    report.losses.iter().map(|loss| (loss.log.clone(), loss.from.0, loss.to.0, loss.certainty)).collect()
}

/// Reads a log to its end: the records that are there, and the ranges that are lost.
async fn read(log: &Arc<dyn Log>) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut next, mut found, mut lost) = (log.bounds().head, Vec::new(), Vec::new());
    while next < log.bounds().tail {
        match log.read(next, LIMIT).await {
            Ok(blocks) => {
                found.extend(blocks.iter().flat_map(|block| block.first.0..block.end().0));
                next = blocks.last().unwrap().end();
            }
            Err(ReadError::Lost { from, to, .. }) => {
                lost.push((from.0, to.0));
                next = to;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (found, lost)
}

/// Repairs a folder, and checks that it names these losses, in the report and to readers, and goes on behind them.
async fn repaired(files: &FaultyFiles, expected: &[(LogName, u64, u64, Certainty)]) {
    assert_eq!(losses(&verify_on(files).unwrap()), expected);
    assert_eq!(losses(&repair_on(files, &Env::system()).unwrap()), expected);
    let after = verify_on(files).unwrap();
    assert!(after.is_clean(), "{after:?}");
    assert_eq!(losses(&after), expected);
    let engine = open(files).unwrap();
    for number in 0..3 {
        let log = engine.log(&name(number)).await.unwrap();
        let (_, lost) = read(&log).await;
        let expected = expected.iter().filter(|(log, ..)| *log == name(number));
        assert_eq!(lost, expected.clone().map(|(_, from, to, _)| (*from, *to)).collect::<Vec<_>>());
        let first = append(&engine, number).await;
        assert!(expected.clone().all(|(_, _, to, _)| first.0 >= *to), "{first} was given away before");
    }
    engine.close().await.unwrap();
    assert_eq!(losses(&verify_on(files).unwrap()), expected, "appends change nothing about losses");
}

#[tokio::test]
async fn last_frames_of_two_logs_lost_are_named_for_both() {
    let files = filled(&[0, 1, 2, 0, 1, 2, 0, 1, 2]).await;
    damage(&files, 6..8);
    // The frame behind names the last one; that of log 0 left no trace but the room for it.
    repaired(&files, &[(name(0), 4, 4 + FRAME_BYTES * 2 - 64, Possible), (name(1), 4, 6, Certain)]).await;
    let engine = open(&files).unwrap();
    for (number, records) in [(0, 4), (1, 4), (2, 6)] {
        let log = engine.log(&name(number)).await.unwrap();
        let (mut found, _) = read(&log).await;
        let appended = found.split_off(records);
        assert_eq!(found, (0..records as u64).collect::<Vec<_>>(), "log {number}");
        assert_eq!(appended.len(), RECORDS as usize, "log {number}");
        let tail = log.bounds().tail;
        log.trim(tail).await.unwrap();
    }
    engine.close().await.unwrap();
    assert!(losses(&verify_on(&files).unwrap()).is_empty(), "what is trimmed is not lost");
}

#[tokio::test]
async fn damage_up_to_the_mark_puts_all_logs_in_doubt() {
    let files = filled(&[0, 1, 2, 0, 1, 2]).await;
    damage(&files, 3..6);
    let room = FRAME_BYTES * 3 - 64;
    let expected = [(name(0), 2, 2 + room, Possible), (name(1), 2, 2 + room, Possible), (name(2), 2, 4, Certain)];
    repaired(&files, &expected).await;
}

#[tokio::test]
async fn later_frames_of_a_log_tell_exactly_what_is_lost() {
    let files = filled(&[0, 1, 2, 0, 0, 1, 2, 0, 1]).await;
    damage(&files, 2..6);
    // 2, 0, 0 and 1 are gone, and all three logs go on behind.
    repaired(&files, &[(name(0), 2, 6, Certain), (name(1), 2, 4, Certain), (name(2), 0, 2, Certain)]).await;
}

#[tokio::test]
async fn flipped_bits_in_neighbouring_headers_leave_nothing_in_doubt() {
    let files = filled(&[0, 1, 2, 0, 1, 2, 0]).await;
    for frame in 3..5 {
        files.flip(SEGMENT, FRAMES_START + frame * FRAME_BYTES + 20, 3);
    }
    repaired(&files, &[(name(0), 2, 4, Certain), (name(1), 2, 4, Certain)]).await;
}

#[tokio::test]
async fn frame_before_a_reopening_is_in_doubt() {
    let files = filled(&[0, 1, 2, 1]).await;
    let engine = open(&files).unwrap();
    append(&engine, 0).await;
    engine.close().await.unwrap();
    damage(&files, 3..4);
    // Nothing names the frame of log 1, and log 2 has none behind it.
    repaired(&files, &[(name(1), 2, 2 + FRAME_BYTES, Possible), (name(2), 2, 2 + FRAME_BYTES, Possible)]).await;
}

#[tokio::test]
async fn header_and_first_frames_lost_put_in_doubt_what_nothing_behind_names() {
    let files = filled(&[]).await;
    let engine = open(&files).unwrap();
    let hot = |files: &FaultyFiles| files.list().unwrap().into_iter().rfind(|name| name.ends_with(".hot"));
    let mut firsts = vec![0, append(&engine, 1).await.0];
    while hot(&files).unwrap() == SEGMENT {
        firsts[0] = append(&engine, 0).await.0;
    }
    firsts[1] = append(&engine, 1).await.0;
    append(&engine, 2).await;
    append(&engine, 2).await;
    engine.close().await.unwrap();
    // The second segment begins with 0, 1, 2, 2.
    let hot = hot(&files).unwrap();
    for offset in 0..8192 + 2 * FRAME_BYTES {
        files.flip(&hot, offset, 0);
    }
    let found = repair_on(&files, &Env::system()).unwrap();
    for (log, first) in [0, 1].into_iter().zip(firsts) {
        let named =
            |loss: &weir_log::local::Loss| loss.log == name(log) && loss.from.0 <= first && first + 2 <= loss.to.0;
        assert!(found.losses.iter().any(named), "log {log} from {first}: {found:?}");
    }
    assert_eq!(verify_on(&files).unwrap().losses, found.losses);
    open(&files).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn repair_that_a_crash_cut_short_names_the_same_losses() {
    let whole = filled(&[0, 1, 2, 0, 1, 2, 0, 1, 2]).await;
    damage(&whole, 6..8);
    let expected = losses(&verify_on(&whole).unwrap());
    let mut crashes = 0;
    for (seed, changes) in (0..60).enumerate() {
        let files = whole.duplicate(seed as u64);
        files.crash_at(Crash::After(changes));
        if repair_on(&files, &Env::system()).is_err() {
            crashes += 1;
            files.crash();
        }
        files.crash_at(Crash::Never);
        repair_on(&files, &Env::system()).unwrap();
        let after = verify_on(&files).unwrap();
        assert!(after.is_clean(), "crash after {changes} changes: {after:?}");
        assert_eq!(losses(&after), expected, "crash after {changes} changes");
    }
    assert!(crashes > 10, "{crashes} crashes");
}
