//! Waiting until a table has all that was acknowledged: a barrier for rollups, on demand.

use std::time::Duration;

use weir_table::CommitError;
use weir_types::TableName;

use super::OpenRollup;
use crate::node::Node;
use crate::query::QueryFailed;

/// How long a chain of rollups may take to compute what is stale, until the caller is told to ask again.
const WAIT: Duration = Duration::from_secs(100);

/// Why a table could not be brought up to date. What was computed until then stays.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// There is no such table.
    #[error("there is no table `{table}`")]
    Unknown {
        /// As asked for.
        table: TableName,
    },
    /// The table behind has not come as far as what was acknowledged.
    #[error(transparent)]
    Behind(#[from] QueryFailed),
    /// The table behind could not be committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A rollup can't be computed.
    #[error("table `{table}` could not be computed: {what}")]
    Trouble {
        /// The rollup.
        table: TableName,
        /// Why.
        what: String,
    },
    /// It takes long.
    #[error("table `{table}` is still being computed after {}: `weir status` says how many partitions are stale", weir_types::span::display(*.waited))]
    Time {
        /// The rollup.
        table: TableName,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl OpenRollup {
    /// Computes all that is stale now, and returns when it is.
    async fn settle(&self, within: Duration) -> Result<(), RefreshError> {
        let mut settled = self.parts.settled.subscribe();
        let mut request = 0;
        self.parts.asked.send_modify(|asked| {
            *asked += 1;
            request = *asked;
        });
        let table = || self.parts.name.clone();
        let answered = self.parts.env.within(within, settled.wait_for(|settled| settled.request >= request)).await;
        // The sender lives as long as this.
        let trouble = match answered {
            Some(Ok(settled)) => settled.trouble.clone(),
            Some(Err(_)) => Some("it was stopped".to_owned()),
            None => return Err(RefreshError::Time { table: table(), waited: WAIT }),
        };
        trouble.map_or(Ok(()), |what| Err(RefreshError::Trouble { table: table(), what }))
    }
}

impl Node {
    /// Brings a table up to date: whatever was acknowledged before is committed, and in rollups, when this returns.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(&self, table: &TableName) -> Result<(), RefreshError> {
        let mut chain: Vec<&OpenRollup> = Vec::new();
        let mut at = table;
        while let Some(rollup) = self.rollups().get(at) {
            chain.push(rollup);
            at = rollup.source();
        }
        let pipeline = self.pipelines().get(at).ok_or_else(|| RefreshError::Unknown { table: at.clone() })?;
        self.catch_up(at.as_str(), pipeline).await?;
        pipeline.table().commit().await?;
        let began = self.env().elapsed();
        for rollup in chain.into_iter().rev() {
            rollup.settle(WAIT.saturating_sub(self.env().elapsed().saturating_sub(began))).await?;
        }
        Ok(())
    }
}
