//! Opening and closing the engine, and its part of the contract.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use weir_env::Env;
use weir_types::LogName;

use super::files::{DiskFiles, Files};
use super::format::{Kind, SegmentId};
use super::handle::LocalLog;
use super::index::Index;
use super::inspect::inspection;
use super::options::Options;
use super::queue::{CreateRefusal, Request};
use super::read::Reader;
use super::recover::{Found, Recovered, failed, recover};
use super::report::Inspection;
use super::segment::{BeginError, SegmentFile, begin};
use super::shared::Shared;
use super::tidy;
use super::writer::Writer;
use crate::{Engine, EngineError, LOGS_MAX, Log};

/// All logs of one node in one folder, behind one writer.
///
/// Dropping it closes it: that blocks until what is queued is durable, as [`Engine::close`] does without blocking.
#[derive(Debug)]
pub struct LocalEngine {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// What is there until the engine is closed.
struct Running {
    writer: JoinHandle<()>,
    tidier: JoinHandle<()>,
    /// Held for its drop.
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

impl LocalEngine {
    /// Opens the folder, and makes it if it is new.
    ///
    /// Reads the indexes of all segments and the whole of the last one, and blocks while it does: tens of milliseconds
    /// for gigabytes. An append that a crash cut short is cut off; it was never acknowledged.
    ///
    /// # Errors
    /// [`EngineError::InUse`] if another process has the folder, [`EngineError::Damaged`] if acknowledged records don't
    /// read; see [`EngineError`] for the rest.
    pub fn open(dir: &Path, options: Options, env: Env) -> Result<Self, EngineError> {
        let made = DiskFiles::create(dir);
        let files = made.map_err(|source| EngineError::Io { action: "create folder", path: dir.to_owned(), source })?;
        Self::open_on(Arc::new(files), options, env)
    }

    /// Opens a folder of any file layer.
    ///
    /// # Errors
    /// As [`LocalEngine::open`].
    pub fn open_on(files: Arc<dyn Files>, options: Options, env: Env) -> Result<Self, EngineError> {
        options.validate()?;
        let lock = lock(&*files)?;
        let (index, active, end) = match recover(&*files, options.segment_bytes)? {
            Found::Logs(recovered) => settle(&*files, *recovered, &options, &env)?,
            Found::Nothing { needless } => first(&*files, &needless, &options, &env)?,
        };
        let shared = Arc::new(Shared::new(files, options, env, index, active));
        let writer = Writer::new(Arc::clone(&shared), end);
        let writer = spawn(&shared, "weir-log-writer", move || writer.run())?;
        let tidier = Arc::clone(&shared);
        let tidier = spawn(&shared, "weir-log-tidier", move || tidy::run(&tidier))?;
        shared.tidy.wake();
        Ok(Self { shared, running: Mutex::new(Some(Running { writer, tidier, _lock: lock })) })
    }

    /// Tells what the engine holds.
    pub fn inspect(&self) -> Inspection {
        inspection(&self.shared.index())
    }

    fn stop(&self) -> Option<Running> {
        self.shared.queue.close();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Running {
    /// Waits until everything that was queued is durable. Blocks.
    fn finish(self, shared: &Shared) {
        let written = self.writer.join();
        shared.set_closed();
        shared.tidy.close();
        if written.is_err() || self.tidier.join().is_err() {
            tracing::error!("a thread of the log has panicked; what was acknowledged is durable");
        }
    }
}

fn spawn(
    shared: &Arc<Shared>,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, EngineError> {
    let guard = AbandonOnPanic(Arc::clone(shared));
    let guarded = move || {
        work();
        drop(guard);
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(guarded);
    spawned.map_err(|source| {
        shared.queue.close();
        shared.tidy.close();
        failed("start a thread for", &*shared.files, "", source)
    })
}

/// Refuses further requests if a thread ends by a panic, so that no caller waits forever.
struct AbandonOnPanic(Arc<Shared>);

impl Drop for AbandonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.abandon();
            self.0.set_closed();
        }
    }
}

/// Takes the folder for this process.
pub(crate) fn lock(files: &dyn Files) -> Result<Box<dyn Send + Sync>, EngineError> {
    files.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => EngineError::InUse { path: files.path().to_owned(), owner: files.owner() },
        _ => failed("lock", files, "", error),
    })
}

/// Begins in an empty folder.
fn first(
    files: &dyn Files,
    needless: &[String],
    options: &Options,
    env: &Env,
) -> Result<(Index, SegmentFile, u64), EngineError> {
    remove(files, needless)?;
    let id = SegmentId { number: 1, kind: Kind::Hot };
    let segment = begin_now(files, id, env.random(), env, &[])?;
    let mut index = Index::new(id.number, options.segment_bytes);
    index.add_segment(id, segment.frames_start);
    let end = segment.frames_start;
    Ok((index, segment, end))
}

/// Brings the folder into the state that was found: cuts a torn tail off, and removes what nothing needs.
fn settle(
    files: &dyn Files,
    recovered: Recovered,
    options: &Options,
    env: &Env,
) -> Result<(Index, SegmentFile, u64), EngineError> {
    let Recovered { mut index, last, end, sealed, torn_bytes, needless, flaws } = recovered;
    for (id, flaw) in flaws {
        tracing::warn!(segment = %id, offset = flaw.offset, "{}; `weir log repair` restores it", flaw.what);
    }
    let name = last.id.to_string();
    if torn_bytes > 0 {
        tracing::info!(segment = %last.id, offset = end, bytes = torn_bytes, "an append that a crash cut short is cut off");
    }
    if !sealed {
        last.file.set_len(end).map_err(|source| failed("cut", files, &name, source))?;
        synced(files, &name, last.file.sync())?;
    }
    remove(files, &needless)?;
    if !sealed {
        return Ok((index, last, end));
    }
    let bytes = last.file.len().map_err(|source| failed("read", files, &name, source))?;
    if let Some(segment) = index.segments.get_mut(&last.id.number) {
        segment.bytes = bytes;
    }
    let id = SegmentId { number: index.next_number, kind: Kind::Hot };
    let next = begin_now(files, id, last.seed.salt, env, &index.catalog())?;
    index.add_segment(id, next.frames_start);
    index.active = super::index::Active { number: id.number, runs: super::runs::Runs::new(options.segment_bytes) };
    let end = next.frames_start;
    Ok((index, next, end))
}

fn remove(files: &dyn Files, needless: &[String]) -> Result<(), EngineError> {
    for name in needless {
        files.remove(name).map_err(|source| failed("remove", files, name, source))?;
    }
    if needless.is_empty() { Ok(()) } else { synced(files, "", files.sync_folder()) }
}

pub(crate) fn begin_now(
    files: &dyn Files,
    id: SegmentId,
    salt: u64,
    env: &Env,
    catalog: &[super::format::header::CatalogEntry],
) -> Result<SegmentFile, EngineError> {
    begin(files, id, salt, env.now(), catalog).map_err(|error| match error {
        BeginError::Write(source) => failed("begin segment", files, &id.to_string(), source),
        BeginError::Sync(source) => {
            files.sync_failed(&id.to_string(), &source);
            failed("sync", files, &id.to_string(), source)
        }
    })
}

pub(crate) fn synced(files: &dyn Files, name: &str, result: io::Result<()>) -> Result<(), EngineError> {
    result.map_err(|source| {
        files.sync_failed(name, &source);
        failed("sync", files, name, source)
    })
}

impl Engine for LocalEngine {
    fn log(&self, name: &LogName) -> BoxFuture<'_, Result<Arc<dyn Log>, EngineError>> {
        let name = name.clone();
        Box::pin(async move {
            if self.shared.is_closed() {
                return Err(EngineError::Closed);
            }
            let known = self.shared.index().by_name.get(&name).copied();
            let log = match known {
                Some(log) => log,
                None => {
                    let (done, answer) = oneshot::channel();
                    let bytes = super::format::frame::frame_bytes(name.as_str().len());
                    let submitted = self.shared.queue.submit(Request::Create { name: name.clone(), done }, bytes);
                    submitted.map_err(|refusal| create_error(CreateRefusal::Append(refusal.for_log(&name)), &name))?;
                    answer.await.map_err(|_| EngineError::Closed)?.map_err(|refusal| create_error(refusal, &name))?
                }
            };
            let reader = Reader { shared: Arc::clone(&self.shared), log, name };
            Ok(Arc::new(LocalLog::new(reader)) as Arc<dyn Log>)
        })
    }

    fn names(&self) -> Vec<LogName> {
        let mut names: Vec<LogName> = self.shared.index().logs.iter().map(|log| log.name.clone()).collect();
        names.sort();
        names
    }

    fn bytes(&self) -> u64 {
        self.shared.index().bytes()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            if let Some(running) = self.stop() {
                let shared = Arc::clone(&self.shared);
                let finished = tokio::task::spawn_blocking(move || running.finish(&shared)).await;
                return finished.map_err(|_| EngineError::Closed);
            }
            Ok(())
        })
    }
}

impl Drop for LocalEngine {
    fn drop(&mut self) {
        if let Some(running) = self.stop() {
            running.finish(&self.shared);
        }
    }
}

fn create_error(refusal: CreateRefusal, name: &LogName) -> EngineError {
    match refusal {
        CreateRefusal::TooMany => EngineError::TooManyLogs { log: name.clone(), logs_max: LOGS_MAX },
        CreateRefusal::Append(crate::AppendError::Closed) => EngineError::Closed,
        CreateRefusal::Append(error) => EngineError::Create(error),
    }
}
