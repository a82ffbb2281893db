//! How far each consumer has read each log: a machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{LogName, SequenceNumber, Timestamp};

/// What a consumer calls itself, such as `table/flights`.
pub type ConsumerName = String;

/// How far one consumer has read one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The first record that it has not read.
    pub next: SequenceNumber,
    /// When it said so.
    pub at: Timestamp,
}

/// A change of the checkpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum CheckpointCommand {
    /// The consumer has read these logs up to these places. A place may go back: that is a replay.
    Set {
        /// Who.
        consumer: ConsumerName,
        /// Log and first record that is not read, each.
        read: Vec<(LogName, SequenceNumber)>,
    },
    /// The consumer is gone, and holds nothing back any more.
    Forget {
        /// Who.
        consumer: ConsumerName,
    },
}

/// All consumers' checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    consumers: BTreeMap<ConsumerName, BTreeMap<LogName, Checkpoint>>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    consumers: BTreeMap<ConsumerName, Vec<(LogName, Checkpoint)>>,
}

impl Checkpoints {
    /// Returns how far a consumer has read a log.
    pub fn get(&self, consumer: &str, log: &LogName) -> Option<Checkpoint> {
        self.consumers.get(consumer)?.get(log).copied()
    }

    /// Returns each consumer of a log with its checkpoint there.
    pub fn of_log<'a>(&'a self, log: &'a LogName) -> impl Iterator<Item = (&'a str, Checkpoint)> {
        self.consumers.iter().filter_map(move |(name, logs)| Some((name.as_str(), *logs.get(log)?)))
    }
}

impl Machine for Checkpoints {
    const NAME: &'static str = "checkpoints";
    type Command = CheckpointCommand;
    type Outcome = ();

    fn apply(&mut self, at: At, command: CheckpointCommand) {
        match command {
            CheckpointCommand::Set { consumer, read } => {
                let logs = self.consumers.entry(consumer).or_default();
                for (log, next) in read {
                    logs.insert(log, Checkpoint { next, at: at.time });
                }
            }
            CheckpointCommand::Forget { consumer } => {
                self.consumers.remove(&consumer);
            }
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let consumers = self
            .consumers
            .iter()
            .map(|(name, logs)| (name.clone(), logs.iter().map(|(log, at)| (log.clone(), *at)).collect()))
            .collect();
        serde_json::to_vec(&Snapshot { version: 1, consumers }).expect("strings and numbers serialise")
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let error = |reason: String| RestoreError { machine: Self::NAME, reason };
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))?;
        if snapshot.version != 1 {
            return Err(error(format!("version {} is unknown", snapshot.version)));
        }
        let consumers = snapshot.consumers.into_iter().map(|(name, logs)| (name, logs.into_iter().collect())).collect();
        Ok(Self { consumers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_the_state() {
        let mut checkpoints = Checkpoints::default();
        let log: LogName = "stream/flights/0".parse().unwrap();
        let at = At { sequence: SequenceNumber(3), time: Timestamp(40) };
        let read = vec![(log.clone(), SequenceNumber(17))];
        checkpoints.apply(at, CheckpointCommand::Set { consumer: "table/flights".into(), read: read.clone() });
        checkpoints.apply(at, CheckpointCommand::Set { consumer: "table/other".into(), read });
        checkpoints.apply(at, CheckpointCommand::Forget { consumer: "table/other".into() });
        let again = Checkpoints::restore(&checkpoints.snapshot()).unwrap();
        assert_eq!(again, checkpoints);
        assert_eq!(again.get("table/flights", &log).unwrap().next, SequenceNumber(17));
        assert_eq!(again.of_log(&log).count(), 1);
        assert!(Checkpoints::restore(b"{\"version\":2,\"consumers\":{}}").is_err());
    }
}
