//! Runs the tools that a deployment needs: an interpreter that tells its version, pip, npm.
//!
//! They run as the server does, with its environment: they need its network settings and caches. The launcher puts them
//! into a session of their own and ties their life to the server's; a limit ends them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::ExitStatus;
use crate::confine::{Limits, Plan, Syscalls};
use crate::install::InstallError;
use crate::limits::LAST_LINES_MAX;
use crate::shared::Shared;

/// What is kept of a tool's output, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What a tool printed, when it succeeded.
#[derive(Debug)]
pub(crate) struct Printed {
    pub stdout: String,
}

/// Runs a command in `folder`, and returns what it printed.
pub(crate) async fn run(
    shared: &Shared,
    command: &[String],
    folder: &Path,
    variables: &[(&str, &str)],
    limit: Duration,
) -> Result<Printed, InstallError> {
    let shown = || command.join(" ");
    let failed = |source: io::Error| InstallError::Run { command: shown(), source };
    // What is no text can't be passed on as JSON, and is nothing that these tools read.
    let own =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut environment: BTreeMap<String, String> = own.collect();
    environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let plan = Plan {
        parent: std::process::id(),
        user: None,
        limits: Limits::default(),
        files: None,
        syscalls: Syscalls::All,
        folder: folder.to_owned(),
        command: command.to_vec(),
        environment,
    };
    let spawned = shared.spawner.spawn(shared.options.launcher.clone(), &plan).await.map_err(failed)?;
    let stdout = Receiver::from_owned_fd(spawned.stdout.into()).map_err(failed)?;
    let stderr = Receiver::from_owned_fd(spawned.stderr.into()).map_err(failed)?;
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    let ended = {
        let reads = futures::future::join(read(stdout, &mut printed), read(stderr, &mut complained));
        let all = async {
            let (reads, exited) = (std::pin::pin!(reads), std::pin::pin!(spawned.process.exited()));
            // The tool's own end counts: what it started may keep the pipes open.
            match futures::future::select(exited, reads).await {
                futures::future::Either::Left((status, reads)) => {
                    shared.env.within(Duration::from_secs(1), reads).await;
                    status
                }
                futures::future::Either::Right((_, exited)) => exited.await,
            }
        };
        shared.env.within(limit, all).await
    };
    let last_lines = || {
        let mut lines: VecDeque<String> = VecDeque::new();
        for line in String::from_utf8_lossy(&[printed.clone(), complained.clone()].concat()).lines() {
            if lines.len() == LAST_LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }
        lines.into()
    };
    match ended {
        Some(ExitStatus::Code(0)) => Ok(Printed { stdout: String::from_utf8_lossy(&printed).into_owned() }),
        Some(status) => Err(InstallError::Failed { command: shown(), status, last_lines: last_lines() }),
        // Dropping the process kills it and its group.
        None => Err(InstallError::TimedOut { command: shown(), limit, last_lines: last_lines() }),
    }
}

/// Reads to the end, and keeps the last part.
async fn read(mut pipe: Receiver, kept: &mut Vec<u8>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                kept.extend_from_slice(&buffer[..length]);
                let excess = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
                kept.drain(..excess);
            }
        }
    }
}
