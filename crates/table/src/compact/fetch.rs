//! Fetching row groups ahead of whoever decodes them, within a budget of bytes.
//!
//! Units come in the order that they are asked for; each holds its share of the budget until it is dropped. A unit that
//! is larger than the whole budget is fetched alone.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::input::{Input, Unit};
use crate::error::FileError;
use crate::reader::failed;

/// Requests in flight at once.
const REQUESTS: usize = 4;
/// What the budget is counted in.
const PERMIT_BYTES: u64 = 4096;

/// A row group's bytes.
pub(crate) struct Fetched {
    pub(crate) unit: Unit,
    pub(crate) bytes: Bytes,
    pub(crate) share: OwnedSemaphorePermit,
}

/// Where fetched units are taken from, by any number of threads.
pub(crate) struct Fetch {
    receiver: Mutex<mpsc::Receiver<Result<Fetched, FileError>>>,
}

impl Fetch {
    /// Begins. `budget` bounds the bytes that were fetched and not dropped.
    pub(crate) fn start(
        store: Arc<dyn ObjectStore>,
        inputs: Arc<Vec<Input>>,
        units: Vec<Unit>,
        budget: u64,
        cost: impl Fn(&Unit) -> u64 + Send + 'static,
    ) -> Self {
        let permits = u32::try_from(budget / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        let semaphore = Arc::new(Semaphore::new(permits as usize));
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let shares = futures::stream::iter(units).then(move |unit| {
                let share = u32::try_from(cost(&unit).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(permits);
                let semaphore = semaphore.clone();
                // It is never closed.
                async move { semaphore.acquire_many_owned(share).await.ok().map(|share| (unit, share)) }
            });
            let fetched = shares.filter_map(std::future::ready).map(|(unit, share)| {
                let (store, file) = (store.clone(), inputs[unit.input].file.clone());
                async move {
                    let bytes = store.get_range(&file.location, unit.range.clone()).await;
                    bytes.map(|bytes| Fetched { unit, bytes, share }).map_err(|source| failed(&file, source))
                }
            });
            let mut fetched = std::pin::pin!(fetched.buffered(REQUESTS));
            loop {
                let next = tokio::select! {
                    next = fetched.next() => next,
                    () = sender.closed() => return,
                };
                let Some(next) = next else { return };
                if sender.send(next).await.is_err() {
                    return;
                }
            }
        });
        Self { receiver: Mutex::new(receiver) }
    }

    /// Waits for the next one; blocks.
    pub(crate) fn next(&self) -> Option<Result<Fetched, FileError>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
    }
}
