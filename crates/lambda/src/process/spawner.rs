//! The thread that starts children.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use tokio::sync::{mpsc, oneshot};

use super::Process;
use crate::confine::{PLAN_BYTES_MAX, Plan};

/// Starts that may wait for the thread.
const JOBS_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Starts children, one after another. Clones share the thread; it ends with the last of them, and every child with it.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

/// A child that was started, with what it prints.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub process: Process,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

impl Spawner {
    pub fn new() -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(JOBS_MAX);
        std::thread::Builder::new().name("weir-spawner".to_owned()).spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job();
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts the launcher with a plan.
    pub async fn spawn(&self, launcher: Vec<OsString>, plan: &Plan) -> io::Result<Spawned> {
        let plan = serde_json::to_vec(plan)?;
        if plan.len() > PLAN_BYTES_MAX {
            return Err(io::Error::other(format!(
                "paths and environment variables take {} bytes, and may take {PLAN_BYTES_MAX}",
                plan.len()
            )));
        }
        let (answer, answered) = oneshot::channel();
        let spawner = self.clone();
        let job = Box::new(move || {
            let started = start(&launcher, &plan).and_then(|mut child| {
                let streams = child.stdout.take().zip(child.stderr.take());
                let process = Process::new(child, spawner)?;
                let (stdout, stderr) = streams.ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(Spawned { process, stdout, stderr })
            });
            // Nobody waits any more: dropping the child kills it.
            let _ = answer.send(started);
        });
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Waits for a child that was killed.
    pub(super) fn reap(&self, mut child: Child) {
        let job: Job = Box::new(move || {
            let _ = child.wait();
        });
        // A full queue leaves a zombie until the server ends: rare, and harmless.
        if self.jobs.try_send(job).is_err() {
            tracing::warn!("a child that was killed is left as a zombie");
        }
    }
}

fn start(launcher: &[OsString], plan: &[u8]) -> io::Result<Child> {
    let (program, arguments) = launcher.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (reader, mut writer) = io::pipe()?;
    // Fits the pipe, by the limit above: this does not wait.
    writer.write_all(plan)?;
    drop(writer);
    Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::from(reader))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}
