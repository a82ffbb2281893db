//! Taking tasks from the queue: as many as there are slots, each of which is a task of its own until what came of it is handed on.
//!
//! Invariants: [`HELD_MIN`] tasks are leased at most, or twice the account's concurrency; the queue gives them to the groups with the least under way, so that each
//! flow has some, however long another's backlog is. A lease is renewed while its task is held. With nothing to do one
//! receive waits, and no timer runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use weir_queue::{Receive, Received};

use super::call::Done;
use super::crew::{Crew, Orders};
use crate::pipeline::chain;

/// Tasks that are leased at once, those under way and those that wait for their turn, where the account's concurrency does not
/// need more.
const HELD_MIN: usize = 1024;
/// However large that is.
const HELD_MAX: usize = 20_000;
/// Tasks of one receive.
const BATCH: usize = 512;
/// How long a lease lasts. A start takes all leases back, so that none has to run out.
const LEASE: Duration = Duration::from_secs(3600);
/// When it is renewed.
const RENEW: Duration = Duration::from_secs(1200);
/// How long one receive waits for a message. It wakes at once when one comes; the time only bounds what a defect could cost.
const WAIT: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(5);
/// How long calls under way may go on when the node closes. Those that do not end are made again at the next start.
const GRACE: Duration = Duration::from_secs(3);

/// Runs until `stopping` says so, or the queue is closed.
pub(super) async fn run(
    crew: Arc<Crew>,
    done: mpsc::Sender<Done>,
    mut orders: watch::Receiver<Orders>,
    mut stopping: watch::Receiver<bool>,
) {
    let concurrency = crew.budget.status().concurrency as usize;
    let slots = Arc::new(Semaphore::new((2 * concurrency).clamp(HELD_MIN, HELD_MAX)));
    let mut calls = JoinSet::new();
    let clean = loop {
        let now = orders.borrow_and_update().clone();
        let Orders::Work(values) = now else {
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { break false },
                stopped = stopping.wait_for(|stop| *stop) => break stopped.is_ok(),
            }
            continue;
        };
        let received = tokio::select! {
            received = receive(&crew, &slots) => received,
            changed = orders.changed() => {
                if changed.is_err() {
                    break false;
                }
                continue;
            }
            stopped = stopping.wait_for(|stop| *stop) => break stopped.is_ok(),
        };
        while calls.try_join_next().is_some() {}
        let Some((messages, mut slots)) = received else { break false };
        for message in messages {
            let slot = slots.split(1);
            let (crew, values, done, orders) = (crew.clone(), values.clone(), done.clone(), orders.clone());
            calls.spawn(async move {
                crew.work(&values, message, orders, done).await;
                drop(slot);
            });
        }
    };
    if clean {
        let ended = async { while calls.join_next().await.is_some() {} };
        // Those that wait for their turn have seen that it stops.
        let _ = crew.env.within(GRACE, ended).await;
    }
}

/// Waits for a slot, and for a message; none when the queue is closed.
async fn receive(crew: &Crew, slots: &Arc<Semaphore>) -> Option<(Vec<Received>, OwnedSemaphorePermit)> {
    let mut taken = slots.clone().acquire_owned().await.ok()?;
    let more = slots.available_permits().min(BATCH - 1) as u32;
    if more > 0
        && let Ok(more) = slots.clone().try_acquire_many_owned(more)
    {
        taken.merge(more);
    }
    let receive = Receive { max: taken.num_permits(), hidden_for: LEASE, wait: WAIT, attempt: None };
    match crew.queue.receive(receive).await {
        Ok(received) => {
            crew.trouble.of_runner(None);
            Some((crew.held.take(received), taken))
        }
        Err(error) if error.is_closed() => None,
        Err(error) => {
            tracing::error!(queue = %crew.queue.name(), error = chain(&error), "the crawl's queue can't be received from, which is tried again");
            crew.trouble.of_runner(Some(chain(&error)));
            crew.env.sleep(crew.env.jitter(RETRY)).await;
            Some((Vec::new(), taken))
        }
    }
}

/// Renews leases as long as there are any, until `stopping` says so.
pub(super) async fn renew(crew: Arc<Crew>, mut stopping: watch::Receiver<bool>) {
    let renewing = async {
        loop {
            if crew.held.len() == 0 {
                crew.held.began.notified().await;
            }
            crew.env.sleep(RENEW).await;
            let leases: Vec<_> = crew.held.receipts().into_iter().map(|receipt| (receipt, LEASE)).collect();
            if !leases.is_empty()
                && let Err(error) = crew.queue.hide(leases).await
            {
                if error.is_closed() {
                    return;
                }
                tracing::warn!(crawl = crew.crawl, error = chain(&error), "leases could not be renewed");
            }
        }
    };
    tokio::select! {
        () = renewing => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}
