//! Child processes: started by one thread that lives as long as the host, watched by pidfd, ended by the group.
//!
//! The kernel sends a parent-death signal when the *thread* that started the child ends, so that no thread of a pool may
//! start one: [`Spawner`] has a thread of its own.
//!
//! Invariant: no signal goes to a number that may belong to somebody else by now. A child stays unreaped, a zombie that
//! holds its number, until its group is killed; after that nothing is signalled.

mod spawner;
mod stragglers;
mod tree;

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

pub(crate) use spawner::Spawner;
pub(crate) use stragglers::{Mark, end_stragglers};
pub(crate) use tree::Tree;

use crate::ExitStatus;

/// A child that runs, or has ended and not been noticed yet. Dropping it kills it and its group.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Taken when the child has been reaped.
    child: Mutex<Option<Child>>,
    spawner: Spawner,
}

impl Process {
    fn new(child: Child, spawner: Spawner) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, child: Mutex::new(Some(child)), spawner })
    }

    /// Returns the process's number, which is its session's too.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills the process and its whole group at once. Does nothing once it has been reaped.
    pub fn kill(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_some() {
            // The group is there once the launcher has begun its session; before that there is the process alone.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
    }

    /// Waits until the process has ended, kills what is left of its group, and reaps it. To be called once.
    pub async fn exited(&self) -> ExitStatus {
        match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(watch) {
            Ok(fd) => {
                // An error means that the reactor is gone, and everything with it.
                let _ = fd.readable().await.map(|mut ready| ready.retain_ready());
            }
            Err(error) => self.exited_by_thread(error).await,
        }
        self.reap()
    }

    /// For kernels before 5.3: a thread waits, without reaping.
    async fn exited_by_thread(&self, error: io::Error) {
        let pid = self.pid;
        let (ended, wait) = oneshot::channel();
        let waiting = std::thread::Builder::new().name("weir-wait".to_owned()).spawn(move || {
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = ended.send(());
        });
        match waiting {
            Ok(_) => {
                let _ = wait.await;
            }
            Err(thread) => {
                tracing::error!(%error, %thread, pid = self.pid(), "a child can't be watched, and is ended");
                self.kill();
            }
        }
    }

    fn reap(&self) -> ExitStatus {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        // It has ended or was killed: this does not wait for long.
        child.take().and_then(|mut child| child.wait().ok()).map_or(ExitStatus::Unknown, ExitStatus::from)
    }
}

#[expect(deprecated, reason = "its replacement is `unsafe`; an `OwnedFd` keeps what that asks for")]
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

impl From<std::process::ExitStatus> for ExitStatus {
    fn from(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.spawner.reap(child);
        }
    }
}
