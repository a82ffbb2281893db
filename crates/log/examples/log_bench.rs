//! Measures the local engine against its floors, and prints JSON.
//!
//! ```text
//! cargo run --release -p weir-log --example log_bench -- [--dir FOLDER] [--open-gb 1]
//! ```
//!
//! - `blocks`: 64 KiB blocks, 16 appenders, each append acknowledged when durable. Floor: the same bytes in the same group
//!   sizes, each group one write and one fdatasync, into files of a segment's size: plain ones, and ones
//!   whose space is taken ahead as the engine does, which is the harder floor.
//! - `single`: one appender of single 200-byte records. Floor: a plain file, the same bytes per write, fdatasync each.
//! - `open`: opening after kill -9, by a child process that had filled the folder.
//!
//! Medians of five, engine and floor in turns.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch needs the machine's own clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing better to do")]

use std::fs::{self, File as DiskFile};
use std::io::{self, BufRead, BufReader, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_env::Env;
use weir_log::local::Options;
use weir_log::local::files::{DiskFiles, File, Files};
use weir_log::{AppendError, Block, Condition, Engine, LocalEngine, Log, ReadLimit};
use weir_types::SequenceNumber;

const ROUNDS: usize = 5;
const BLOCK_BYTES: usize = 64 << 10;
const BLOCKS: usize = 8192;
const APPENDERS: usize = 16;
const SINGLES: usize = 1500;
const ALLOCATE_BYTES: u64 = 16 << 20;
const RECORD_BYTES: usize = 200;

/// Files that count what is written between two syncs.
#[derive(Debug)]
struct Counting {
    inner: DiskFiles,
    groups: Arc<Mutex<Groups>>,
}

#[derive(Debug, Default)]
struct Groups {
    sizes: Vec<usize>,
    open: usize,
}

#[derive(Debug)]
struct CountingFile {
    inner: Arc<dyn File>,
    groups: Arc<Mutex<Groups>>,
}

impl Counting {
    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(CountingFile { inner, groups: Arc::clone(&self.groups) })
    }
}

impl Files for Counting {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock()
    }
    fn owner(&self) -> Option<u32> {
        self.inner.owner()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.inner.create(name).map(|file| self.file(file))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.inner.open(name).map(|file| self.file(file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn keep_copy(&self, name: &str, folder: &str) -> io::Result<PathBuf> {
        self.inner.keep_copy(name, folder)
    }
    fn sync_folder(&self) -> io::Result<()> {
        self.inner.sync_folder()
    }
    fn sync_failed(&self, name: &str, error: &io::Error) {
        self.inner.sync_failed(name, error);
    }
}

impl File for CountingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.inner.write_at(offset, parts)?;
        self.groups.lock().unwrap().open += written;
        Ok(written)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn allocate(&self, offset: u64, end: u64) -> io::Result<()> {
        self.inner.allocate(offset, end)
    }
    fn sync(&self) -> io::Result<()> {
        let mut groups = self.groups.lock().unwrap();
        let size = std::mem::take(&mut groups.open);
        groups.sizes.push(size);
        drop(groups);
        self.inner.sync()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn quantile(times: &mut [Duration], of: f64) -> f64 {
    times.sort();
    times[((times.len() - 1) as f64 * of) as usize].as_secs_f64() * 1e6
}

fn fresh(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

async fn append(log: &Arc<dyn Log>, payload: &Bytes, records: u32) -> SequenceNumber {
    loop {
        let blocks = vec![Block { records, payload: payload.clone() }];
        match log.append(blocks, Condition::Always).await {
            Ok(first) => return first,
            Err(AppendError::Busy { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Appends from many callers to as many logs. Returns the time and what was written between syncs.
async fn engine_blocks(dir: &Path) -> (Duration, Vec<usize>) {
    let groups = Arc::new(Mutex::new(Groups::default()));
    let files = Counting { inner: DiskFiles::create(&fresh(dir, "blocks")).unwrap(), groups: Arc::clone(&groups) };
    let engine = Arc::new(LocalEngine::open_on(Arc::new(files), Options::default(), Env::system()).unwrap());
    let mut logs = Vec::new();
    for shard in 0..APPENDERS {
        logs.push(engine.log(&format!("stream/bench/{shard}").parse().unwrap()).await.unwrap());
    }
    *groups.lock().unwrap() = Groups::default();
    let started = Instant::now();
    let callers = logs.into_iter().map(|log| {
        tokio::spawn(async move {
            let payload = Bytes::from((0..BLOCK_BYTES).map(|i| (i % 253) as u8).collect::<Vec<u8>>());
            for _ in 0..BLOCKS / APPENDERS {
                append(&log, &payload, 320).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let took = started.elapsed();
    let sizes = groups.lock().unwrap().sizes.clone();
    engine.close().await.unwrap();
    (took, sizes)
}

/// How the floor's files get their space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// By writing.
    Plain,
    /// Ahead, as the engine does.
    Ahead,
}

/// Writes groups of the same sizes to plain files.
fn floor_blocks(dir: &Path, groups: &[usize], space: Space) -> Duration {
    let folder = fresh(dir, "floor");
    let payload = vec![7_u8; *groups.iter().max().unwrap()];
    let files = DiskFiles::create(&folder).unwrap();
    let (mut file, mut at, mut number): (Option<Arc<dyn File>>, u64, u32) = (None, 0, 0);
    let started = Instant::now();
    for size in groups.iter().filter(|size| **size > 0) {
        if at >= 64 << 20 {
            file = None;
        }
        let file = file.get_or_insert_with(|| {
            (at, number) = (0, number + 1);
            files.create(&number.to_string()).unwrap()
        });
        let near = at % ALLOCATE_BYTES + *size as u64 >= ALLOCATE_BYTES || at == 0;
        if space == Space::Ahead && near {
            file.allocate(at, at / ALLOCATE_BYTES * ALLOCATE_BYTES + 2 * ALLOCATE_BYTES).unwrap();
        }
        assert_eq!(file.write_at(at, &[IoSlice::new(&payload[..*size])]).unwrap(), *size);
        file.sync().unwrap();
        at += *size as u64;
    }
    started.elapsed()
}

async fn engine_single(dir: &Path) -> Vec<Duration> {
    let engine = LocalEngine::open(&fresh(dir, "single"), Options::default(), Env::system()).unwrap();
    let log = engine.log(&"stream/bench/0".parse().unwrap()).await.unwrap();
    let payload = Bytes::from(vec![7; RECORD_BYTES]);
    let mut times = Vec::with_capacity(SINGLES);
    for _ in 0..SINGLES {
        let started = Instant::now();
        append(&log, &payload, 1).await;
        times.push(started.elapsed());
    }
    engine.close().await.unwrap();
    times
}

fn floor_single(dir: &Path) -> Vec<Duration> {
    let file = DiskFile::create(fresh(dir, "floor").join("plain")).unwrap();
    let payload = [7_u8; RECORD_BYTES + 64];
    let mut times = Vec::with_capacity(SINGLES);
    for i in 0..SINGLES {
        let started = Instant::now();
        file.write_all_at(&payload, (i * payload.len()) as u64).unwrap();
        file.sync_data().unwrap();
        times.push(started.elapsed());
    }
    times
}

/// The child of `open`: fills the folder up to a size, says so, and appends until it is killed.
async fn fill(folder: &Path, bytes: u64) {
    let engine = Arc::new(LocalEngine::open(folder, Options::default(), Env::system()).unwrap());
    let payload = Bytes::from(vec![7; BLOCK_BYTES]);
    let callers = (0..APPENDERS).map(|shard| {
        let (engine, payload) = (Arc::clone(&engine), payload.clone());
        tokio::spawn(async move {
            let log = engine.log(&format!("stream/bench/{shard}").parse().unwrap()).await.unwrap();
            let mut told = false;
            loop {
                append(&log, &payload, 320).await;
                if shard == 0 && !told && engine.bytes() >= bytes {
                    println!("filled");
                    told = true;
                }
            }
        })
    });
    futures::future::join_all(callers).await;
}

/// Lets a child fill the folder, kills it, and opens what it left.
async fn open_after_kill(folder: &Path, bytes: u64) -> (Duration, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--fill".as_ref(), folder.as_os_str(), bytes.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line.trim(), "filled");
    let started = Instant::now();
    let engine = LocalEngine::open(folder, Options::default(), Env::system()).unwrap();
    let took = started.elapsed();
    let log = engine.log(&"stream/bench/3".parse().unwrap()).await.unwrap();
    let blocks = log.read(log.bounds().head, ReadLimit { bytes_max: 1 << 20 }).await.unwrap();
    assert_eq!(blocks[0].payload.len(), BLOCK_BYTES);
    (took, engine.bytes())
}

/// Returns the memory of this process in MB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
}

async fn run(dir: &Path, open_gb: f64) {
    let (mut plain, mut ahead, mut speeds, mut amplified, mut group) = (vec![], vec![], vec![], vec![], vec![]);
    let bytes = (BLOCKS * BLOCK_BYTES) as f64;
    for _ in 0..ROUNDS {
        let (took, sizes) = engine_blocks(dir).await;
        let of = |floor: Duration| floor.as_secs_f64() / took.as_secs_f64();
        plain.push(of(floor_blocks(dir, &sizes, Space::Plain)));
        ahead.push(of(floor_blocks(dir, &sizes, Space::Ahead)));
        speeds.push(bytes / took.as_secs_f64() / 1e6);
        amplified.push(sizes.iter().sum::<usize>() as f64 / bytes);
        group.push(sizes.iter().sum::<usize>() as f64 / sizes.len() as f64 / 1e3);
    }
    println!(
        "{{\"bench\":\"blocks\",\"mb_per_s\":{:.0},\"of_plain\":{:.3},\"of_ahead\":{:.3},\"written_per_byte\":{:.4},\"group_kb\":{:.0}}}",
        median(speeds),
        median(plain),
        median(ahead),
        median(amplified),
        median(group)
    );
    let (mut p50, mut p99, mut floor50, mut floor99, mut ratio) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let (mut own, mut floor) = (engine_single(dir).await, floor_single(dir));
        p50.push(quantile(&mut own, 0.5));
        p99.push(quantile(&mut own, 0.99));
        floor50.push(quantile(&mut floor, 0.5));
        floor99.push(quantile(&mut floor, 0.99));
        ratio.push(quantile(&mut own, 0.5) / quantile(&mut floor, 0.5));
    }
    println!(
        "{{\"bench\":\"single\",\"p50_us\":{:.0},\"p99_us\":{:.0},\"floor_p50_us\":{:.0},\"floor_p99_us\":{:.0},\"p50_in_fsyncs\":{:.2}}}",
        median(p50),
        median(p99),
        median(floor50),
        median(floor99),
        median(ratio)
    );
    let folder = fresh(dir, "open");
    let (mut opened, mut held) = (vec![], 0);
    for round in 0..ROUNDS {
        let more = (open_gb * 1e9) as u64 + round as u64 * (40 << 20);
        let (took, bytes) = open_after_kill(&folder, more).await;
        opened.push(took.as_secs_f64() * 1e3);
        held = bytes;
    }
    println!(
        "{{\"bench\":\"open\",\"gb\":{:.2},\"ms\":{:.0},\"resident_mb\":{:.0}}}",
        held as f64 / 1e9,
        median(opened),
        resident()
    );
    for name in ["blocks", "floor", "single", "open"] {
        let _ = fs::remove_dir_all(dir.join(name));
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut dir, mut open_gb) = (std::env::temp_dir().join("weir-log-bench"), 1.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("a value behind the option");
        match arg.as_str() {
            "--dir" => dir = value().into(),
            "--open-gb" => open_gb = value().parse().unwrap(),
            "--fill" => {
                let (folder, bytes) = (PathBuf::from(value()), value().parse().unwrap());
                runtime.block_on(fill(&folder, bytes));
                return;
            }
            other => panic!("unknown option `{other}`"),
        }
    }
    fs::create_dir_all(&dir).unwrap();
    runtime.block_on(run(&dir, open_gb));
}
