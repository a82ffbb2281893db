//! What all calls of a crawl share: what is called, who is asked for permits, and what is under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use weir_budget::{Budget, Flow, Share};
use weir_crawl::{Plan, RunValues, Transport};
use weir_env::Env;
use weir_queue::{MessageId, Queue, ReceiptHandle, Received};

use super::items::Form;
use crate::function::Trouble;

/// Bytes of answers, and of what is made of them, that are in memory at once. A single answer may be larger: then it is alone.
const ANSWERS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes in memory for each byte of an answer, while it is read and turned into records.
const BYTES_PER_BYTE: usize = 4;
/// What is reserved for an answer of a resource that was not called yet, in KiB.
const ANSWER_KIB: u64 = 64;

/// What the workers are to do.
#[derive(Debug, Clone)]
pub(super) enum Orders {
    /// To take nothing on. Calls under way end.
    Hold,
    /// To work off a run.
    Work(Arc<RunValues>),
}

impl Orders {
    /// Returns the run that is worked off.
    pub fn run(&self) -> Option<u64> {
        match self {
            Self::Hold => None,
            Self::Work(values) => Some(values.run),
        }
    }
}

/// What all calls of a crawl share.
pub(super) struct Crew {
    pub env: Env,
    pub crawl: String,
    pub plan: Plan,
    /// The crawl's share of the account.
    pub weight: u32,
    /// Shares of tenants that have one of their own.
    pub tenants: BTreeMap<String, u32>,
    /// How often a task of a resource is tried.
    pub attempts: BTreeMap<String, u32>,
    pub queue: Arc<Queue>,
    pub budget: Arc<Budget>,
    pub transport: Arc<dyn Transport>,
    /// The form of items by resource; resources without one only lead to others.
    pub forms: BTreeMap<String, Form>,
    pub held: Held,
    pub flying: Flying,
    pub answers: Answers,
    pub trouble: Arc<Trouble>,
}

impl Crew {
    /// Returns the place in the account's queue of a tenant's calls.
    pub fn flow(&self, tenant: &str) -> Flow {
        let name = format!("crawl/{}", self.crawl);
        let crawl = Share { name: &name, weight: self.weight };
        if tenant.is_empty() {
            return self.budget.flow(&[crawl]);
        }
        let weight = self.tenants.get(tenant).copied().unwrap_or(1);
        self.budget.flow(&[crawl, Share { name: tenant, weight }])
    }
}

/// Messages that are leased: from their receive until what came of them is durable, or they are given back.
#[derive(Debug)]
pub(super) struct Held {
    receipts: Mutex<HashMap<MessageId, ReceiptHandle>>,
    /// Told when the first one comes.
    pub began: Notify,
    /// Told when the last one has gone.
    emptied: Arc<Notify>,
}

impl Held {
    /// None yet. `emptied` is told when the last one has gone.
    pub fn new(emptied: Arc<Notify>) -> Self {
        Self { receipts: Mutex::default(), began: Notify::new(), emptied }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, ReceiptHandle>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes messages that were received, and returns those that nobody works on: of the others the lease ran out under a worker,
    /// who goes on with the new one.
    pub fn take(&self, messages: Vec<Received>) -> Vec<Received> {
        let mut held = self.lock();
        let began = held.is_empty() && !messages.is_empty();
        let mut is_new = |message: &Received| held.insert(message.id, message.receipt.clone()).is_none();
        let messages = messages.into_iter().filter(|message| is_new(message)).collect();
        drop(held);
        if began {
            self.began.notify_one();
        }
        messages
    }

    /// Lets go of messages that are done or given back.
    pub fn let_go(&self, messages: &[MessageId]) {
        let mut held = self.lock();
        let before = held.len();
        messages.iter().for_each(|message| drop(held.remove(message)));
        let emptied = held.is_empty() && before > 0;
        if emptied {
            held.shrink_to(1024);
        }
        drop(held);
        if emptied {
            self.emptied.notify_one();
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns the lease of a message.
    pub fn receipt(&self, message: MessageId) -> Option<ReceiptHandle> {
        self.lock().get(&message).cloned()
    }

    /// Returns all leases.
    pub fn receipts(&self) -> Vec<ReceiptHandle> {
        self.lock().values().cloned().collect()
    }
}

/// A resource and a tenant.
pub(super) type Whose = (Arc<str>, Arc<str>);

/// Calls under way, by resource and tenant.
#[derive(Debug, Default)]
pub(super) struct Flying {
    calls: Mutex<BTreeMap<Whose, u64>>,
}

/// A call under way. Dropped when it has ended.
pub(super) struct Flight<'a> {
    flying: &'a Flying,
    key: Whose,
}

impl Flying {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Whose, u64>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call until the flight is dropped.
    pub fn begin(&self, resource: &str, tenant: &str) -> Flight<'_> {
        let key = (Arc::from(resource), Arc::from(tenant));
        *self.lock().entry(key.clone()).or_default() += 1;
        Flight { flying: self, key }
    }

    /// Returns the calls under way, by resource and tenant.
    pub fn all(&self) -> Vec<(Whose, u64)> {
        self.lock().iter().map(|(key, calls)| (key.clone(), *calls)).collect()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut calls = self.flying.lock();
        if let Some(count) = calls.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.key);
            }
        }
    }
}

/// Room for answers: each call reserves what the largest of the last answers of its resource took.
#[derive(Debug)]
pub(super) struct Answers {
    room: Arc<Semaphore>,
    /// The largest of late, in KiB: it falls by an eighth with each smaller one.
    largest: BTreeMap<String, AtomicU64>,
}

impl Answers {
    /// Room for answers of these resources.
    pub fn new<'a>(resources: impl Iterator<Item = &'a str>) -> Self {
        let largest = resources.map(|resource| (resource.to_owned(), AtomicU64::new(ANSWER_KIB))).collect();
        Self { room: Arc::new(Semaphore::new(ANSWERS_BYTES_MAX / 1024)), largest }
    }

    fn wanted(&self, resource: &str) -> u32 {
        let largest = self.largest.get(resource).map_or(ANSWER_KIB, |largest| largest.load(Ordering::Relaxed));
        u32::try_from(largest).unwrap_or(u32::MAX).min((ANSWERS_BYTES_MAX / 1024) as u32)
    }

    /// Returns room for an answer, if there is.
    pub fn try_reserve(&self, resource: &str) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_many_owned(self.wanted(resource)).ok()
    }

    /// Waits for room for an answer; none when the node ends.
    pub async fn reserve(&self, resource: &str) -> Option<OwnedSemaphorePermit> {
        self.room.clone().acquire_many_owned(self.wanted(resource)).await.ok()
    }

    /// Notes how large an answer was, in bytes.
    pub fn note(&self, resource: &str, bytes: usize) {
        let Some(largest) = self.largest.get(resource) else { return };
        let kib = (bytes * BYTES_PER_BYTE / 1024) as u64 + 1;
        let before = largest.load(Ordering::Relaxed);
        let now = kib.max(before - before / 8);
        if now != before {
            // Two at once may lose one: it is an estimate.
            largest.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_answers_follows_what_they_took_of_late() {
        let answers = Answers::new(["small", "large"].into_iter());
        answers.note("small", 100);
        (0..100).for_each(|_| answers.note("small", 100));
        assert!(answers.wanted("small") < 10, "{}", answers.wanted("small"));
        answers.note("large", 60 * 1024 * 1024);
        assert_eq!(answers.wanted("large"), 240 * 1024 + 1);
        let one = answers.try_reserve("large").unwrap();
        assert!(answers.try_reserve("large").is_none());
        assert!(answers.try_reserve("small").is_some());
        drop(one);
        answers.note("large", 1024 * 1024 * 1024);
        assert!(answers.try_reserve("large").is_some(), "the largest is alone, and goes");
    }

    #[test]
    fn calls_under_way_are_counted_until_they_end() {
        let flying = Flying::default();
        let first = flying.begin("device", "acme");
        let second = flying.begin("device", "acme");
        assert_eq!(flying.all().iter().map(|(_, calls)| *calls).sum::<u64>(), 2);
        drop(first);
        drop(second);
        assert!(flying.all().is_empty());
    }
}
