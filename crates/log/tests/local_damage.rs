//! A flipped bit anywhere is found and named, never fewer records are read in silence, and repair keeps all others.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use weir_env::{Env, Random};
use weir_log::local::files::{FaultyFiles, Files};
use weir_log::local::{Certainty, Options, Report, SEGMENT_BYTES_MIN, repair_on, verify_on};
use weir_log::{Block, Condition, Engine, EngineError, LocalEngine, Log, ReadError, ReadLimit};
use weir_types::{LogName, SequenceNumber};

const LOGS: usize = 3;
const LIMIT: ReadLimit = ReadLimit { bytes_max: 1 << 20 };

fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES_MIN, allocate_bytes: 4096, tail_cache_bytes_max: 0, ..Options::default() }
}

fn name(log: usize) -> LogName {
    format!("stream/s{log}/0").parse().unwrap()
}

fn open(files: &FaultyFiles) -> Result<LocalEngine, EngineError> {
    LocalEngine::open_on(Arc::new(files.clone()), options(), Env::system())
}

/// The payloads of each log, by the first record of each block.
type Content = Vec<BTreeMap<u64, Bytes>>;

/// Fills a folder with several segments; the last frame of each log lies in the last one.
async fn filled(seed: u64) -> (FaultyFiles, Content) {
    let files = FaultyFiles::new(seed);
    let random = Random::seeded(seed);
    let engine = open(&files).unwrap();
    let mut content = vec![BTreeMap::new(); LOGS];
    for round in 0..180 {
        let log = engine.log(&name(round % LOGS)).await.unwrap();
        let mut blocks = Vec::new();
        for part in 0..1 + round % 2 {
            let mut payload = format!("{round}/{part}/").into_bytes();
            payload.resize(payload.len() + (random.next() % 600) as usize, b'x');
            blocks.push(Block { records: 1 + (round % 4) as u32, payload: payload.into() });
        }
        let mut at = log.append(blocks.clone(), Condition::Always).await.unwrap();
        for block in blocks {
            content[round % LOGS].insert(at.0, block.payload);
            at = at + u64::from(block.records);
        }
    }
    engine.log(&name(1)).await.unwrap().trim(SequenceNumber(40)).await.unwrap();
    engine.close().await.unwrap();
    (files, content)
}

/// What reading a whole log yields: blocks, and the ranges that are damaged.
async fn read_past_damage(log: &Arc<dyn Log>) -> (BTreeMap<u64, Bytes>, Vec<(u64, u64)>) {
    let bounds = log.bounds();
    let (mut next, mut found, mut damaged) = (bounds.head, BTreeMap::new(), Vec::new());
    while next < bounds.tail {
        match log.read(next, LIMIT).await {
            Ok(blocks) => {
                assert!(!blocks.is_empty(), "nothing at {next} of {bounds:?}");
                for block in blocks {
                    assert!(block.first <= next && next < block.end(), "a gap at {next}");
                    next = block.end();
                    found.insert(block.first.0, block.payload);
                }
            }
            Err(ReadError::Damaged { from, to, .. } | ReadError::Lost { from, to, .. }) => {
                assert!(from <= next && to > next, "damage {from} to {to} does not hinder {next}");
                damaged.push((from.0, to.0));
                next = to;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (found, damaged)
}

/// Checks one log against what was written: each record is read as written, or reported.
async fn check(engine: &LocalEngine, content: &Content) -> Vec<(LogName, u64, u64)> {
    let mut losses = Vec::new();
    for (number, written) in content.iter().enumerate() {
        let log = engine.log(&name(number)).await.unwrap();
        let (found, damaged) = read_past_damage(&log).await;
        let head = log.bounds().head.0;
        for (first, payload) in &found {
            assert_eq!(written.get(first), Some(payload), "log {number}, record {first}");
        }
        for first in written.keys().filter(|first| **first >= head) {
            let reported = damaged.iter().any(|(from, to)| from <= first && first < to);
            assert!(found.contains_key(first) || reported, "log {number}: record {first} is gone without a word");
        }
        losses.extend(damaged.into_iter().map(|(from, to)| (name(number), from, to)));
    }
    losses.sort();
    losses
}

/// The losses that a report names.
fn lost(report: &Report) -> Vec<(LogName, u64, u64)> {
    report.losses.iter().map(|loss| (loss.log.clone(), loss.from.0, loss.to.0)).collect()
}

/// Flips one bit, and sees it through: found, named, repaired, and never fewer records in silence.
async fn flip(whole: &FaultyFiles, content: &Content, name: &str, offset: u64, bit: u8) {
    let files = whole.duplicate(offset);
    files.flip(name, offset, bit);
    let found = verify_on(&files).unwrap();
    let is_mark = Some(&name.to_owned()) == segments(&files).last() && offset + 64 >= files.bytes(name).len() as u64;
    if is_mark {
        // The mark that all before it is durable holds no record: without it there is a torn tail.
        assert!(found.is_clean() && found.torn_bytes > 0, "{found:?}");
        assert!(check(&open(&files).unwrap(), content).await.is_empty());
        return;
    }
    assert!(!found.is_clean(), "bit {bit} of byte {offset} of `{name}` is flipped, and nobody noticed");
    let named = found.damages.iter().any(|damage| damage.path.ends_with(name) && damage.offset <= offset);
    assert!(named, "byte {offset} of `{name}`: {found:?}");

    match open(&files) {
        Err(EngineError::Damaged { path, what }) => {
            assert!(path.ends_with(name) && what.contains("offset"), "{path:?}: {what}");
        }
        Err(error) => panic!("byte {offset} of `{name}`: {error}"),
        Ok(engine) => drop(check(&engine, content).await),
    }

    let repaired = repair_on(&files, &Env::system()).unwrap();
    assert_eq!(repaired.kept_copies.len(), 1, "{repaired:?}");
    let after = verify_on(&files).unwrap();
    assert!(after.is_clean(), "byte {offset} of `{name}`, after the repair: {after:?}");
    assert_eq!(after.losses, repaired.losses);
    let records: u64 = repaired.losses.iter().map(|loss| loss.to.since(loss.from)).sum();
    assert!(repaired.losses.iter().all(|loss| loss.certainty == Certainty::Certain), "{repaired:?}");
    assert!(records <= 4, "one bit took {records} records: {repaired:?}");
    let engine = open(&files).unwrap();
    assert_eq!(check(&engine, content).await, lost(&repaired));
    // It goes on as if nothing had been, and reports what is lost until it is trimmed.
    for number in 0..LOGS {
        let log = engine.log(&self::name(number)).await.unwrap();
        let tail = log.bounds().tail;
        let block = Block { records: 1, payload: Bytes::from_static(b"more") };
        assert_eq!(log.append(vec![block], Condition::TailIs(tail)).await.unwrap(), tail);
        log.trim(tail).await.unwrap();
        assert_eq!(log.read(tail, LIMIT).await.unwrap().len(), 1);
    }
    drop(engine);
    let trimmed = verify_on(&files).unwrap();
    assert!(trimmed.is_clean() && trimmed.losses.is_empty(), "{trimmed:?}");
}

fn segments(files: &FaultyFiles) -> Vec<String> {
    files.list().unwrap().into_iter().filter(|name| name.ends_with(".hot") || name.ends_with(".cold")).collect()
}

#[tokio::test]
async fn flipped_bit_in_any_place_is_found_named_and_repaired() {
    let (files, content) = filled(7).await;
    let segments = segments(&files);
    assert!(segments.len() >= 4, "{segments:?}");
    let random = Random::seeded(11);
    for (index, name) in segments.iter().enumerate() {
        let len = files.bytes(name).len() as u64;
        // Both copies of the header, fixed part, catalog and padding; the footer's trailer, pieces and runs, or in the last
        // segment the last frames and the mark behind them.
        let mut places = vec![0, 9, 33, 62, 70, 100, 4000, 4096, 4100, 4170, 8191];
        places.extend([1, 30, 63, 64, 70, 150, 300].map(|before| len - before));
        places.extend((0..24).map(|_| 8192 + random.next() % (len - 8192)));
        // The first frame, byte by byte of its header, in one segment.
        if index == 1 {
            places.extend(8192..8192 + 64);
        }
        for offset in places {
            flip(&files, &content, name, offset, (random.next() % 8) as u8).await;
        }
    }
}

#[tokio::test]
async fn missing_segment_is_found_and_its_records_are_recorded_as_lost() {
    let (files, content) = filled(3).await;
    let missing = segments(&files)[1].clone();
    files.remove(&missing).unwrap();
    assert!(!verify_on(&files).unwrap().is_clean());
    let Err(EngineError::Damaged { what, .. }) = open(&files) else { panic!("a missing segment went unnoticed") };
    assert!(what.contains("missing") && what.contains("stream/s"), "{what}");
    let repaired = repair_on(&files, &Env::system()).unwrap();
    assert!(!repaired.losses.is_empty());
    let engine = open(&files).unwrap();
    assert_eq!(check(&engine, &content).await, lost(&repaired));
}

#[tokio::test]
async fn hole_over_many_frames_loses_these_and_no_others() {
    let (files, content) = filled(5).await;
    for name in segments(&files) {
        let len = files.bytes(&name).len() as u64;
        let damaged = files.duplicate(1);
        let from = 8192 + (len - 8192) / 3;
        for offset in from..from + 4096 {
            damaged.flip(&name, offset, (offset % 8) as u8);
        }
        assert!(matches!(open(&damaged), Ok(_) | Err(EngineError::Damaged { .. })));
        let repaired = repair_on(&damaged, &Env::system()).unwrap();
        let records: u64 = repaired.losses.iter().map(|loss| loss.to.since(loss.from)).sum();
        assert!((4..150).contains(&records), "{records} records: {repaired:?}");
        let engine = open(&damaged).unwrap();
        assert_eq!(check(&engine, &content).await, lost(&repaired));
        drop(engine);
        assert!(verify_on(&damaged).unwrap().is_clean());
    }
}

#[tokio::test]
async fn repair_of_a_sound_folder_changes_nothing() {
    let (files, content) = filled(9).await;
    let before = files.list().unwrap();
    let report = repair_on(&files, &Env::system()).unwrap();
    assert!(report.is_clean() && report.kept_copies.is_empty() && report.frames > 200, "{report:?}");
    assert_eq!(files.list().unwrap(), before);
    assert!(check(&open(&files).unwrap(), &content).await.is_empty());
}

#[tokio::test]
async fn newer_format_is_refused_by_its_version() {
    let (files, _) = filled(2).await;
    let name = segments(&files)[0].clone();
    let file = files.open(&name).unwrap();
    let mut fixed = files.bytes(&name)[..64].to_vec();
    fixed[8] = 9;
    let crc = crc32c::crc32c(&fixed[..60]);
    fixed[60..].copy_from_slice(&crc.to_le_bytes());
    file.write_at(0, &[std::io::IoSlice::new(&fixed)]).unwrap();
    let opened = open(&files);
    assert!(matches!(opened, Err(EngineError::Version { found: 9, known: 1, .. })), "{opened:?}");
}
