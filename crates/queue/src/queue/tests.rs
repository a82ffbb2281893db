use std::collections::BTreeMap;

use object_store::memory::InMemory;
use weir_env::ManualClock;
use weir_log::{Engine, MemoryEngine};
use weir_types::LogName;

use super::*;
use crate::message::{Attribute, AttributeValue};
use crate::settings::{DeadLetter, DeadLetterTo, DeduplicationScope, Fifo, ThroughputLimit};

mod fifo;
mod given_up;
mod restart;
mod standard;
mod waiting;

/// A queue's surroundings, which outlive it.
struct World {
    clock: ManualClock,
    env: Env,
    engine: MemoryEngine,
    store: Arc<InMemory>,
    name: QueueName,
    settings: Settings,
    tuning: Tuning,
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    fn new(name: &str) -> Self {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let env = Env::seeded(clock.clone(), 1);
        let name: QueueName = name.parse().unwrap();
        let fifo = name.is_fifo().then_some(Fifo {
            content_deduplication: true,
            deduplication_scope: DeduplicationScope::Queue,
            throughput_limit: ThroughputLimit::PerQueue,
        });
        Self {
            engine: MemoryEngine::new(env.clone()),
            store: Arc::new(InMemory::new()),
            settings: Settings { fifo, ..Settings::default() },
            tuning: Tuning { snapshot_bytes: 1000, dead_bytes: 1000, carry_bytes: 10_000, ..Tuning::default() },
            clock,
            env,
            name,
        }
    }

    fn dead_letters(mut self, max_receives: u32, to: DeadLetterTo) -> Self {
        self.settings.dead_letter = Some(DeadLetter { max_receives, to });
        self
    }

    async fn log(&self) -> Arc<dyn Log> {
        self.engine.log(&LogName::queue(&self.name)).await.unwrap()
    }

    async fn open(&self) -> Arc<Queue> {
        let snapshots = Snapshots::new(self.store.clone(), object_store::path::Path::from("snapshots"));
        let (name, settings) = (self.name.clone(), self.settings.clone());
        Queue::open(self.log().await, snapshots, self.env.clone(), name, settings, 42, self.tuning.clone())
            .await
            .unwrap()
    }
}

fn now(max: usize) -> Receive {
    Receive { max, hidden_for: 30 * SECOND, wait: Duration::ZERO, attempt: None }
}

fn waiting(max: usize) -> Receive {
    Receive { wait: 20 * SECOND, ..now(max) }
}

fn message(body: impl Into<String>) -> Message {
    Message::new(body.into().into_bytes())
}

fn grouped(group: &str, body: impl Into<String>) -> Message {
    Message { group: Some(group.to_owned()), ..message(body) }
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|received| String::from_utf8(received.body.to_vec()).unwrap()).collect()
}

async fn take(queue: &Queue, max: usize) -> Vec<String> {
    bodies(&queue.receive(now(max)).await.unwrap())
}
