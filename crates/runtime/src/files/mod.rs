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
//! again after a crash is stored once; a file is marked when what it became is durable. Whoever
//! tells of new files makes them found sooner; files that nobody tells of, or that came while nothing ran, are found by the
//! next look.

mod hints;
mod letters;
mod look;
mod machine;
mod notification;
mod notify;
mod object;
mod parquet;
mod place;
mod records;
mod reference;
mod sweep;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use weir_config::{BadRows, FilesContent, FilesFormat, FilesPlan, FilesStart, On};
use weir_env::Env;
use weir_machine::Owner;
use weir_queue::{Queue, Queues};
use weir_types::{FilesName, QueueName, StreamName};

use self::hints::Hints;
use self::look::Looks;
pub(crate) use self::machine::Files;
pub use self::notification::NotificationError;
use self::notify::Ear;
use self::place::Place;
use self::records::Records;
use self::reference::Reference;
use self::sweep::{Seen, Sweep, Way};
use crate::dead::DeadLetters;
use crate::function::Functions;
use crate::node::{Node, StartError};
use crate::opening::Opening;
use crate::schemas::Catalog;
use crate::status::FilesStatus;
use crate::streams::OpenStream;

/// A block of the plan, and its stream if it has one.
pub(crate) struct Planned {
    name: FilesName,
    place: Arc<Place>,
    notify: Option<QueueName>,
    start: FilesStart,
    every: Duration,
    settle: Duration,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Reference,
    Records { format: FilesFormat, bad_rows: BadRows, stream: Arc<OpenStream> },
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
        let place = Arc::new(Place::new(&plan)?);
        let content = match plan.content {
            FilesContent::Reference => Content::Reference,
            FilesContent::Records { format, bad_rows, stream } => {
                let stream = opening.stream(*stream).await?;
                streams.insert(stream.stream.name().clone(), stream.clone());
                Content::Records { format, bad_rows, stream }
            }
        };
        let FilesPlan { name, start, every, settle, notify, .. } = plan;
        planned.push(Planned { name, place, notify, start, every, settle, content });
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
    pub queues: &'a Queues,
}

/// A block that runs. Dropping it ends its task, as a crash would.
pub(crate) struct OpenFiles {
    name: FilesName,
    location: String,
    content: &'static str,
    owner: Owner<Files>,
    seen: Arc<Mutex<Seen>>,
    ear: Ear,
    stop: channel::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl OpenFiles {
    /// Begins to look. A block by reference that no function is on takes nothing: who comes to be on it finds all.
    pub fn start(planned: Planned, around: &Around<'_>) -> Self {
        let Planned { name, place, notify, start, every, settle, content } = planned;
        let ear = Ear { hints: Arc::new(Hints::new()), place: place.clone() };
        let seen = Arc::<Mutex<Seen>>::default();
        let (stop, mut stopping) = channel::channel(false);
        let block = Self {
            name: name.clone(),
            location: place.location().to_string(),
            content: content.word(),
            owner: around.owner.clone(),
            seen: seen.clone(),
            ear: ear.clone(),
            stop,
            task: Mutex::default(),
        };
        let way = match content {
            Content::Reference => match queues_on(&name, around.functions) {
                queues if queues.is_empty() => return block,
                queues => Way::Reference(Reference::new(name.clone(), queues)),
            },
            Content::Records { format, bad_rows, stream } => Way::Records(Records {
                env: around.env.clone(),
                files: name.clone(),
                format,
                bad_rows,
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
            hints: ear.hints.clone(),
            hinted: None,
            unsettled: BTreeSet::new(),
            hint: 0,
            full_at: Duration::ZERO,
            took: Duration::ZERO,
        };
        let told = told(ear, notify.and_then(|queue| around.queues.get(&queue)), around.env.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = sweep.run() => {}
                () = told => {}
                // Wherever it is: what it has begun is found again, as after a crash.
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        });
        *block.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        block
    }

    /// Takes an event that names new files, or, without a body, looks at everything; returns how many files of the block it
    /// names.
    pub fn hear(&self, body: &[u8]) -> Result<usize, NotificationError> {
        self.ear.hear(body).map(|(_, count)| count)
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

/// Hears of new files, and never ends.
async fn told(ear: Ear, queue: Option<Arc<Queue>>, env: Env) {
    let watched = async {
        match ear.place.folder() {
            Some(folder) => watch::watch(env.clone(), folder.to_owned(), ear.hints.clone()).await,
            None => std::future::pending().await,
        }
    };
    let listened = async {
        if let Some(queue) = queue {
            ear.clone().listen(env.clone(), queue).await;
        }
        // A queue that was deleted tells nothing any more.
        std::future::pending::<()>().await;
    };
    tokio::join!(watched, listened);
}

/// Why nobody was told of new files.
#[derive(Debug, thiserror::Error)]
pub enum HearError {
    /// The plan has no such block.
    #[error("there are no files `{name}`{}", if known.is_empty() { String::new() } else { format!(": there are {}", known.join(", ")) })]
    NoFiles {
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The body is no event.
    #[error(transparent)]
    Notification(#[from] NotificationError),
}

impl Node {
    /// Tells a block of files of an event that names new ones, as S3, SNS or EventBridge send it; without a body it looks
    /// at everything. Returns how many of its files the event names.
    ///
    /// Nothing is durable: it only makes files be found sooner.
    ///
    /// # Errors
    /// See [`HearError`].
    pub fn hear_of_files(&self, name: &str, body: &[u8]) -> Result<usize, HearError> {
        let Some(files) = self.files().iter().find(|files| files.name.as_str() == name) else {
            let known = self.files().iter().map(|files| files.name.to_string()).collect();
            return Err(HearError::NoFiles { name: name.to_owned(), known });
        };
        Ok(files.hear(body)?)
    }
}

/// Returns the own queues of the functions that are on a block.
fn queues_on(name: &FilesName, functions: &Functions) -> Vec<Arc<Queue>> {
    let on = functions.values().filter(|function| matches!(&function.plan.on, On::Files(files) if files == name));
    on.filter_map(|function| function.events.clone()).collect()
}
