//! Files as a trigger: each new object of a folder or a prefix is taken once.
//!
//! ```text
//!              +--reference--> own queues of functions: an event as S3 sends it
//! look, claim--|
//!              +--records----> stream `_files-NAME` --> functions, tables;  bad rows and bad files --> dead letters
//! ```
//!
//! A [`sweep`] per block lists the place, claims what is new and has settled, hands it on, and marks it; claims and marks
//! are a [`machine`]. Invariant: what is handed on carries the number of a durable claim, so that a claim that is handed on
//! again after a crash is stored once; a file is marked when what it became is durable. Nothing is told by the store:
//! files that came while nothing ran are found by the next look.

mod glob;
mod letters;
mod look;
mod machine;
mod object;
mod parquet;
mod place;
mod records;
mod reference;
mod sweep;
#[cfg(test)]
mod tests;

pub use self::glob::Glob;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_config::{FilesContent, FilesFormat, FilesPlan, FilesStart, On};
use weir_env::Env;
use weir_machine::Owner;
use weir_queue::Queue;
use weir_types::{FilesName, StreamName};

use self::look::Looks;
pub(crate) use self::machine::Files;
use self::place::Place;
use self::records::Records;
use self::reference::Reference;
use self::sweep::{Seen, Sweep, Way};
use crate::dead::DeadLetters;
use crate::function::Functions;
use crate::node::StartError;
use crate::opening::Opening;
use crate::schemas::Catalog;
use crate::status::FilesStatus;
use crate::streams::OpenStream;

/// A block of the plan, and its stream if it has one.
pub(crate) struct Planned {
    name: FilesName,
    place: Place,
    start: FilesStart,
    every: std::time::Duration,
    settle: std::time::Duration,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Reference,
    Records { format: FilesFormat, stream: Arc<OpenStream> },
}

impl Content {
    fn word(&self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Records { format, .. } => match format {
                FilesFormat::Csv => "csv",
                FilesFormat::Ndjson => "ndjson",
                FilesFormat::Avro => "avro",
                FilesFormat::Parquet => "parquet",
            },
        }
    }
}

/// Opens the plan's blocks; the streams that their records go to are put among `streams`.
///
/// # Errors
/// See [`StartError`].
pub(crate) async fn open(
    plans: BTreeMap<FilesName, FilesPlan>,
    opening: &Opening<'_>,
    streams: &mut BTreeMap<StreamName, Arc<OpenStream>>,
) -> Result<Vec<Planned>, StartError> {
    let mut planned = Vec::new();
    for plan in plans.into_values() {
        let place = Place::new(&plan)?;
        let content = match plan.content {
            FilesContent::Reference => Content::Reference,
            FilesContent::Records { format, stream } => {
                let stream = opening.stream(*stream).await?;
                streams.insert(stream.stream.name().clone(), stream.clone());
                Content::Records { format, stream }
            }
        };
        let FilesPlan { name, start, every, settle, .. } = plan;
        planned.push(Planned { name, place, start, every, settle, content });
    }
    Ok(planned)
}

/// What running blocks needs.
pub(crate) struct Around<'a> {
    pub env: &'a Env,
    pub owner: &'a Owner<Files>,
    pub catalog: &'a Catalog,
    pub dead_letters: &'a DeadLetters,
    pub functions: &'a Functions,
}

/// A block that runs. Dropping it ends its task, as a crash would.
pub(crate) struct OpenFiles {
    name: FilesName,
    location: String,
    content: &'static str,
    owner: Owner<Files>,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl OpenFiles {
    /// Begins to look. A block by reference that no function is on takes nothing: who comes to be on it finds all.
    pub fn start(planned: Planned, around: &Around<'_>) -> Self {
        let Planned { name, place, start, every, settle, content } = planned;
        let seen = Arc::<Mutex<Seen>>::default();
        let (stop, mut stopping) = watch::channel(false);
        let block = Self {
            name: name.clone(),
            location: place.location().to_string(),
            content: content.word(),
            owner: around.owner.clone(),
            seen: seen.clone(),
            stop,
            task: Mutex::default(),
        };
        let way = match content {
            Content::Reference => match queues_on(&name, around.functions) {
                queues if queues.is_empty() => return block,
                queues => Way::Reference(Reference::new(name.clone(), queues)),
            },
            Content::Records { format, stream } => Way::Records(Records {
                env: around.env.clone(),
                files: name.clone(),
                format,
                stream,
                catalog: around.catalog.clone(),
                dead_letters: around.dead_letters.clone(),
            }),
        };
        let sweep = Sweep {
            env: around.env.clone(),
            looks: Looks::new(around.env.clone(), name.clone(), settle),
            files: name,
            place,
            start,
            every,
            way,
            owner: around.owner.clone(),
            seen,
            ready: VecDeque::new(),
            tried: None,
            resumed: None,
            absent: None,
            compare: false,
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = sweep.run() => {}
                // Wherever it is: what it has begun is found again, as after a crash.
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        });
        *block.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        block
    }

    /// Ends the block's task.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A task that panicked has said so.
            let _ = task.await;
        }
    }

    pub fn status(&self) -> FilesStatus {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (taken, failed) =
            self.owner.read(|files| files.block(&self.name).map_or((0, 0), |block| (block.taken, block.failed)));
        FilesStatus {
            name: self.name.to_string(),
            location: self.location.clone(),
            content: self.content,
            seen: seen.seen,
            taken,
            failed,
            waiting: seen.waiting,
            last_look: seen.last_look,
            trouble: seen.trouble,
        }
    }
}

/// Returns the own queues of the functions that are on a block.
fn queues_on(name: &FilesName, functions: &Functions) -> Vec<Arc<Queue>> {
    let on = functions.values().filter(|function| matches!(&function.plan.on, On::Files(files) if files == name));
    on.filter_map(|function| function.events.clone()).collect()
}
