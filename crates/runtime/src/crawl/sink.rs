//! Gathers what became of tasks for the outbox: all that is there is one batch, and one append.
//!
//! The slot of a task is free when it is handed here; its message stays leased until the append is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use weir_crawl::progress::{Counted, Event};
use weir_types::Fingerprint;

use super::call::Done;
use super::crew::Crew;
use crate::function::outbox::{Finished, MADE_BYTES_MAX, Made, Outbox, Progress};

/// The key of what was counted, among a crawl's records.
pub(super) const COUNTED_KEY: &[u8] = b"\0count";
/// Tasks that wait to be gathered.
pub(super) const WAITING_MAX: usize = 1024;
/// Tasks of one batch.
const BATCH_TASKS: usize = 1000;
/// What is gathered for one batch, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// Runs until nobody hands on anything.
pub(super) async fn run(crew: Arc<Crew>, outbox: Outbox, mut incoming: mpsc::Receiver<Done>) {
    let mut carried = None;
    loop {
        let Some(first) = (match carried.take() {
            Some(done) => Some(done),
            None => incoming.recv().await,
        }) else {
            return;
        };
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_TASKS
            && bytes < BATCH_BYTES
            && let Ok(more) = incoming.try_recv()
        {
            if bytes + more.bytes() > MADE_BYTES_MAX {
                carried = Some(more);
                break;
            }
            bytes += more.bytes();
            batch.push(more);
        }
        store(&crew, &outbox, batch).await;
    }
}

async fn store(crew: &Arc<Crew>, outbox: &Outbox, batch: Vec<Done>) {
    let mut messages = Vec::with_capacity(batch.len());
    let (mut made, mut letters) = (Vec::new(), Vec::new());
    let mut counted: BTreeMap<u64, Counted> = BTreeMap::new();
    for done in batch {
        messages.push(done.message);
        made.extend(done.made);
        letters.extend(done.letters);
        if !done.counted.is_empty() {
            match counted.get_mut(&done.counted.run) {
                Some(counted) => counted.merge(&done.counted),
                None => drop(counted.insert(done.counted.run, done.counted)),
            }
        }
    }
    // When it is appended, and not when a task was leased, long before its turn: rates are told from it.
    let at = crew.env.now();
    made.extend(counted.into_values().map(|mut counted| {
        counted.at = at;
        event(&Event::Counted(counted))
    }));
    let (done, told) = oneshot::channel();
    let held = messages.clone();
    let progress = Progress::Tasks(messages);
    outbox.store(Finished { progress, made, letters, counts: Vec::new(), done: Some(done) }).await;
    let crew = crew.clone();
    tokio::spawn(async move {
        // An error says that the node ends, and what is held with it.
        if told.await.is_ok() {
            crew.held.let_go(&held);
        }
    });
}

/// Writes an event as a record.
pub(super) fn event(event: &Event) -> Made {
    Made { key: COUNTED_KEY.to_vec(), fingerprint: Fingerprint(0), body: event.encode() }
}
