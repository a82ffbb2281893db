//! Opening a plan's tables, each with what feeds it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use url::Url;
use weir_config::{CompactionPlan, Evolve, FunctionPlan, TablePlan, TableSource, Visible};
use weir_env::Env;
use weir_function::{Function, SqlFunction};
use weir_schema::columns::{Past, past};
use weir_schema::{Schema, arrow_schema};
use weir_stream::Stream;
use weir_table::{Evolution, Keep, LocalStore, OpenError, PartitionBy, Rewriting, Rule, Spec, Table, Witness};
use weir_types::{FunctionName, StreamName, TableName};

use crate::crawl::OpenCrawls;
use crate::dead::{ACTIONS, ACTIONS_SQL, DEAD_LETTERS};
use crate::folder::{Folder, FolderError};
use crate::function::Functions;
use crate::lookups::LookupSet;
use crate::node::StartError;
use crate::pipeline::{IfEmpty, OnRepeat, SourceShard, Whole, chain, shards_of};
use crate::streams::OpenStream;

/// Rows that make a commit worthwhile, in bytes of Arrow: one such lot is written while the next gathers.
const COMMIT_BYTES: u64 = 48 * 1024 * 1024;
/// Rows that a table may hold in memory before its pipeline waits.
const BUFFER_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A table of the plan with what feeds it, before it is opened.
pub(crate) struct Planned {
    pub spec: Spec,
    pub location: Option<Url>,
    /// What its records are.
    pub stream: Arc<OpenStream>,
    /// Where they are read.
    pub sources: Vec<SourceShard>,
    pub function: Option<Arc<dyn Function>>,
    /// What of a crawl's runs becomes the table's, if it takes them whole.
    pub whole: Option<Whole>,
}

/// Says how a table's columns follow the stream's schema. Of a function's, `passed` names those that it passes on: what it
/// computes has no past that a schema knows.
pub(crate) fn evolution(schema: &Schema, passed: Option<&BTreeMap<String, String>>, evolve: Evolve) -> Evolution {
    let Past { renamed, filled } = past(schema).expect("the plan was checked: its schemas have columns");
    let rewriting = match evolve {
        Evolve::Rewrite => Rewriting::Allowed,
        Evolve::Append => Rewriting::Refused,
    };
    let Some(passed) = passed else { return Evolution { rewriting, renamed, filled } };
    let mut evolution = Evolution { rewriting, ..Evolution::default() };
    for (output, input) in passed {
        let path = |path: &[String]| [std::slice::from_ref(output), &path[1..]].concat();
        let of_input = |path: &&Vec<String>| path.first() == Some(input);
        evolution.renamed.extend(
            renamed.iter().filter(|(path, _)| of_input(path)).map(|(under, names)| (path(under), names.clone())),
        );
        evolution.filled.extend(
            filled.iter().filter(|(path, _)| of_input(path)).map(|(under, value)| (path(under), value.clone())),
        );
    }
    evolution
}

/// How often a table is opened whose log can't be read, and the wait after the first try; it doubles.
const OPENS_MAX: u32 = 6;
const OPEN_PAUSE: Duration = Duration::from_millis(200);

/// What feeds tables.
pub(crate) struct Feeds<'a> {
    pub plans: &'a BTreeMap<FunctionName, Arc<FunctionPlan>>,
    pub functions: &'a Functions,
    pub crawls: &'a OpenCrawls,
    pub streams: &'a BTreeMap<StreamName, Arc<OpenStream>>,
    pub lookups: &'a LookupSet,
}

#[cfg(test)]
impl Feeds<'_> {
    /// Returns a stream that has the name of a crawl's: what its calls would bring is appended by the test.
    fn stream_of(&self, source: &TableSource) -> Option<(Arc<OpenStream>, Vec<u8>)> {
        let TableSource::Crawl { crawl, resource } = source else { return None };
        Some((self.streams.get(&StreamName::of_crawl(crawl))?.clone(), resource.clone().into_bytes()))
    }
}

impl Planned {
    /// Finds what feeds a table of the plan; `redrive` is where records are that it is given once more.
    pub fn of_plan(plan: TablePlan, redrive: Arc<Stream>, feeds: &Feeds<'_>) -> Result<Self, StartError> {
        let known = "the plan was checked: its references lead somewhere";
        let mut columns = plan.columns;
        let mut function: Option<Arc<dyn Function>> = None;
        let mut passed = None;
        let mut only = None;
        let mut replayed = None;
        let stream = match &plan.source {
            TableSource::Stream(name) => feeds.streams.get(name).expect(known).clone(),
            TableSource::Crawl { crawl, .. } => {
                let opened = feeds.crawls.get(crawl).and_then(|crawl| crawl.output_of(&plan.name));
                #[cfg(test)]
                let opened = opened.or_else(|| feeds.stream_of(&plan.source));
                let (stream, key) = opened.expect(known);
                only = Some(key);
                stream
            }
            TableSource::Rollup(_) => unreachable!("rollups are opened after their sources, by `crate::rollup`"),
            TableSource::Function { function: name, output } => {
                let planned = feeds.plans.get(name);
                let sql =
                    planned.and_then(|plan| plan.outputs.iter().find(|known| known.name == *output)?.sql.as_deref());
                match sql {
                    Some(sql) => {
                        let stream = plan.stream.as_ref().expect("the plan was checked: SQL is on a stream");
                        let stream = feeds.streams.get(stream).expect(known).clone();
                        let input =
                            arrow_schema(&stream.schema).expect("the plan was checked: its schemas have columns");
                        let planned = SqlFunction::plan(sql, input, feeds.lookups.columns())
                            .map_err(|source| StartError::Function { function: name.to_string(), source })?;
                        columns = planned.output();
                        passed = Some(planned.passed().clone());
                        function = Some(Arc::new(planned));
                        stream
                    }
                    None => {
                        let (stream, key) =
                            feeds.functions.get(name).and_then(|function| function.output_of(&plan.name)).expect(known);
                        replayed =
                            feeds.functions.get(name).and_then(|function| Some(function.replay.as_ref()?.made.clone()));
                        only = Some(key);
                        stream
                    }
                }
            }
        };
        let mut sources: Vec<SourceShard> = shards_of(&stream.stream, only.clone()).collect();
        let replayed = replayed.iter().flat_map(|made| shards_of(made, only.clone()));
        sources.extend(replayed.map(|source| SourceShard { on_repeat: OnRepeat::Replace, ..source }));
        sources.extend(shards_of(&redrive, None));
        let rule = |rule| match rule {
            weir_config::Rule::Keep => Rule::Keep,
            weir_config::Rule::DeadLetter => Rule::DeadLetter,
        };
        let mut spec = Spec::new(plan.name, columns);
        spec.partition_by = partition_by(&plan.partition_by);
        spec.buckets = plan.buckets;
        spec.unique_by = plan.unique_by;
        spec.lookback = plan.lookback;
        spec.late = rule(plan.late);
        spec.timeless = rule(plan.timeless);
        spec.freshness = plan.freshness;
        spec.commit_bytes = COMMIT_BYTES;
        spec.buffer_bytes_max = BUFFER_BYTES_MAX;
        spec.evolution = evolution(&stream.schema, passed.as_ref(), plan.evolve);
        compaction(&mut spec, plan.compaction);
        if let Some(size) = plan.target_file_size {
            spec.target_file_bytes = size.0;
        }
        let whole = match plan.visible {
            Visible::AtOnce => None,
            Visible::Complete => Some(Whole::Added),
            Visible::Instead => Some(Whole::Instead(match plan.if_empty {
                weir_config::IfEmpty::Keep => IfEmpty::Keep,
                weir_config::IfEmpty::Replace => IfEmpty::Replace,
            })),
        };
        Ok(Self { spec, location: plan.location, stream, sources, function, whole })
    }

    /// The table of dead letters.
    pub fn of_dead_letters(stream: Arc<OpenStream>) -> Self {
        let columns =
            arrow_schema(&stream.schema).expect("the schema of dead letters is part of the program, and tested");
        let name = DEAD_LETTERS.parse().expect("the name follows the rule");
        let spec = Spec { unique_by: vec!["id".to_owned()], ..Spec::new(name, columns) };
        let sources = shards_of(&stream.stream, None).collect();
        Self { spec, location: None, stream, sources, function: None, whole: None }
    }

    /// The table of what became of them.
    pub fn of_actions(stream: Arc<OpenStream>) -> Result<Self, StartError> {
        let input = arrow_schema(&stream.schema).expect("the schema of actions is part of the program, and tested");
        let function = SqlFunction::plan(ACTIONS_SQL, input, &BTreeMap::new())
            .map_err(|source| StartError::Function { function: ACTIONS.to_owned(), source })?;
        let name = ACTIONS.parse().expect("the name follows the rule");
        let spec = Spec { unique_by: vec!["id".to_owned()], ..Spec::new(name, function.output()) };
        let sources = shards_of(&stream.stream, None).collect();
        Ok(Self { spec, location: None, stream, sources, function: Some(Arc::new(function)), whole: None })
    }

    /// Opens the table itself, and makes it if it is new.
    pub async fn open(
        &self,
        folder: &Folder,
        env: &Env,
        witness: Arc<dyn Witness>,
    ) -> Result<(Table, Arc<dyn ObjectStore>), StartError> {
        open(&self.spec, self.location.as_ref(), folder, env, witness).await
    }
}

/// Opens the table in which a run's rows are gathered for another one.
pub(crate) async fn open_aside(
    table: &Table,
    whole: Whole,
    witness: Arc<dyn Witness>,
) -> Result<Arc<Table>, StartError> {
    let mut spec = Spec { name: TableName::of_run(&table.spec().name), ..table.spec().clone() };
    if let Whole::Instead(_) = whole {
        // All rows are of one run: none of them is late.
        (spec.lookback, spec.late) = (None, Rule::Keep);
    }
    let mut pause = OPEN_PAUSE;
    for tried in 1.. {
        match table.open_aside(spec.clone(), Some(witness.clone())).await {
            Ok(aside) => return Ok(aside),
            Err(error @ (OpenError::Log { .. } | OpenError::Note { .. })) if tried < OPENS_MAX => {
                tracing::warn!(table = %spec.name, error = chain(&error), tried, "a table could not be opened, and is tried again");
            }
            Err(error) => return Err(error.into()),
        }
        table.env().sleep(table.env().jitter(pause)).await;
        pause *= 2;
    }
    unreachable!("the last try returns")
}

/// Refuses a table that took whole runs, and is to take rows as they come: how far it is of its crawl would not be known.
pub(crate) async fn refuse_aside(table: &Table) -> Result<(), StartError> {
    let name = || table.spec().name.clone();
    match table.has_aside().await {
        Ok(false) => Ok(()),
        Ok(true) => Err(StartError::TookWholeRuns { table: name() }),
        Err(source) => Err(StartError::Look { table: name(), source }),
    }
}

/// Returns how a table of the plan is partitioned.
pub(crate) fn partition_by(plan: &weir_config::PartitionBy) -> PartitionBy {
    match plan.clone() {
        weir_config::PartitionBy::None => PartitionBy::None,
        weir_config::PartitionBy::Day(column) => PartitionBy::Day(column),
        weir_config::PartitionBy::Hour(column) => PartitionBy::Hour(column),
    }
}

/// Says how a table is compacted.
pub(crate) fn compaction(spec: &mut Spec, plan: CompactionPlan) {
    spec.compact_every = plan.every;
    spec.sort_by = plan.sort_by;
    spec.keep = match plan.keep {
        weir_config::Keep::First => Keep::First,
        weir_config::Keep::Last => Keep::Last,
    };
}

/// Opens a table at a location, or else in the data folder, and makes it if it is new.
pub(crate) async fn open(
    spec: &Spec,
    location: Option<&Url>,
    folder: &Folder,
    env: &Env,
    witness: Arc<dyn Witness>,
) -> Result<(Table, Arc<dyn ObjectStore>), StartError> {
    let (store, root): (Arc<dyn ObjectStore>, Url) = match location {
        Some(location) if location.scheme() != "file" => {
            let (store, _) = object_store::parse_url_opts(location, std::env::vars()).map_err(|source| {
                StartError::Location { table: spec.name.clone(), location: location.clone(), source }
            })?;
            (Arc::from(store), location.clone())
        }
        location => {
            let path = match location {
                Some(location) => std::path::PathBuf::from(location.path()),
                None => folder.table(spec.name.as_str()),
            };
            std::fs::create_dir_all(&path).map_err(|source| FolderError::Io {
                action: "make folder",
                path: path.clone(),
                source,
            })?;
            let root = Url::from_directory_path(&path).expect("the data folder's path is absolute");
            (Arc::new(LocalStore::new()), root)
        }
    };
    let spec = Spec { scratch: Some(folder.spill()), ..spec.clone() };
    let mut pause = OPEN_PAUSE;
    for tried in 1.. {
        match Table::open_witnessed(spec.clone(), store.clone(), root.clone(), env.clone(), witness.clone()).await {
            Ok(table) => return Ok((table, store)),
            // A store that refuses once must not keep a node from starting.
            Err(error @ (OpenError::Log { .. } | OpenError::Note { .. })) if tried < OPENS_MAX => {
                tracing::warn!(table = %spec.name, error = chain(&error), tried, "a table could not be opened, and is tried again");
            }
            Err(error) => return Err(error.into()),
        }
        env.sleep(env.jitter(pause)).await;
        pause *= 2;
    }
    unreachable!("the last try returns")
}
