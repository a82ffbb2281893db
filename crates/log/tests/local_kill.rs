//! A process that is killed with SIGKILL while it appends has lost nothing that it acknowledged.
//!
//! The test runs itself as the child: the variable `WEIR_LOG_CHILD` names the folder.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use weir_env::{Env, Random};
use weir_log::local::{Options, SEGMENT_BYTES_MIN, verify};
use weir_log::{Block, Condition, Engine, LocalEngine, Log, ReadLimit};
use weir_types::{LogName, SequenceNumber};

const CHILD: &str = "WEIR_LOG_CHILD";
const TEST: &str = "killed_process_has_lost_nothing_that_it_acknowledged";
const ROUNDS: u64 = 30;
const LOGS: usize = 3;

fn options() -> Options {
    Options {
        segment_bytes: 4 * SEGMENT_BYTES_MIN,
        allocate_bytes: 32 << 10,
        dead_bytes_max: 8 * SEGMENT_BYTES_MIN,
        ..Options::default()
    }
}

fn name(log: usize) -> LogName {
    format!("stream/s{log}/0").parse().unwrap()
}

/// Appends until it is killed, and says what was acknowledged: `ack LOG FIRST ID`.
async fn child(folder: &Path) {
    let engine = Arc::new(LocalEngine::open(folder, options(), Env::system()).unwrap());
    let mut callers = Vec::new();
    for caller in 0..2 * LOGS {
        let log = engine.log(&name(caller % LOGS)).await.unwrap();
        callers.push(tokio::spawn(append_forever(log, caller)));
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn append_forever(log: Arc<dyn Log>, caller: usize) {
    let random = Random::from_system();
    for count in 0_u64.. {
        let id = format!("{}.{caller}.{count}", std::process::id());
        let blocks = (0..1 + count % 3).map(|part| {
            let mut payload = format!("{id}/{}/{part}/", 1 + count % 3).into_bytes();
            payload.resize(payload.len() + (random.next() % 2000) as usize, b'.');
            Block { records: 1, payload: payload.into() }
        });
        let first = log.append(blocks.collect(), Condition::Always).await.unwrap();
        acknowledge(&format!("ack {} {first} {id}", caller % LOGS));
        if caller < LOGS && count % 50 == 49 {
            let to = first.0.saturating_sub(if caller == 0 { 2000 } else { 20 });
            log.trim(SequenceNumber(to)).await.unwrap();
        }
    }
}

fn acknowledge(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Lets a child run until it has acknowledged so much, and kills it. Returns all that it acknowledged.
fn run_and_kill(folder: &Path, acknowledged: usize) -> Vec<(usize, u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut found = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The last line may be cut off.
        if let ["ack", log, first, id] = words[..]
            && line.ends_with('\n')
        {
            found.push((log.parse().unwrap(), first.parse().unwrap(), id.to_owned()));
        }
        line.clear();
        if found.len() == acknowledged {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(found.len() >= acknowledged, "the child ended early, after {} appends", found.len());
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_process_has_lost_nothing_that_it_acknowledged() {
    if let Some(folder) = std::env::var_os(CHILD) {
        child(Path::new(&folder)).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let random = Random::seeded(1);
    let mut acknowledged: BTreeMap<(usize, u64), String> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let round = run_and_kill(folder.path(), 1 + (random.next() % 400) as usize);
        acknowledged.extend(round.into_iter().map(|(log, first, id)| ((log, first), id)));
        let report = verify(folder.path()).unwrap();
        assert!(report.is_clean() && report.losses.is_empty(), "{report:?}");
        let engine = LocalEngine::open(folder.path(), options(), Env::system()).unwrap();
        for number in 0..LOGS {
            let log = engine.log(&name(number)).await.unwrap();
            check(&log, number, &acknowledged).await;
            // Those that were trimmed are not asked for again.
            let head = log.bounds().head.0;
            acknowledged.retain(|(log, first), _| *log != number || *first >= head);
        }
    }
    assert!(acknowledged.len() > 500);
}

async fn check(log: &Arc<dyn Log>, number: usize, acknowledged: &BTreeMap<(usize, u64), String>) {
    let bounds = log.bounds();
    let mut found: BTreeMap<u64, Bytes> = BTreeMap::new();
    let mut next = bounds.head;
    while next < bounds.tail {
        for block in log.read(next, ReadLimit { bytes_max: 1 << 18 }).await.unwrap() {
            assert_eq!(block.first, next);
            next = block.end();
            found.insert(block.first.0, block.payload);
        }
    }
    let words =
        |payload: &Bytes| -> Vec<String> { String::from_utf8_lossy(payload).split('/').map(str::to_owned).collect() };
    for ((_, first), id) in acknowledged.range((number, bounds.head.0)..(number + 1, 0)) {
        let payload = found.get(first).unwrap_or_else(|| panic!("append {id} at {first} is lost"));
        assert_eq!(words(payload)[0], *id);
    }
    // Whole appends only, each once.
    let mut at = bounds.head.0;
    let mut ids = std::collections::BTreeSet::new();
    while at < bounds.tail.0 {
        let [id, count, part] = &words(&found[&at])[..3] else { panic!("a payload that nobody wrote") };
        let (count, part): (u64, u64) = (count.parse().unwrap(), part.parse().unwrap());
        assert!(ids.insert(id.clone()), "append {id} is there twice");
        assert!(part == 0 || at == bounds.head.0, "append {id} begins with part {part}");
        for later in part + 1..count {
            assert_eq!(words(&found[&(at + later - part)])[0], *id, "append {id} is not whole");
        }
        at += count - part;
    }
}
