//! What runs beside the flow: retention, snapshots, vacuum, and refreshing lookups.

use std::sync::{Arc, Weak};
use std::time::Duration;

use weir_stream::Stream;
use weir_types::{SequenceNumber, ShardId};

use crate::dead::{ACTIONS, CARRIER};
use crate::function::OpenFunction;
use crate::node::Node;

/// How often old records and files are looked for.
const ROUND: Duration = Duration::from_secs(10);
/// How long files that were replaced stay, for readers that still use the version before.
const VACUUM_KEEP: Duration = Duration::from_secs(3600);
/// How often a table is vacuumed.
const VACUUM_ROUND: Duration = Duration::from_secs(600);

impl Node {
    pub(crate) fn start_upkeep(self: &Arc<Self>) {
        for name in self.lookups().names() {
            self.keep_task(tokio::spawn(self.lookups().clone().keep_fresh(name.clone())));
        }
        // Weak, so that a node that is dropped ends.
        self.keep_task(tokio::spawn(keep_up(Arc::downgrade(self))));
        self.start_compacting();
        self.keep_task(tokio::spawn(crate::ledger::keep_books(Arc::downgrade(self))));
    }

    async fn upkeep_streams(&self) {
        for stream in self.all_streams() {
            match stream.retain(self.env().now(), |shard| self.needed_from(&stream, shard)).await {
                Ok(0) => {}
                Ok(forgotten) if stream.name().is_internal() => {
                    tracing::debug!(stream = %stream.name(), forgotten, "what was taken on was forgotten");
                }
                Ok(forgotten) => tracing::info!(stream = %stream.name(), forgotten, "old records were forgotten"),
                Err(error) => tracing::warn!(stream = %stream.name(), %error, "old records could not be forgotten"),
            }
            if let Err(error) = stream.snapshot_if_due().await {
                tracing::warn!(stream = %stream.name(), %error, "the producers could not be remembered");
            }
        }
    }

    /// Returns the first record of a shard that somebody of this node still has to read.
    fn needed_from(&self, stream: &Arc<Stream>, shard: ShardId) -> Option<SequenceNumber> {
        let name = stream.name();
        let sources = self.pipelines().values().flat_map(|pipeline| {
            let read = pipeline.sources().iter().filter(|source| source.stream.name() == name && source.id == shard);
            read.map(|source| pipeline.committed(source).unwrap_or_default().0)
        });
        let functions = self.functions().values().filter_map(|function| {
            if function.on_stream() == Some(name) {
                // A function that has not begun needs all.
                return Some(function.needs_from(shard).unwrap_or_default().0);
            }
            if function.redrive.as_ref().is_some_and(|redrive| redrive.name() == name) {
                return Some(function.needs_redriven_from().unwrap_or_default().0);
            }
            if function.stream.name() == name {
                return Some(self.needed_of_outbox(function, &function.stream, shard).0);
            }
            let replay = function.replay.as_ref()?;
            if replay.made.name() == name {
                return Some(self.needed_of_outbox(function, &replay.made, shard).0);
            }
            if replay.feed.name() == name {
                let worked = function.replayed().and_then(|next| *next.borrow()).unwrap_or_default();
                // The last one says how far the replay came that gave it.
                return Some(worked.0.min(replay.feed.shards()[shard.0 as usize].bounds().tail.0.saturating_sub(1)));
            }
            None
        });
        let crawls = self.crawls().open.values().filter(|crawl| crawl.stream.name() == name).map(|crawl| {
            let log = stream.shards()[shard.0 as usize].log().name();
            crawl.needs_from(self.forwarded(&crate::crawl::consumer(crawl.plan.name.as_str()), log)).0
        });
        let carrier = (name.as_str() == ACTIONS).then(|| {
            let log = stream.shards()[shard.0 as usize].log().name();
            self.checkpoints().read(|all| all.get(CARRIER, log)).map_or(0, |at| at.next.0)
        });
        let archive = self.archives().get(name).map(|archive| archive.needs_from(shard).0);
        let replays = self.replaying().needed_from(name, shard).map(|needed| needed.0);
        // What is forgotten has been counted.
        let books = self.books().shards.booked(stream.shards()[shard.0 as usize].log().name()).map(|booked| booked.0);
        let own = carrier.into_iter().chain(archive).chain(replays).chain(books);
        sources.chain(functions).chain(crawls).chain(own).min().map(SequenceNumber)
    }

    /// Returns how far what a function has made was carried on. Its last record stays in any case: that is its state.
    fn needed_of_outbox(&self, function: &OpenFunction, made: &Stream, shard: ShardId) -> SequenceNumber {
        let shard = &made.shards()[shard.0 as usize];
        let carried = self.forwarded(&crate::function::consumer(function.plan.name.as_str()), shard.log().name());
        carried.min(SequenceNumber(shard.bounds().tail.0.saturating_sub(1)))
    }

    async fn vacuum_tables(&self) {
        for (name, table) in self.tables() {
            match table.vacuum(VACUUM_KEEP).await {
                Ok(vacuumed) if vacuumed.files + vacuumed.log_files > 0 => {
                    tracing::info!(table = %name, files = vacuumed.files, bytes = vacuumed.bytes, "dead files were deleted");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(table = %name, error = crate::pipeline::chain(&error), "dead files could not be deleted");
                }
            }
        }
    }
}

async fn keep_up(node: Weak<Node>) {
    let Some(env) = node.upgrade().map(|node| node.env().clone()) else { return };
    let mut vacuumed = env.elapsed();
    loop {
        env.sleep(env.jitter(ROUND)).await;
        let Some(node) = node.upgrade() else { return };
        node.upkeep_streams().await;
        node.queues().upkeep().await;
        if env.elapsed().saturating_sub(vacuumed) >= VACUUM_ROUND {
            vacuumed = env.elapsed();
            node.vacuum_tables().await;
        }
    }
}
