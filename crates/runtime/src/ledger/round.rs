//! Every few seconds: what was counted is booked.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use weir_ledger::{Booked, Command, DoorCounts, FunctionHours};
use weir_machine::SubmitError;
use weir_types::Hour;

use super::shards::CountError;
use super::{Books, upkeep};
use crate::node::Node;
use crate::pipeline::chain;
use crate::streams::Counters;

/// How often what was counted is booked. A crash counts again what came since, from the log.
const ROUND: Duration = Duration::from_secs(5);

/// How thoroughly shards are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Those that nobody else reads.
    Unread,
    /// All, up to where they end now.
    All,
}

impl Counters {
    /// Returns what came through the door since the node was started.
    pub(super) fn door(&self) -> DoorCounts {
        DoorCounts {
            // Last: a record is never answered for before it is received.
            stored: self.stored.load(Ordering::Acquire),
            repeated: self.repeated.load(Ordering::Acquire),
            refused: self.refused.load(Ordering::Acquire),
            dead_lettered: self.dead_lettered.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            received: self.received.load(Ordering::Acquire),
        }
    }
}

impl Node {
    /// Books what was counted since the last time.
    ///
    /// # Errors
    /// If a shard does not read, or the ledger takes nothing. What was not booked is the next time.
    pub(crate) async fn book(&self, count: Count) -> Result<(), CountError> {
        if !self.books().are_kept() {
            return Ok(());
        }
        let _one = self.books().rounds.lock().await;
        // Before the shards are counted: what is done was stored.
        let said = self.said().await;
        // One shard that does not read must not hold up the others.
        let mut failed = None;
        for stream in self.all_streams() {
            for shard in stream.shards() {
                let counted = match count {
                    Count::All => self.books().count(shard).await,
                    Count::Unread => self.books().count_if_still(shard).await,
                };
                if let Err(error) = counted {
                    failed.get_or_insert(error);
                }
            }
        }
        self.books().book_shards().await?;
        self.book_doors().await?;
        self.book_made().await?;
        self.book_functions(said).await?;
        failed.map_or(Ok(()), Err)
    }

    async fn book_doors(&self) -> Result<(), SubmitError> {
        let hour = Hour::of(self.env().now());
        let mut news = Vec::new();
        let mut now = Vec::new();
        {
            let booked = self.books().doors.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, stream) in self.streams().iter().filter(|(name, _)| !crate::dead::is_own(name.as_str())) {
                let counts = stream.counters.door();
                let since = counts.since(booked.get(name.as_str()).copied().unwrap_or_default());
                if !since.is_empty() {
                    news.push((name.to_string(), hour, since));
                    now.push((name.to_string(), counts));
                }
            }
        }
        if !news.is_empty() {
            self.books().submit(Command::Doors(news)).await?;
            self.books().doors.lock().unwrap_or_else(PoisonError::into_inner).extend(now);
        }
        Ok(())
    }

    async fn book_made(&self) -> Result<(), SubmitError> {
        let mut news = Vec::new();
        {
            let booked = self.books().made.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, table) in self.all_tables() {
                let commits = table.commits();
                if booked.get(name).is_none_or(|booked| *booked < commits) {
                    news.push((name.to_string(), commits));
                }
            }
        }
        if !news.is_empty() {
            self.books().submit(Command::Made(news.clone())).await?;
            self.books().made.lock().unwrap_or_else(PoisonError::into_inner).extend(news);
        }
        Ok(())
    }

    async fn said(&self) -> Vec<FunctionHours> {
        let mut said = Vec::new();
        for function in self.functions().values() {
            said.extend(function.said().await);
        }
        said
    }

    async fn book_functions(&self, said: Vec<FunctionHours>) -> Result<(), SubmitError> {
        if !said.is_empty() && self.books().submit(Command::Functions(said.clone())).await? == Booked::Taken {
            for function in self.functions().values() {
                function.taken(&said).await;
            }
        }
        Ok(())
    }
}

/// Books until the node ends.
pub(crate) async fn keep_books(node: Weak<Node>) {
    let Some(books) = node.upgrade().map(|node| node.books().clone()) else { return };
    loop {
        books.env.sleep(books.env.jitter(ROUND)).await;
        let Some(node) = node.upgrade() else { return };
        round(&node, &books).await;
    }
}

async fn round(node: &Arc<Node>, books: &Books) {
    match node.book(Count::Unread).await {
        Ok(()) => books.set_trouble(None),
        Err(error) => {
            tracing::warn!(error = chain(&error), "what was counted could not be booked, which is tried again");
            books.set_trouble(Some(chain(&error)));
        }
    }
    upkeep::fold(node, books).await;
    node.check_if_due().await;
}
