//! Starting, ending and listing moves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_types::QueueName;

use super::core::Core;
use super::mover::{Begun, Mover};
use super::moves::{self, Move, MoveFilter, MoveTarget};
use super::registry::{Command, MoveRefusal, Outcome, Refusal};
use crate::error::MoveError;
use crate::id::MoveId;
use crate::limits::MOVE_RATE_MAX;

/// How long whoever cancels a move waits for its end. It comes between two steps; a target that doesn't answer delays it.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

impl Core {
    /// Begins a move.
    pub(crate) async fn start_move(
        self: Arc<Self>,
        source: QueueName,
        to: Option<QueueName>,
        rate_per_second: Option<u32>,
        filter: Option<MoveFilter>,
    ) -> Result<MoveId, MoveError> {
        if rate_per_second.is_some_and(|rate| !(1..=MOVE_RATE_MAX).contains(&rate)) {
            return Err(MoveError::Rate);
        }
        // The bound is taken and the move made while nobody makes the source anew.
        let _life = self.change().await?;
        let queue = self.get(&source).ok_or_else(|| MoveError::NoQueue { queue: source.clone() })?;
        let (below, to_move) = (queue.tail(), queue.stats().ready);
        let target = MoveTarget { source: source.clone(), to, rate_per_second, filter, below, to_move };
        let command = Command::StartMove(Box::new(target));
        let number = match self.registry.submit(command).await?.map_err(|refusal| refused(&source, None, refusal))? {
            Outcome::Move(number) => number,
            // No outcome of this command.
            Outcome::Done => return Err(refused(&source, None, MoveRefusal::NoMove.into())),
        };
        self.resume_move(number);
        Ok(moves::id(number))
    }

    /// Starts the task of a move that the registry has.
    pub(crate) fn resume_move(self: &Arc<Self>, number: u64) {
        let known = self.registry.read(|registry| {
            let entry = registry.moves().get(&number).filter(|entry| entry.ended.is_none())?;
            let identity = registry.queues().get(&entry.target.source)?.identity;
            let begun = Begun { target: entry.target.clone(), moved: entry.moved, cancelling: entry.cancelling };
            Some((identity, begun))
        });
        let Some((identity, begun)) = known else { return };
        let Some(source) = self.get(&begun.target.source) else { return };
        // Held while the task starts: it takes itself out when it ends.
        let mut moving = self.moving();
        moving.insert(number, Mover::start(self, source, identity, number, begun));
    }

    /// Ends a move.
    pub(crate) async fn cancel_move(self: Arc<Self>, id: MoveId) -> Result<u64, MoveError> {
        let no_move = || MoveError::NoMove { id: id.to_string() };
        let number = moves::number(&id).ok_or_else(no_move)?;
        let source = self.registry.read(|registry| Some(registry.moves().get(&number)?.target.source.clone()));
        let source = source.ok_or_else(no_move)?;
        let command = Command::CancelMove { number };
        self.registry.submit(command).await?.map_err(|refusal| refused(&source, Some(&id), refusal))?;
        let alive = self.moving().get(&number).map(Mover::cancel);
        if let Some(mut alive) = alive {
            let ended = async { while alive.changed().await.is_ok() {} };
            if self.env.within(CANCEL_WAIT, ended).await.is_none() {
                tracing::warn!(%id, queue = %source, "a move is cancelled, and has not ended yet");
            }
        }
        let moved = self.moves(&source).into_iter().find(|known| known.id == id).map(|known| known.moved);
        Ok(moved.unwrap_or_default())
    }

    /// Returns the moves of a queue that are remembered, newest first.
    pub(crate) fn moves(&self, source: &QueueName) -> Vec<Move> {
        // What the tasks count first: a move that ends in between has its count in the registry then.
        let live: Vec<(u64, u64)> = {
            let moving = self.moving();
            let of_source = moving.iter().filter(|(_, mover)| mover.source == *source);
            of_source.map(|(number, mover)| (*number, mover.moved.load(Ordering::Relaxed))).collect()
        };
        self.registry.read(|registry| {
            let of_source = registry.moves().iter().rev().filter(|(_, entry)| entry.target.source == *source);
            let live = |number: u64| live.iter().find(|(known, _)| *known == number).map_or(0, |(_, moved)| *moved);
            of_source.map(|(number, entry)| entry.shown(*number, live(*number))).collect()
        })
    }

    /// Ends the tasks of the moves of a queue, or of all; what they were doing goes on when they are resumed.
    pub(crate) async fn end_moves(&self, source: Option<&QueueName>) {
        let ended: Vec<Mover> = {
            let mut moving = self.moving();
            let numbers = moving.iter().filter(|(_, mover)| source.is_none_or(|source| mover.source == *source));
            let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
            numbers.iter().filter_map(|number| moving.remove(number)).collect()
        };
        for mover in ended {
            mover.task.end().await;
        }
    }
}

fn refused(source: &QueueName, id: Option<&MoveId>, refusal: Refusal) -> MoveError {
    let queue = source.clone();
    let refusal = match refusal {
        Refusal::NoQueue(queue) => return MoveError::NoQueue { queue },
        Refusal::Move(refusal) => refusal,
        // No answers to what is about moves.
        Refusal::Exists { .. }
        | Refusal::DeadLetter { .. }
        | Refusal::Erasing
        | Refusal::TooManyQueues
        | Refusal::TooManyTags => MoveRefusal::NoMove,
    };
    match refusal {
        MoveRefusal::NoMove => MoveError::NoMove { id: id.map_or_else(String::new, MoveId::to_string) },
        MoveRefusal::NoDeadLetterQueue => MoveError::NoDeadLetterQueue { queue },
        MoveRefusal::Target { to, reason } => MoveError::Target { from: queue, to, reason },
        MoveRefusal::Running => MoveError::Running { queue },
        MoveRefusal::TooMany => MoveError::TooMany,
    }
}
