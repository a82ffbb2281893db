//! All queues of a node: which there are, and moves between them.
//!
//! ```text
//!                  registry: a machine, `machine/queues`
//!                     |  name, identity, settings, tags; moves
//!   queue `a` --dead letters--> queue `b` --move--> queue `a`
//!      log `queue/a`               log `queue/b`
//! ```
//!
//! Each queue stands alone on its own log; what goes from one to another is carried by tasks that survive a crash at any
//! point. Invariants: the registry decides which queues there are; a message that is carried is in exactly one queue.

mod carry;
mod change;
mod core;
mod hand_over;
mod mover;
mod moves;
mod registry;
mod start_move;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use weir_env::Env;
use weir_log::Engine;
use weir_machine::{Machine, Owner, Snapshots};
use weir_types::{LogName, QueueName, Timestamp};

use self::change::{Existing, closed};
use self::core::{Core, Life};
use self::registry::{Command, Registry};
use crate::error::{ChangeError, CreateError, MoveError, OpenError};
use crate::id::MoveId;
use crate::queue::{Queue, Shared};
use crate::settings::Settings;
use crate::tuning::Tuning;

pub use moves::{Move, MoveFilter, MoveStatus};

/// Queues that are opened, tidied or closed at once.
const AT_ONCE: usize = 8;

/// All queues of a node.
///
/// Methods that change something run to their end even if their future is dropped. Dropping it ends its tasks where they
/// wait, as a crash would: nothing is lost by that.
pub struct Queues {
    core: Arc<Core>,
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Queues {
    /// Opens all queues that there are, and goes on with what was under way between them.
    ///
    /// Must be called within a tokio runtime, which runs the queues' tasks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(engine: Arc<dyn Engine>, snapshots: Snapshots, env: Env) -> Result<Arc<Self>, OpenError> {
        Self::open_with(engine, snapshots, env, Tuning::default()).await
    }

    /// Opens all queues, and tidies them as often as `tuning` says.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_with(
        engine: Arc<dyn Engine>,
        snapshots: Snapshots,
        env: Env,
        tuning: Tuning,
    ) -> Result<Arc<Self>, OpenError> {
        let log = engine.log(&LogName::machine(Registry::NAME)).await.map_err(OpenError::Registry)?;
        let options = weir_machine::Options::default();
        let registry = Owner::<Registry>::open(log, snapshots.clone(), env.clone(), options).await?;
        let core = Core::new(engine, snapshots, env, tuning, registry);
        core.erase_all_left().await;
        core.open_all().await?;
        let running = core.registry.read(|registry| {
            let running = registry.moves().iter().filter(|(_, entry)| entry.ended.is_none());
            running.map(|(number, _)| *number).collect::<Vec<_>>()
        });
        for number in running {
            core.resume_move(number);
        }
        Ok(Arc::new(Self { core }))
    }

    /// Makes a queue; one that is there with the same settings is returned as it is, whatever its tags are.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(
        &self,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
    ) -> Result<Shared, CreateError> {
        let created = tokio::spawn(self.core.clone().create(name, settings, tags, Existing::Keep));
        created.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Makes a queue, or gives the one that is there these settings.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn ensure(&self, name: QueueName, settings: Settings) -> Result<Shared, CreateError> {
        let created = tokio::spawn(self.core.clone().create(name, settings, BTreeMap::new(), Existing::Configure));
        created.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Returns a queue.
    pub fn get(&self, name: &QueueName) -> Option<Shared> {
        self.core.get(name)
    }

    /// Returns all queues by name, weir's own included.
    pub fn list(&self) -> Vec<Arc<Queue>> {
        self.core.list()
    }

    /// Returns when a queue was made, and when its settings were last changed.
    pub fn times(&self, name: &QueueName) -> Option<(Timestamp, Timestamp)> {
        self.core.registry.read(|registry| {
            let entry = registry.queues().get(name)?;
            Some((entry.created_at, entry.modified_at))
        })
    }

    /// Changes a queue's settings. Its kind stays. If its dead letters shall go elsewhere, those that are under way arrive
    /// where they went first.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn configure(&self, name: &QueueName, settings: Settings) -> Result<(), ChangeError> {
        let changed = tokio::spawn(self.core.clone().configure(name.clone(), settings));
        changed.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Deletes a queue with all that is in it. One of the same name that is made later has nothing of it. Queues that name it
    /// as their dead-letter queue keep their dead letters until there is one again.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn delete(&self, name: &QueueName) -> Result<(), ChangeError> {
        let deleted = tokio::spawn(self.core.clone().delete(name.clone()));
        deleted.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Returns a queue's tags.
    pub fn tags(&self, name: &QueueName) -> Option<BTreeMap<String, String>> {
        self.core.registry.read(|registry| registry.queues().get(name).map(|entry| entry.tags.clone()))
    }

    /// Sets tags of a queue.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn tag(&self, name: &QueueName, tags: BTreeMap<String, String>) -> Result<(), ChangeError> {
        self.core.retag(name, Command::Tag { name: name.clone(), tags }).await
    }

    /// Takes tags of a queue away. Those that it does not have are passed over.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn untag(&self, name: &QueueName, keys: Vec<String>) -> Result<(), ChangeError> {
        self.core.retag(name, Command::Untag { name: name.clone(), keys }).await
    }

    /// Begins to move messages to a queue, or each back to where it came from. Goes on after a restart.
    ///
    /// Moved are the messages that are there when it begins, unless a lease or a delay hides them when their turn comes; each
    /// exactly once, at most so many a second. They arrive as if they were sent then, with the ids that they had. Messages whose
    /// target is not there stay: the others are moved, and then the move has failed.
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
        let started = tokio::spawn(self.core.clone().start_move(source.clone(), to, rate_per_second, filter));
        started.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Ends a move, and returns how many messages it has moved.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn cancel_move(&self, id: &MoveId) -> Result<u64, MoveError> {
        let cancelled = tokio::spawn(self.core.clone().cancel_move(id.clone()));
        cancelled.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Returns the last moves of a queue, newest first: [`crate::limits::MOVES_KEPT`] at most.
    pub fn moves(&self, source: &QueueName) -> Vec<Move> {
        self.core.moves(source)
    }

    /// Does what is due: retention, snapshots, copying old messages forward, and erasing what deleted queues have left. Called
    /// every few seconds; each call is bounded.
    pub async fn upkeep(&self) {
        let queues = futures::stream::iter(self.list());
        queues.for_each_concurrent(AT_ONCE, async |queue| queue.upkeep().await).await;
        // Whoever changes queues just now erases what is in its way itself.
        if let Ok(life) = self.core.changes.try_lock()
            && *life == Life::Open
        {
            self.core.erase_all_left().await;
        }
    }

    /// Ends all queues; later calls fail as closed.
    pub async fn close(&self) {
        let mut life = self.core.changes.lock().await;
        *life = Life::Closed;
        self.core.end_moves(None).await;
        let queues = futures::stream::iter(self.list());
        queues
            .for_each_concurrent(AT_ONCE, async |queue| {
                // Its dead letters stay where they are; the next start goes on with them.
                if let Some(queue) = self.core.remove(queue.name()).await {
                    queue.close().await;
                }
            })
            .await;
    }
}
