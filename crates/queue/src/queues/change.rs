//! Making, changing and deleting queues.
//!
//! ```text
//! create:    registry --> opened --> shown
//! configure: (nothing is between the queue and its dead-letter queue) registry --> queue
//! delete:    registry --> out of sight --> erased --> registry: the name is free
//! ```
//!
//! Each runs to its end even if the caller goes away, under one lock; a crash after the registry's step is made good when the
//! node starts again. Invariant: what the registry has taken is true, whatever happens to the steps behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::MutexGuard;
use weir_machine::SubmitError;
use weir_types::QueueName;

use super::carry::Carrier;
use super::core::{Core, Life};
use super::registry::{Command, Refusal, dead_letter_queue};
use crate::error::{ChangeError, CreateError};
use crate::queue::Queue;
use crate::settings::Settings;
use crate::snapshot::Store;

/// What becomes of a queue that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Its settings must be those that are asked for.
    Keep,
    /// It is given those that are asked for.
    Configure,
}

/// The registry does not answer.
pub(crate) fn closed() -> SubmitError {
    SubmitError::Closed { machine: "queues" }
}

impl Core {
    /// Lets nobody else change which queues there are, until what is returned is dropped.
    pub(crate) async fn change(&self) -> Result<MutexGuard<'_, Life>, SubmitError> {
        let life = self.changes.lock().await;
        if *life == Life::Closed { Err(closed()) } else { Ok(life) }
    }

    /// Makes a queue, or finds it.
    pub(crate) async fn create(
        self: Arc<Self>,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
        existing: Existing,
    ) -> Result<Arc<Queue>, CreateError> {
        settings.validate(&name)?;
        let _life = self.change().await?;
        self.erase_left(&name).await?;
        let is_there = self.registry.read(|registry| registry.queues().contains_key(&name));
        if existing == Existing::Configure && is_there {
            self.configure_held(&name, settings).await.map_err(|error| match error {
                ChangeError::Create(error) => error,
                ChangeError::Submit(error) => error.into(),
                // It is there, and has no tags in hand: the queue itself can't answer.
                ChangeError::NoQueue { .. } | ChangeError::TooManyTags | ChangeError::Queue(_) => closed().into(),
            })?;
        } else {
            let command = Command::Create { name: name.clone(), settings, tags, identity: self.env.random() };
            self.submit(command).await?.map_err(|refusal| create_refused(&name, refusal))?;
        }
        if let Some(queue) = self.get(&name) {
            return Ok(queue);
        }
        let entry = self.registry.read(|registry| registry.queues().get(&name).cloned()).ok_or_else(closed)?;
        let queue = self.open_queue(&name, entry.settings, entry.identity).await?;
        self.insert(Arc::new(Carrier::new(queue.clone(), entry.identity, self.env.clone())));
        Ok(queue)
    }

    /// Gives a queue other settings.
    pub(crate) async fn configure(self: Arc<Self>, name: QueueName, settings: Settings) -> Result<(), ChangeError> {
        settings.validate(&name).map_err(CreateError::Settings)?;
        let _life = self.change().await?;
        self.configure_held(&name, settings).await
    }

    async fn configure_held(&self, name: &QueueName, settings: Settings) -> Result<(), ChangeError> {
        let no_queue = || ChangeError::NoQueue { queue: name.clone() };
        let is = self.registry.read(|registry| registry.queues().get(name).map(|entry| entry.settings.clone()));
        let is = is.ok_or_else(no_queue)?;
        let carrier = self.carrier(name);
        let held = match &carrier {
            Some(carrier) if dead_letter_queue(&is) != dead_letter_queue(&settings) => Some(carrier.hold().await?),
            _ => None,
        };
        let command = Command::Configure { name: name.clone(), settings: settings.clone() };
        self.submit(command).await?.map_err(|refusal| change_refused(name, refusal))?;
        if let Some(queue) = self.get(name) {
            queue.set_settings(settings);
        }
        drop(held);
        self.tell();
        Ok(())
    }

    /// Deletes a queue.
    pub(crate) async fn delete(self: Arc<Self>, name: QueueName) -> Result<(), ChangeError> {
        let _life = self.change().await?;
        let command = Command::Delete { name: name.clone() };
        self.submit(command).await?.map_err(|refusal| change_refused(&name, refusal))?;
        self.end_moves(Some(&name)).await;
        let queue = self.remove(&name).await;
        let erased = match queue {
            Some(queue) => queue.erase().await.map_err(|error| error.to_string()),
            // It could not be opened when it was made; what is in its log goes when the name is used again.
            None => self.erase_left(&name).await.map_err(|error| error.to_string()),
        };
        match erased {
            Ok(()) => self.erased(&name).await,
            // It is deleted: nobody sees it any more. What it holds on disk is tried again.
            Err(error) => tracing::warn!(queue = %name, error, "a deleted queue could not be erased yet"),
        }
        Ok(())
    }

    /// Erases what a deleted queue of that name has left. It is not opened for that: it may be damaged.
    pub(crate) async fn erase_left(&self, name: &QueueName) -> Result<(), CreateError> {
        let Some(identity) = self.registry.read(|registry| registry.erasing().get(name).copied()) else {
            return Ok(());
        };
        let log = self.log(name).await?;
        let left = match log.trim(log.bounds().tail).await {
            Ok(()) => Store::new(&self.snapshots, name, identity).erase().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = left {
            tracing::warn!(queue = %name, error, "a deleted queue can't be erased");
            return Err(CreateError::Erasing { queue: name.clone() });
        }
        self.erased(name).await;
        Ok(())
    }

    async fn erased(&self, name: &QueueName) {
        match self.submit(Command::Erased { name: name.clone() }).await {
            Ok(_) => {}
            // It is erased once more before the name is used again: that costs time alone.
            Err(error) => tracing::warn!(queue = %name, %error, "that a queue is erased could not be stored"),
        }
    }

    /// Erases what deleted queues have left. What fails is told, and tried again the next time.
    pub(crate) async fn erase_all_left(&self) {
        let names: Vec<QueueName> = self.registry.read(|registry| registry.erasing().keys().cloned().collect());
        for name in names {
            if let Err(error) = self.erase_left(&name).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(queue = %name, error, "a deleted queue could not be erased yet");
            }
        }
    }

    /// Changes tags.
    pub(crate) async fn retag(&self, name: &QueueName, command: Command) -> Result<(), ChangeError> {
        self.submit(command).await?.map_err(|refusal| change_refused(name, refusal))?;
        Ok(())
    }
}

fn create_refused(name: &QueueName, refusal: Refusal) -> CreateError {
    let queue = name.clone();
    match refusal {
        Refusal::Exists { setting } => CreateError::Exists { queue, setting },
        Refusal::DeadLetter { to, reason } => CreateError::DeadLetter { queue, to, reason },
        Refusal::Erasing => CreateError::Erasing { queue },
        Refusal::TooManyQueues => CreateError::TooManyQueues,
        Refusal::TooManyTags => CreateError::TooManyTags,
        // No answers to what makes a queue.
        Refusal::NoQueue(_) | Refusal::Move(_) => closed().into(),
    }
}

fn change_refused(name: &QueueName, refusal: Refusal) -> ChangeError {
    match refusal {
        Refusal::NoQueue(queue) => ChangeError::NoQueue { queue },
        Refusal::TooManyTags => ChangeError::TooManyTags,
        other => create_refused(name, other).into(),
    }
}
