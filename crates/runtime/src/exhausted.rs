//! Messages that their queue gave out as often as it may, on their way to the table of dead letters.
//!
//! A message is settled only after its letter is durable; a crash in between writes the letter again, with the same id.

use std::sync::Arc;
use std::time::Duration;

use weir_env::Env;
use weir_queue::{DeadLetterTo, Queue};

use crate::dead::{Cause, DeadLetters, Letter};
use crate::node::Node;
use crate::pipeline::chain;

/// Messages that are parked at once.
const MESSAGES: usize = 100;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

impl Node {
    /// Starts the task of each queue whose messages are given up to the table of dead letters.
    pub(crate) fn start_parking(&self) {
        for queue in self.queues().list() {
            let to_table =
                queue.settings().dead_letter.is_some_and(|dead_letter| dead_letter.to == DeadLetterTo::Table);
            if to_table {
                self.keep_task(tokio::spawn(park(self.env().clone(), queue, self.dead_letters().clone())));
            }
        }
    }
}

async fn park(env: Env, queue: Arc<Queue>, dead_letters: DeadLetters) {
    let mut pause = RETRY;
    loop {
        match park_some(&env, &queue, &dead_letters).await {
            Ok(()) => pause = RETRY,
            Err(Halt::Closed) => return,
            Err(Halt::Failed(error)) => {
                tracing::error!(queue = %queue.name(), error, "messages that were given up could not be parked, which is tried again");
                env.sleep(env.jitter(pause)).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

enum Halt {
    Closed,
    Failed(String),
}

impl From<weir_queue::QueueError> for Halt {
    fn from(error: weir_queue::QueueError) -> Self {
        if error.is_closed() { Self::Closed } else { Self::Failed(chain(&error)) }
    }
}

async fn park_some(env: &Env, queue: &Queue, dead_letters: &DeadLetters) -> Result<(), Halt> {
    let messages = queue.exhausted(MESSAGES).await?;
    let name = format!("queue/{}", queue.name());
    let letters = messages.iter().map(|message| {
        let error = format!("it was received {} times, and never deleted", message.receive_count);
        Letter::of_message(env, name.clone(), message, name.clone(), Cause::ReceivedTooOften, error)
    });
    dead_letters.park(letters.collect()).await.map_err(|error| Halt::Failed(chain(&error)))?;
    Ok(queue.settle(messages.iter().map(|message| message.id).collect()).await?)
}
