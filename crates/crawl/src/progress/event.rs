//! What the appends of a crawl say they did: the events that the progress is folded from.
//!
//! Form: one byte, the version (`1`), then JSON. An event says only what changed: of 100,000 tenants those that its tasks
//! belong to. A version that is not known is refused; fields are only ever added.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_types::Timestamp;

use super::counts::{Counts, page_class};
use super::cursor;
use crate::Task;

const VERSION: u8 = b'1';

/// A resource, and what it hangs below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The resource's name.
    #[serde(rename = "s")]
    pub resource: String,
    /// The nearest resource above it: the one whose items make its tasks.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// Tasks of one resource and tenant, and what came of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The resource.
    #[serde(rename = "s")]
    pub resource: String,
    /// The tenant; empty without tenants.
    #[serde(rename = "t", default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// What was counted.
    #[serde(rename = "c")]
    pub counts: Counts,
    /// The largest value of the incremental cursor among the items.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Value>,
}

/// How a run ended, as its marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All of its tasks have ended.
    Complete,
    /// Its tasks were dropped.
    Cancelled,
    /// It could not go on.
    Failed,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run began.
    Started {
        /// Its number.
        run: u64,
        /// When.
        at: Timestamp,
        /// Its resources, parents before children.
        steps: Vec<Step>,
        /// The tasks that it begins with.
        roots: Vec<Cell>,
    },
    /// Tasks ended, were tried, or were made.
    Counted(Counted),
    /// A run is over.
    Ended {
        /// Its number.
        run: u64,
        /// When.
        at: Timestamp,
        /// How.
        how: End,
    },
}

/// Bytes that are no event of this weir.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A later weir wrote them, or they are something else.
    #[error("an event of version {found} can't be read: this weir reads {}; update it", VERSION as char)]
    Version {
        /// The first byte.
        found: u8,
    },
    /// There is nothing.
    #[error("an event has no bytes")]
    Empty,
    /// They are damaged.
    #[error("an event can't be read")]
    Json(#[source] serde_json::Error),
}

impl Event {
    /// Returns a run's beginning, with how many root tasks there are by resource and tenant.
    pub fn started<'a>(run: u64, at: Timestamp, steps: Vec<Step>, roots: impl IntoIterator<Item = &'a Task>) -> Self {
        let mut counted = Counted::new(run, at);
        for task in roots {
            counted.cell(&task.resource, &task.tenant).counts.made += 1;
        }
        Self::Started { run, at, steps, roots: counted.cells.into_values().collect() }
    }

    /// Returns the run that it is about.
    pub fn run(&self) -> u64 {
        match self {
            Self::Started { run, .. } | Self::Ended { run, .. } => *run,
            Self::Counted(counted) => counted.run,
        }
    }

    /// Returns its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, self).expect("texts and numbers serialise");
        bytes
    }

    /// Reads what [`Event::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        match bytes.split_first() {
            None => Err(EventError::Empty),
            Some((&VERSION, json)) => serde_json::from_slice(json).map_err(EventError::Json),
            Some((&found, _)) => Err(EventError::Version { found }),
        }
    }
}

/// What an answer that was taken brought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brought<'a> {
    /// Items.
    pub items: u64,
    /// Whether there is a further page.
    pub further: Further,
    /// The largest value of the incremental cursor among the items.
    pub cursor: Option<&'a Value>,
    /// From request to answer.
    pub latency: Duration,
}

/// Whether a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Further {
    /// This was its last page.
    #[default]
    Last,
    /// One more task was made, for the page behind this one.
    Page,
}

/// What became of tasks of one run, in one append: a record of the append itself, so that it is counted if it happened.
///
/// ```
/// use std::time::Duration;
/// use weir_crawl::progress::{Brought, Counted, Event, Further};
/// use weir_crawl::Task;
/// use weir_types::Timestamp;
///
/// # fn task(resource: &str) -> Task { serde_json::from_value(serde_json::json!({"r": 7, "s": resource})).unwrap() }
/// let (group, devices) = (task("group"), [task("device"), task("device")]);
/// let mut counted = Counted::new(7, Timestamp(1_000));
/// counted.answered(&group, Brought { items: 2, further: Further::Last, ..Brought::default() }, &devices);
/// let bytes = Event::Counted(counted.clone()).encode();
/// assert_eq!(Event::decode(&bytes).unwrap(), Event::Counted(counted));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The run's number.
    #[serde(rename = "r")]
    pub run: u64,
    /// When it was appended: rates are told from it.
    #[serde(rename = "at")]
    pub at: Timestamp,
    #[serde(rename = "c", with = "cells")]
    cells: BTreeMap<(String, String), Cell>,
}

impl Counted {
    /// Counts nothing yet.
    pub fn new(run: u64, at: Timestamp) -> Self {
        Self { run, at, cells: BTreeMap::new() }
    }

    /// Returns what was counted, by resource and tenant.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.values()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn cell(&mut self, resource: &str, tenant: &str) -> &mut Cell {
        let (resource, tenant) = (resource.to_owned(), tenant.to_owned());
        self.cells.entry((resource, tenant)).or_insert_with_key(|(resource, tenant)| Cell {
            resource: resource.clone(),
            tenant: tenant.clone(),
            counts: Counts::default(),
            cursor: None,
        })
    }

    /// Counts a task whose answer was taken, ignored answers included: it ended, and made `children`, tasks of resources
    /// below it. The further page is not among them.
    pub fn answered(&mut self, task: &Task, brought: Brought<'_>, children: &[Task]) {
        let cell = self.cell(&task.resource, &task.tenant);
        let counts = &mut cell.counts;
        counts.done += 1;
        counts.answered += 1;
        counts.items += brought.items;
        counts.latency_ms += u64::try_from(brought.latency.as_millis()).unwrap_or(u64::MAX);
        let pages = &mut counts.pages[page_class(task.pages)];
        pages.calls += 1;
        if brought.further == Further::Page {
            pages.went_on += 1;
            counts.further += 1;
        }
        if let Some(value) = brought.cursor {
            cursor::raise(&mut cell.cursor, value);
        }
        let mut by_resource = BTreeMap::<&str, (u64, &str)>::new();
        // Children of one resource and tenant stand next to each other, most often.
        for alike in children.chunk_by(|left, right| left.resource == right.resource && left.tenant == right.tenant) {
            let (first, made) = (&alike[0], alike.len() as u64);
            self.cell(&first.resource, &first.tenant).counts.made += made;
            by_resource.entry(&first.resource).or_insert((0, &first.tenant)).0 += made;
        }
        for (resource, (made, tenant)) in by_resource {
            let counts = &mut self.cell(resource, tenant).counts;
            counts.made_squares = counts.made_squares.saturating_add(made.saturating_mul(made));
            match (task.pages, brought.further) {
                (0, Further::Page) => counts.made_by_full += made,
                (0, Further::Last) => {}
                _ => counts.made_by_further += made,
            }
        }
    }

    /// Counts a call that failed, whose task is tried again.
    pub fn retried(&mut self, task: &Task) {
        let counts = &mut self.cell(&task.resource, &task.tenant).counts;
        counts.failed += 1;
        counts.retried += 1;
    }

    /// Counts calls that the vendor refused for their pace; their task goes on.
    pub fn throttled(&mut self, task: &Task, calls: u64) {
        self.cell(&task.resource, &task.tenant).counts.throttled += calls;
    }

    /// Counts a call that failed because the vendor is down; its task goes on, and no attempt was used.
    pub fn failed(&mut self, task: &Task) {
        self.cell(&task.resource, &task.tenant).counts.failed += 1;
    }

    /// Counts a call that failed, whose task is a dead letter now.
    pub fn dead(&mut self, task: &Task) {
        let counts = &mut self.cell(&task.resource, &task.tenant).counts;
        counts.failed += 1;
        counts.dead += 1;
    }

    /// Counts a task that is a dead letter without a call: it could not be made a request, or was received too often.
    pub fn dead_uncalled(&mut self, task: &Task) {
        self.cell(&task.resource, &task.tenant).counts.dead += 1;
    }

    /// Counts a task that was dropped because its run is being cancelled.
    pub fn dropped(&mut self, task: &Task) {
        self.cell(&task.resource, &task.tenant).counts.dropped += 1;
    }

    /// Counts a task that was put back from the dead letters, and is open again.
    pub fn redriven(&mut self, task: &Task) {
        self.cell(&task.resource, &task.tenant).counts.made += 1;
    }

    /// Adds what was counted elsewhere for the same run.
    ///
    /// # Panics
    /// If the runs differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.run, other.run, "counts of different runs don't add up");
        self.at = self.at.max(other.at);
        for cell in other.cells.values() {
            let mine = self.cell(&cell.resource, &cell.tenant);
            mine.counts.add(&cell.counts);
            if let Some(value) = &cell.cursor {
                cursor::raise(&mut mine.cursor, value);
            }
        }
    }
}

mod cells {
    use super::{BTreeMap, Cell, Deserialize, Serialize};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        cells: &BTreeMap<(String, String), Cell>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        cells.values().collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(String, String), Cell>, D::Error> {
        let cells = Vec::<Cell>::deserialize(deserializer)?;
        Ok(cells.into_iter().map(|cell| ((cell.resource.clone(), cell.tenant.clone()), cell)).collect())
    }
}
