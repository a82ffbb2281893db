//! What all calls and tasks of a node's queues share: the registry, and the queues that are open.
//!
//! Invariant: whoever changes which queues there are holds `changes`, so that the registry and what is open agree whenever
//! nobody does. Tasks know the core weakly, and end with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_env::Env;
use weir_log::{Engine, Log};
use weir_machine::{Owner, Snapshots, SubmitError};
use weir_types::{LogName, QueueName};

use super::AT_ONCE;
use super::carry::Carrier;
use super::mover::Mover;
use super::registry::{Command, Outcome, Refusal, Registry, dead_letter_queue};
use crate::error::OpenError;
use crate::queue::Queue;
use crate::settings::Settings;
use crate::tuning::Tuning;

/// See the module's documentation.
pub(crate) struct Core {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) snapshots: Snapshots,
    pub(crate) env: Env,
    pub(crate) tuning: Tuning,
    pub(crate) registry: Owner<Registry>,
    pub(crate) changes: tokio::sync::Mutex<Life>,
    open: RwLock<BTreeMap<QueueName, Opened>>,
    moving: Mutex<BTreeMap<u64, Mover>>,
    /// Counts changes of which queues there are and of their settings: wakes whoever waits for a target.
    changed: watch::Sender<u64>,
}

/// Whether queues may still be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    Closed,
}

/// A queue that is open, with the task that takes its dead letters away.
struct Opened {
    queue: Arc<Queue>,
    carrier: Arc<Carrier>,
    task: Task,
}

/// A task that ends when it is dropped.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Ends the task where it waits, and returns when it is gone.
    pub(crate) async fn end(mut self) {
        self.0.abort();
        // Both a cancelled and a finished task are gone.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Core {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        snapshots: Snapshots,
        env: Env,
        tuning: Tuning,
        registry: Owner<Registry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            snapshots,
            env,
            tuning,
            registry,
            changes: tokio::sync::Mutex::new(Life::Open),
            open: RwLock::default(),
            moving: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    /// Changes the registry.
    pub(crate) async fn submit(&self, command: Command) -> Result<Result<Outcome, Refusal>, SubmitError> {
        self.registry.submit(command).await
    }

    /// Opens the log of a queue.
    pub(crate) async fn log(&self, name: &QueueName) -> Result<Arc<dyn Log>, OpenError> {
        let log = self.engine.log(&LogName::queue(name)).await;
        log.map_err(|source| OpenError::Engine { queue: name.clone(), source })
    }

    /// Opens a queue that the registry has.
    pub(crate) async fn open_queue(
        &self,
        name: &QueueName,
        settings: Settings,
        identity: u64,
    ) -> Result<Arc<Queue>, OpenError> {
        let (snapshots, env) = (self.snapshots.clone(), self.env.clone());
        let log = self.log(name).await?;
        Queue::open(log, snapshots, env, name.clone(), settings, identity, self.tuning.clone()).await
    }

    /// Opens all queues that the registry has, and makes good what a crash left between them.
    pub(crate) async fn open_all(self: &Arc<Self>) -> Result<(), OpenError> {
        let entries = self.registry.read(|registry| registry.queues().clone());
        let opened: Vec<(Arc<Queue>, u64)> = futures::stream::iter(entries)
            .map(async |(name, entry)| {
                let queue = self.open_queue(&name, entry.settings, entry.identity).await?;
                Ok::<_, OpenError>((queue, entry.identity))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let queues: BTreeMap<&QueueName, &Arc<Queue>> = opened.iter().map(|(queue, _)| (queue.name(), queue)).collect();
        let mut carriers = Vec::new();
        for (source, identity) in &opened {
            let carrier = Arc::new(Carrier::new(source.clone(), *identity, self.env.clone()));
            if let Some(to) = dead_letter_queue(&source.settings())
                && let Some(target) = queues.get(to)
            {
                let recovered = carrier.recover(target).await;
                recovered.map_err(|error| OpenError::Carry { queue: source.name().clone(), source: error })?;
            }
            carriers.push(carrier);
        }
        for carrier in carriers {
            self.insert(carrier);
        }
        Ok(())
    }

    /// Shows a queue to everybody, and takes its dead letters away from now on.
    pub(crate) fn insert(self: &Arc<Self>, carrier: Arc<Carrier>) {
        let queue = carrier.source().clone();
        let task = Task::spawn(carrier.clone().run(Arc::downgrade(self), self.changed.subscribe()));
        let name = queue.name().clone();
        let opened = Opened { queue, carrier, task };
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(name, opened);
        self.tell();
    }

    /// Takes a queue out of sight, and ends the task that takes its dead letters away.
    pub(crate) async fn remove(&self, name: &QueueName) -> Option<Arc<Queue>> {
        let opened = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Opened { queue, task, .. } = opened?;
        task.end().await;
        self.tell();
        Some(queue)
    }

    /// Wakes whoever waits for a queue or for other settings.
    pub(crate) fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn get(&self, name: &QueueName) -> Option<Arc<Queue>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(name).map(|opened| opened.queue.clone())
    }

    pub(crate) fn carrier(&self, name: &QueueName) -> Option<Arc<Carrier>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(name).map(|opened| opened.carrier.clone())
    }

    pub(crate) fn list(&self) -> Vec<Arc<Queue>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|opened| opened.queue.clone()).collect()
    }

    /// Returns the name of the queue that takes a queue's dead letters.
    pub(crate) fn dead_letter_queue(&self, name: &QueueName) -> Option<QueueName> {
        self.registry.read(|registry| dead_letter_queue(&registry.queues().get(name)?.settings).cloned())
    }

    /// Returns the moves whose tasks run, by number.
    pub(crate) fn moving(&self) -> MutexGuard<'_, BTreeMap<u64, Mover>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
