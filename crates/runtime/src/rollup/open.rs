//! Opening the plan's rollups, each after the table that it is made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use weir_config::{TablePlan, TableSource};
use weir_env::Env;
use weir_function::Rollup;
use weir_table::Spec;
use weir_types::TableName;

use super::stale::Shape;
use super::{AT_ONCE, OpenRollup, Parts, Progress, Source, compute};
use crate::folder::Folder;
use crate::ledger::{Bookkeeper, Books, Covered};
use crate::lookups::LookupSet;
use crate::node::StartError;
use crate::pipeline::Pipeline;
use crate::tables;

/// How long one partition may take. What takes longer would never be fresh, and holds files that a vacuum waits for.
const TIME: Duration = Duration::from_secs(3000);

/// What rollups are opened with.
pub(crate) struct Around<'a> {
    pub env: &'a Env,
    pub folder: &'a Folder,
    pub lookups: &'a Arc<LookupSet>,
    pub queries: &'a weir_query::Engine,
    pub books: &'a Arc<Books>,
}

/// Returns the tables that pipelines fill.
pub(crate) fn sources(pipelines: &BTreeMap<TableName, Pipeline>) -> BTreeMap<TableName, Source> {
    let source = |(name, pipeline): (&TableName, &Pipeline)| {
        let (table, store) = (pipeline.table().clone(), pipeline.store().clone());
        (name.clone(), Source { name: name.clone(), table, store })
    };
    pipelines.iter().map(source).collect()
}

/// Opens rollups and starts them. `plans` are those among a plan's tables; `tables` are the others.
pub(crate) async fn open(
    mut plans: Vec<TablePlan>,
    mut tables: BTreeMap<TableName, Source>,
    around: &Around<'_>,
) -> Result<BTreeMap<TableName, OpenRollup>, StartError> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut open = BTreeMap::new();
    while !plans.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) =
            plans.into_iter().partition(|plan| source_of(plan).is_some_and(|source| tables.contains_key(source)));
        // The plan was checked: there are no loops, and every table is there.
        if ready.is_empty() {
            return Err(StartError::RollupLoop { table: rest[0].name.clone() });
        }
        for plan in ready {
            let (name, rollup) = one(plan, &tables, &turns, around).await?;
            let (table, store) = (rollup.table().clone(), rollup.store().clone());
            tables.insert(name.clone(), Source { name: name.clone(), table, store });
            open.insert(name, rollup);
        }
        plans = rest;
    }
    Ok(open)
}

fn source_of(plan: &TablePlan) -> Option<&TableName> {
    match &plan.source {
        TableSource::Rollup(rollup) => Some(&rollup.source),
        _ => None,
    }
}

async fn one(
    plan: TablePlan,
    tables: &BTreeMap<TableName, Source>,
    turns: &Arc<Semaphore>,
    around: &Around<'_>,
) -> Result<(TableName, OpenRollup), StartError> {
    let known = "the plan was checked: its references lead somewhere";
    let TableSource::Rollup(rollup) = plan.source else { unreachable!("the caller chose rollups") };
    let source = tables.get(&rollup.source).expect(known).clone();
    // The table's own columns, as they are stored: what the plan knows of them is older where the table has grown wider.
    let columns = compute::columns(&source.table.columns_to_be(), &rollup.source_columns);
    let lookups = around.lookups.columns();
    let failed = |source| StartError::Rollup { table: plan.name.clone(), source };
    let planned = Rollup::plan(&rollup.sql, (source.name.as_str(), &columns), lookups).map_err(failed)?;
    let mut spec = Spec::new(plan.name.clone(), planned.output());
    spec.partition_by = tables::partition_by(&plan.partition_by);
    spec.freshness = plan.freshness;
    tables::compaction(&mut spec, plan.compaction);
    if let Some(size) = plan.target_file_size {
        spec.target_file_bytes = size.0;
    }
    // A rollup reads no records: what its commits cover is told by the table alone.
    let witness = Arc::new(Bookkeeper::new(plan.name.to_string(), around.books.clone(), Arc::new(Covered::default())));
    let (table, store) = tables::open(&spec, plan.location.as_ref(), around.folder, around.env, witness).await?;
    let booked = around.books.open_table(&table).await;
    booked.map_err(|source| StartError::Books { table: plan.name.to_string(), source })?;
    let shape = Shape { scope: rollup.scope.clone(), by: plan.partition_by };
    let parts = Parts {
        name: plan.name.clone(),
        plan: rollup,
        planned,
        shape,
        env: around.env.clone(),
        source,
        table: Arc::new(table),
        store,
        lookups: around.lookups.clone(),
        queries: around.queries.within(TIME, u64::MAX),
        turns: turns.clone(),
        freshness: plan.freshness,
        progress: Progress::default(),
        asked: watch::Sender::new(0),
        settled: watch::Sender::default(),
    };
    Ok((plan.name, OpenRollup::start(parts)))
}
