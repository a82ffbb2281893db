//! Which queues there are, and which moves between them: a small machine.
//!
//! ```text
//! create --> there --delete--> erasing --erased--> gone: the name is free again
//! ```
//!
//! Invariants: a queue's identity is never given again, so that nothing of a deleted queue is taken for its successor's; a
//! name that is being erased names no queue; a queue has one move under way at most. All checks stand here, where commands
//! are in one order: what is refused changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{QueueName, Timestamp};

use super::moves::{Ended, MoveEntry, MoveTarget};
use crate::limits::{MOVES_KEPT, MOVES_RUNNING_MAX, QUEUES_MAX, TAGS_MAX};
use crate::settings::{DeadLetterTo, RedriveAllow, Settings};

/// The form of a snapshot.
const FORMAT: u32 = 1;

/// The machine's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registry {
    queues: BTreeMap<QueueName, Entry>,
    /// Identities of queues that were deleted, and whose logs still have something of them.
    erasing: BTreeMap<QueueName, u64>,
    /// By number; the newest of each source, and those that run.
    moves: BTreeMap<u64, MoveEntry>,
    /// The number that was given last to a move.
    last_move: u64,
}

/// What is known of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) identity: u64,
    pub(crate) settings: Settings,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
}

/// What changes the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// A queue is made. One that is there stays as it is, and its settings must be these.
    Create {
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
        /// Drawn by chance, so that two nodes' queues have messages of different ids.
        identity: u64,
    },
    /// A queue has other settings from now on.
    Configure { name: QueueName, settings: Settings },
    /// A queue is no more.
    Delete { name: QueueName },
    /// Nothing is left of a deleted queue.
    Erased { name: QueueName },
    /// Tags are set.
    Tag { name: QueueName, tags: BTreeMap<String, String> },
    /// Tags are taken away.
    Untag { name: QueueName, keys: Vec<String> },
    /// A move begins.
    StartMove(Box<MoveTarget>),
    /// A move has come so far.
    Progress { number: u64, moved: u64 },
    /// A move shall end.
    CancelMove { number: u64 },
    /// A move has ended.
    EndMove { number: u64, moved: u64, ended: Ended },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What it says.
    Done,
    /// A move has this number.
    Move(u64),
}

/// Why a command left everything as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none of that name.
    NoQueue(QueueName),
    /// It is there, with another value of a setting.
    Exists {
        setting: &'static str,
    },
    /// The dead-letter queue is not there, or does not take the queue's messages.
    DeadLetter {
        to: QueueName,
        reason: &'static str,
    },
    /// A queue of that name is being erased.
    Erasing,
    TooManyQueues,
    TooManyTags,
    Move(MoveRefusal),
}

/// Why a command about a move did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MoveRefusal {
    NoMove,
    NoDeadLetterQueue,
    Target { to: QueueName, reason: &'static str },
    Running,
    TooMany,
}

impl From<MoveRefusal> for Refusal {
    fn from(refusal: MoveRefusal) -> Self {
        Self::Move(refusal)
    }
}

impl Machine for Registry {
    const NAME: &'static str = "queues";
    type Command = Command;
    type Outcome = Result<Outcome, Refusal>;

    fn apply(&mut self, at: At, command: Command) -> Self::Outcome {
        match command {
            Command::Create { name, settings, tags, identity } => self.create(at.time, name, settings, tags, identity),
            Command::Configure { name, settings } => {
                self.queue(&name)?;
                self.check_dead_letter(&name, &settings)?;
                let entry = self.queue_mut(&name)?;
                if entry.settings != settings {
                    entry.settings = settings;
                    entry.modified_at = at.time;
                }
                Ok(Outcome::Done)
            }
            Command::Delete { name } => {
                let entry = self.queues.remove(&name).ok_or_else(|| Refusal::NoQueue(name.clone()))?;
                self.moves.retain(|_, entry| entry.target.source != name);
                self.erasing.insert(name, entry.identity);
                Ok(Outcome::Done)
            }
            Command::Erased { name } => {
                self.erasing.remove(&name);
                Ok(Outcome::Done)
            }
            Command::Tag { name, tags } => {
                let entry = self.queue_mut(&name)?;
                let more = tags.keys().filter(|key| !entry.tags.contains_key(*key)).count();
                if entry.tags.len() + more > TAGS_MAX {
                    return Err(Refusal::TooManyTags);
                }
                entry.tags.extend(tags);
                Ok(Outcome::Done)
            }
            Command::Untag { name, keys } => {
                let entry = self.queue_mut(&name)?;
                for key in keys {
                    entry.tags.remove(&key);
                }
                Ok(Outcome::Done)
            }
            Command::StartMove(target) => self.start_move(at.time, *target),
            Command::Progress { number, moved } => {
                self.running(number)?.moved = moved;
                Ok(Outcome::Done)
            }
            Command::CancelMove { number } => {
                self.running(number)?.cancelling = true;
                Ok(Outcome::Done)
            }
            Command::EndMove { number, moved, ended } => self.end_move(number, moved, ended),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            format: u32,
            registry: &'a Registry,
        }
        serde_json::to_vec(&Snapshot { format: FORMAT, registry: self })
            .expect("maps with text keys, numbers and text serialise")
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        #[derive(Deserialize)]
        struct Snapshot {
            format: u32,
            registry: Registry,
        }
        let refuse = |reason: String| RestoreError { machine: Self::NAME, reason };
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        if snapshot.format != FORMAT {
            return Err(refuse(format!("format {} is not known", snapshot.format)));
        }
        Ok(snapshot.registry)
    }
}

impl Registry {
    /// Returns what is known of each queue, by name.
    pub(crate) fn queues(&self) -> &BTreeMap<QueueName, Entry> {
        &self.queues
    }

    /// Returns the deleted queues of which something is left, with their identities.
    pub(crate) fn erasing(&self) -> &BTreeMap<QueueName, u64> {
        &self.erasing
    }

    /// Returns all moves that are remembered, by number.
    pub(crate) fn moves(&self) -> &BTreeMap<u64, MoveEntry> {
        &self.moves
    }

    fn queue(&self, name: &QueueName) -> Result<&Entry, Refusal> {
        self.queues.get(name).ok_or_else(|| Refusal::NoQueue(name.clone()))
    }

    fn queue_mut(&mut self, name: &QueueName) -> Result<&mut Entry, Refusal> {
        self.queues.get_mut(name).ok_or_else(|| Refusal::NoQueue(name.clone()))
    }

    fn create(
        &mut self,
        at: Timestamp,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
        identity: u64,
    ) -> Result<Outcome, Refusal> {
        if let Some(entry) = self.queues.get(&name) {
            return match difference(&entry.settings, &settings) {
                None => Ok(Outcome::Done),
                Some(setting) => Err(Refusal::Exists { setting }),
            };
        }
        if self.erasing.contains_key(&name) {
            return Err(Refusal::Erasing);
        }
        if self.queues.len() >= QUEUES_MAX {
            return Err(Refusal::TooManyQueues);
        }
        if tags.len() > TAGS_MAX {
            return Err(Refusal::TooManyTags);
        }
        self.check_dead_letter(&name, &settings)?;
        self.queues.insert(name, Entry { identity, settings, tags, created_at: at, modified_at: at });
        Ok(Outcome::Done)
    }

    /// Checks that the dead-letter queue is there and takes messages of `name`. One that changes its mind later keeps those
    /// that name it already.
    fn check_dead_letter(&self, name: &QueueName, settings: &Settings) -> Result<(), Refusal> {
        let Some(to) = dead_letter_queue(settings) else { return Ok(()) };
        let already = self.queues.get(name).and_then(|entry| dead_letter_queue(&entry.settings));
        if already == Some(to) {
            return Ok(());
        }
        let refuse = |reason| Err(Refusal::DeadLetter { to: to.clone(), reason });
        let Some(target) = self.queues.get(to) else { return refuse("there is no such queue") };
        match &target.settings.redrive_allow {
            RedriveAllow::All => Ok(()),
            RedriveAllow::Queues(queues) if queues.contains(name) => Ok(()),
            RedriveAllow::Queues(_) => refuse("its `redrive_allow` does not name the queue"),
            RedriveAllow::None => refuse("its `redrive_allow` takes messages of no queue"),
        }
    }

    fn start_move(&mut self, at: Timestamp, target: MoveTarget) -> Result<Outcome, Refusal> {
        self.queue(&target.source)?;
        match &target.to {
            None => {
                let mut settings = self.queues.values().map(|entry| dead_letter_queue(&entry.settings));
                if !settings.any(|to| to == Some(&target.source)) {
                    return Err(MoveRefusal::NoDeadLetterQueue.into());
                }
            }
            Some(to) => {
                let refuse = |reason| Err(MoveRefusal::Target { to: to.clone(), reason }.into());
                if *to == target.source {
                    return refuse("they are there already");
                }
                if to.is_fifo() != target.source.is_fifo() {
                    return refuse("one is a FIFO queue, the other is not");
                }
                if !self.queues.contains_key(to) {
                    return refuse("there is no such queue");
                }
            }
        }
        let running = || self.moves.values().filter(|entry| entry.ended.is_none());
        if running().any(|entry| entry.target.source == target.source) {
            return Err(MoveRefusal::Running.into());
        }
        if running().count() >= MOVES_RUNNING_MAX {
            return Err(MoveRefusal::TooMany.into());
        }
        self.last_move += 1;
        let source = target.source.clone();
        self.moves.insert(self.last_move, MoveEntry::new(target, at));
        self.forget_moves(&source);
        Ok(Outcome::Move(self.last_move))
    }

    fn running(&mut self, number: u64) -> Result<&mut MoveEntry, Refusal> {
        self.moves.get_mut(&number).filter(|entry| entry.ended.is_none()).ok_or(Refusal::Move(MoveRefusal::NoMove))
    }

    fn end_move(&mut self, number: u64, moved: u64, ended: Ended) -> Result<Outcome, Refusal> {
        let entry = self.running(number)?;
        entry.moved = moved;
        entry.ended = Some(ended);
        Ok(Outcome::Done)
    }

    /// Forgets the oldest moves of a queue; the one that runs is the newest.
    fn forget_moves(&mut self, source: &QueueName) {
        let of_source = self.moves.iter().filter(|(_, entry)| entry.target.source == *source);
        let numbers: Vec<u64> = of_source.map(|(number, _)| *number).collect();
        for number in numbers.iter().take(numbers.len().saturating_sub(MOVES_KEPT)) {
            self.moves.remove(number);
        }
    }
}

/// Returns the queue that takes a queue's dead letters.
pub(crate) fn dead_letter_queue(settings: &Settings) -> Option<&QueueName> {
    match settings.dead_letter.as_ref().map(|dead_letter| &dead_letter.to) {
        Some(DeadLetterTo::Queue(to)) => Some(to),
        Some(DeadLetterTo::Table) | None => None,
    }
}

/// Returns the first setting that differs.
fn difference(is: &Settings, asked: &Settings) -> Option<&'static str> {
    let Settings {
        visibility_timeout,
        delay,
        retention,
        receive_wait,
        message_bytes_max,
        fifo,
        dead_letter,
        redrive_allow,
    } = is;
    let same = [
        ("visibility_timeout", *visibility_timeout == asked.visibility_timeout),
        ("delay", *delay == asked.delay),
        ("retention", *retention == asked.retention),
        ("receive_wait", *receive_wait == asked.receive_wait),
        ("message_bytes_max", *message_bytes_max == asked.message_bytes_max),
        ("fifo", *fifo == asked.fifo),
        ("dead_letter", *dead_letter == asked.dead_letter),
        ("redrive_allow", *redrive_allow == asked.redrive_allow),
    ];
    same.into_iter().find(|(_, same)| !same).map(|(setting, _)| setting)
}

#[cfg(test)]
mod tests;
