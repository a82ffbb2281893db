//! Who tells a block what is new: a watched folder, a queue of the plan, callers over HTTP.
//!
//! A message of the queue is deleted when what it names was looked at: one that comes again is of no harm, and one that is
//! no event stays, until the queue gives it up.

use std::sync::Arc;
use std::time::Duration;

use weir_env::Env;
use weir_queue::{Queue, Receive};

use super::hints::Hints;
use super::notification::{self, Named, NotificationError};
use super::place::Place;

/// Messages that are received at once.
const MESSAGES_MAX: usize = 10;
/// How long a message is hidden while what it names is looked at.
const HIDDEN_FOR: Duration = Duration::from_secs(120);
/// How long one receive waits for a message.
const WAIT: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_secs(5);

/// A block's ear: what it is told becomes hints.
#[derive(Clone)]
pub(crate) struct Ear {
    pub hints: Arc<Hints>,
    pub place: Arc<Place>,
}

impl Ear {
    /// Takes an event; without a body, everything is looked at. Returns the number of the hint, and how many of the block's
    /// files it names.
    ///
    /// # Errors
    /// If it is no event that is known.
    pub fn hear(&self, body: &[u8]) -> Result<(u64, usize), NotificationError> {
        if body.trim_ascii().is_empty() {
            return Ok((self.hints.note_all(), 0));
        }
        let named = notification::named(body)?;
        let paths: Vec<String> = named.into_iter().filter_map(|named| self.path(&named)).collect();
        let count = paths.len();
        Ok((self.hints.note(paths), count))
    }

    /// Returns the path below the location of an object that is meant.
    fn path(&self, named: &Named) -> Option<String> {
        if named.bucket.as_deref().is_some_and(|bucket| !self.place.is_bucket(bucket)) {
            return None;
        }
        let key = object_store::path::Path::parse(&named.key).ok()?;
        self.place.below(&key).map(str::to_owned)
    }

    /// Receives from a queue until it closes.
    pub async fn listen(self, env: Env, queue: Arc<Queue>) {
        loop {
            let receive = Receive { max: MESSAGES_MAX, hidden_for: HIDDEN_FOR, wait: WAIT, attempt: None };
            let received = match queue.receive(receive).await {
                Ok(received) => received,
                Err(error) if error.is_closed() => return,
                Err(error) => {
                    tracing::warn!(queue = %queue.name(), %error, "nothing is heard of new files, which is tried again");
                    env.sleep(env.jitter(RETRY)).await;
                    continue;
                }
            };
            let mut heard = Vec::new();
            let mut last = 0;
            for message in received {
                match self.hear(&message.body) {
                    Ok((hint, _)) => {
                        last = last.max(hint);
                        heard.push(message.receipt);
                    }
                    Err(error) => {
                        tracing::warn!(queue = %queue.name(), %error, "a message tells of no files, and is left to the queue");
                    }
                }
            }
            if heard.is_empty() {
                continue;
            }
            // Longer than it is hidden, and it comes once more.
            if env.within(HIDDEN_FOR, self.hints.followed(last)).await.is_none() {
                continue;
            }
            if let Err(error) = queue.delete(heard).await {
                tracing::warn!(queue = %queue.name(), %error, "what was heard of new files is heard once more");
            }
        }
    }
}
