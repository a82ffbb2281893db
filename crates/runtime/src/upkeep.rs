//! What runs beside the flow: retention, snapshots, merging of small files, vacuum, and refreshing lookups.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use weir_config::LookupPlan;
use weir_types::{LookupName, SequenceNumber};

use crate::node::Node;
use crate::pipeline::source_of;

/// How often old records and files are looked for.
const ROUND: Duration = Duration::from_secs(10);
/// How long files that were replaced stay, for readers that still use the version before.
const VACUUM_KEEP: Duration = Duration::from_secs(3600);
/// How often a table is vacuumed.
const VACUUM_ROUND: Duration = Duration::from_secs(600);

impl Node {
    pub(crate) fn start_upkeep(self: &Arc<Self>, lookups: BTreeMap<LookupName, LookupPlan>) {
        for plan in lookups.into_values() {
            self.keep_task(tokio::spawn(self.lookups().clone().keep_fresh(self.env().clone(), plan)));
        }
        // Weak, so that a node that is dropped ends.
        self.keep_task(tokio::spawn(keep_up(Arc::downgrade(self))));
    }

    async fn upkeep_streams(&self) {
        for (name, stream) in self.streams() {
            let hold = |shard| {
                let committed = self.pipelines().values().filter(|pipeline| pipeline.stream().stream.name() == name);
                committed
                    .map(|pipeline| {
                        let place = pipeline.table().positions().get(&source_of(stream, shard)).copied();
                        SequenceNumber(place.unwrap_or(0))
                    })
                    .min()
            };
            match stream.stream.retain(self.env().now(), hold).await {
                Ok(0) => {}
                Ok(forgotten) => tracing::info!(stream = %name, forgotten, "old records were forgotten"),
                Err(error) => tracing::warn!(stream = %name, %error, "old records could not be forgotten"),
            }
            if let Err(error) = stream.stream.snapshot_if_due().await {
                tracing::warn!(stream = %name, %error, "the producers could not be remembered");
            }
        }
    }

    async fn upkeep_tables(&self, vacuum: bool) {
        for (name, pipeline) in self.pipelines() {
            loop {
                match pipeline.table().merge().await {
                    Ok(merged) => {
                        if merged.files_in > 0 {
                            tracing::info!(table = %name, files_in = merged.files_in, files_out = merged.files_out, rows = merged.rows, "small files were merged");
                        }
                        if !merged.more {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(table = %name, error = crate::pipeline::chain(&error), "small files could not be merged");
                        break;
                    }
                }
            }
            if vacuum {
                match pipeline.table().vacuum(VACUUM_KEEP).await {
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
}

async fn keep_up(node: Weak<Node>) {
    let Some(env) = node.upgrade().map(|node| node.env().clone()) else { return };
    let mut vacuumed = env.elapsed();
    loop {
        env.sleep(env.jitter(ROUND)).await;
        let Some(node) = node.upgrade() else { return };
        node.upkeep_streams().await;
        let vacuum = env.elapsed().saturating_sub(vacuumed) >= VACUUM_ROUND;
        if vacuum {
            vacuumed = env.elapsed();
        }
        node.upkeep_tables(vacuum).await;
    }
}
