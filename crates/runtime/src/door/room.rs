//! Memory that all bodies together may use.
//!
//! A body begins with a little, and takes a full share when it turns out to be long. Who finds no room within a moment is
//! told to come back: the door slows down, it does not grow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_env::Env;

const UNIT: usize = 1024;
/// What all bodies together may hold.
pub const DOOR_BYTES_MAX: usize = 96 * 1024 * 1024;
/// What a body may hold at first.
const SMALL_BYTES: usize = 256 * 1024;
/// What a long body may hold: its splitter, two chunks on their way, and the records of the read at hand.
const LARGE_BYTES: usize = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// There is no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server takes in as much as it can; try again in a moment")]
pub struct NoRoom;

/// The room of a node.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    env: Env,
    free: Arc<Semaphore>,
}

/// One body's share. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share {
    room: Room,
    permits: OwnedSemaphorePermit,
    seen: usize,
    large: bool,
}

impl Room {
    pub fn new(env: Env) -> Self {
        Self { env, free: Arc::new(Semaphore::new(DOOR_BYTES_MAX / UNIT)) }
    }

    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NoRoom> {
        let permits = self.free.clone().acquire_many_owned((bytes / UNIT) as u32);
        match self.env.within(PATIENCE, permits).await {
            Some(Ok(permits)) => Ok(permits),
            _ => Err(NoRoom),
        }
    }

    pub async fn enter(&self) -> Result<Share, NoRoom> {
        Ok(Share { room: self.clone(), permits: self.take(SMALL_BYTES).await?, seen: 0, large: false })
    }
}

impl Share {
    /// Takes the full share once the body has more than a little.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.seen += bytes;
        if !self.large && self.seen > SMALL_BYTES / 2 {
            self.permits.merge(self.room.take(LARGE_BYTES - SMALL_BYTES).await?);
            self.large = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use weir_env::ManualClock;
    use weir_types::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_full_room_turns_bodies_away_until_one_leaves() {
        let clock = ManualClock::at(Timestamp(0));
        let room = Room::new(Env::seeded(clock.clone(), 1));
        let mut shares = Vec::new();
        for _ in 0..DOOR_BYTES_MAX / LARGE_BYTES {
            let mut share = room.enter().await.unwrap();
            share.grow(LARGE_BYTES).await.unwrap();
            shares.push(share);
        }
        let mut turned_away = Box::pin(room.enter());
        assert!((&mut turned_away).now_or_never().is_none());
        clock.advance(PATIENCE);
        assert_eq!(turned_away.await.unwrap_err(), NoRoom);
        shares.pop();
        assert!(room.enter().now_or_never().unwrap().is_ok());
    }
}
