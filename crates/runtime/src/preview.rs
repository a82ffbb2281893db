//! What a plan would change in a data folder that is there: for looking before a deploy. Nothing is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::path::Path as ObjectPath;
use weir_config::{FilesContent, FunctionPlan, On, Plan, StreamPlan, TablePlan, TableSource, To};
use weir_env::Env;
use weir_function::SqlFunction;
use weir_log::local::Options as LogOptions;
use weir_log::{Engine, EngineError, LocalEngine};
use weir_machine::{Owner, Snapshots};
use weir_schema::{Incompatibility, Registry, Schema, arrow_schema};
use weir_table::{ColumnChange, OpenError, Table};
use weir_types::{LookupName, StreamName, SubjectName, TableName};

use crate::folder::Folder;
use crate::node::{StartError, machine};
use crate::pipeline::chain;
use crate::tables;

/// What becomes of a stream's schema.
#[derive(Debug, Clone)]
pub struct StreamPreview {
    /// The stream.
    pub stream: StreamName,
    /// The last version that is registered, and what the next one would be.
    pub version: u32,
    /// What keeps it from following, each with who uses the field, by kind and name.
    pub refused: Vec<(Incompatibility, Vec<String>)>,
}

/// What becomes of a table's columns.
#[derive(Debug, Clone)]
pub struct TablePreview {
    /// The table.
    pub table: TableName,
    /// What changes; none if nothing does.
    pub changes: Vec<ColumnChange>,
    /// Files that would be written anew.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why it would be refused, if it would.
    pub refused: Option<String>,
}

/// Compares the plan's schemas with those that are registered in a data folder. Streams whose schema is the last one that
/// is registered are left out.
///
/// # Errors
/// If the folder can't be read: a server that runs has it to itself.
pub async fn preview_streams(plan: &Plan, data: &Path, env: &Env) -> Result<Vec<StreamPreview>, StartError> {
    let folder = Folder::open(data)?;
    let engine = LocalEngine::open(&folder.log(), LogOptions::default(), env.clone())?;
    let snapshots = Snapshots::new(folder.snapshot_store()?, ObjectPath::default());
    let registry: Owner<Registry> = machine(&engine, &snapshots, env).await?;
    let found = streams(plan)
        .filter_map(|stream| {
            let subject: SubjectName = format!("{}-value", stream.name).parse().ok()?;
            registry.read(|registry| {
                let last = registry.latest(&subject)?;
                if last.schema.to_json() == stream.schema.to_json() {
                    return None;
                }
                let level = stream.compatibility.unwrap_or_else(|| registry.compatibility(&subject));
                let versions: Vec<Schema> =
                    registry.versions(&subject).into_iter().map(|version| version.schema).collect();
                let refused = weir_schema::compatibility::check(&stream.schema, &versions, level);
                Some(of_stream(plan, stream, last.version, refused))
            })
        })
        .collect();
    drop(registry);
    engine.close().await?;
    Ok(found)
}

/// Tells whether preview failed because a server has the folder.
pub fn is_in_use(error: &StartError) -> bool {
    matches!(error, StartError::Log(EngineError::InUse { .. }))
}

/// Compares one stream's schema with versions that are known otherwise, oldest first.
pub fn preview_stream(plan: &Plan, stream: &StreamPlan, version: u32, versions: &[Schema]) -> StreamPreview {
    let level = stream.compatibility.unwrap_or_default();
    let refused = weir_schema::compatibility::check(&stream.schema, versions, level);
    of_stream(plan, stream, version, refused)
}

fn of_stream(plan: &Plan, stream: &StreamPlan, version: u32, refused: Vec<Incompatibility>) -> StreamPreview {
    let refused = refused.into_iter().map(|reason| {
        let field = reason.path.split(['.', '[']).next().unwrap_or_default().to_owned();
        (reason, users(plan, &stream.name, &field))
    });
    StreamPreview { stream: stream.name.clone(), version, refused: refused.collect() }
}

fn streams(plan: &Plan) -> impl Iterator<Item = &StreamPlan> {
    let of_files = plan.files.values().filter_map(|files| match &files.content {
        FilesContent::Records { stream, .. } => Some(stream.as_ref()),
        FilesContent::Reference => None,
    });
    plan.streams.values().chain(of_files)
}

/// Names who uses a field of a stream: who reads it, and who writes to it.
fn users(plan: &Plan, stream: &StreamName, field: &str) -> Vec<String> {
    let mut users = Vec::new();
    for function in plan.functions.values() {
        let on = matches!(&function.on, On::Stream { stream: on, .. } if on == stream);
        // A handler is given the whole record.
        let reads =
            on && function.outputs.iter().all(|output| output.sql.as_deref().is_none_or(|sql| names(sql, field)));
        let writes = function.outputs.iter().any(|output| matches!(&output.to, To::Stream(to) if to == stream));
        if reads || writes {
            users.push(format!("function \"{}\"", function.name));
        }
    }
    for table in plan.tables.values() {
        let direct = matches!(&table.source, TableSource::Stream(from) if from == stream);
        let named = table.unique_by.iter().any(|column| column == field) || table.event_time.as_deref() == Some(field);
        if direct || (table.stream.as_ref() == Some(stream) && named) {
            users.push(format!("table \"{}\"", table.name));
        }
    }
    users
}

/// Whether SQL has a word, or takes everything.
fn names(sql: &str, field: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    sql.contains('*') || sql.split(|letter| !is_word(letter)).any(|word| word.eq_ignore_ascii_case(field))
}

/// Compares the plan's tables with those that are there. Tables that don't change are left out, and so are rollups, whose
/// columns follow their sources'.
pub async fn preview_tables(plan: &Plan, data: &Path, env: &Env) -> Vec<TablePreview> {
    let mut found = Vec::new();
    for table in plan.tables.values() {
        match preview_table(plan, table, data, env).await {
            Ok(None) => {}
            Ok(Some(preview)) => found.push(preview),
            Err(error) => found.push(TablePreview {
                table: table.name.clone(),
                changes: Vec::new(),
                files: 0,
                bytes: 0,
                refused: Some(error),
            }),
        }
    }
    found
}

async fn preview_table(plan: &Plan, table: &TablePlan, data: &Path, env: &Env) -> Result<Option<TablePreview>, String> {
    let Some((schema, passed)) = source_of(plan, table)? else { return Ok(None) };
    let mut spec = weir_table::Spec::new(table.name.clone(), table.columns.clone());
    spec.partition_by = tables::partition_by(&table.partition_by);
    spec.buckets = table.buckets;
    spec.unique_by = table.unique_by.clone();
    spec.evolution = tables::evolution(&schema, passed.as_ref(), table.evolve);
    let (store, root) = match &table.location {
        Some(location) if location.scheme() != "file" => {
            let (store, _) = object_store::parse_url_opts(location, std::env::vars()).map_err(|error| chain(&error))?;
            (Arc::<dyn object_store::ObjectStore>::from(store), location.clone())
        }
        location => {
            let path = match location {
                Some(location) => std::path::PathBuf::from(location.path()),
                None => data.join("tables").join(table.name.as_str()),
            };
            let Ok(path) = path.canonicalize() else { return Ok(None) };
            let root = url::Url::from_directory_path(&path).map_err(|()| format!("{} is no folder", path.display()))?;
            (Arc::new(weir_table::LocalStore::new()) as Arc<dyn object_store::ObjectStore>, root)
        }
    };
    let preview = match Table::preview(&spec, store, root, env.clone()).await {
        Ok(None) => return Ok(None),
        Ok(Some(preview)) if preview.changes.is_empty() => return Ok(None),
        Ok(Some(preview)) => preview,
        Err(
            error @ (OpenError::Grow(_) | OpenError::Fixed { .. } | OpenError::Foreign { .. } | OpenError::Spec(_)),
        ) => {
            return Err(chain(&error));
        }
        Err(error) => return Err(format!("it can't be looked at: {}", chain(&error))),
    };
    let rewrites = preview.changes.iter().any(ColumnChange::rewrites);
    Ok(Some(TablePreview {
        table: table.name.clone(),
        files: if rewrites { preview.files } else { 0 },
        bytes: if rewrites { preview.bytes } else { 0 },
        changes: preview.changes,
        refused: None,
    }))
}

/// What a table's rows are made of: a schema, and the columns that SQL passes on.
type Source = (Schema, Option<BTreeMap<String, String>>);

fn source_of(plan: &Plan, table: &TablePlan) -> Result<Option<Source>, String> {
    let schema_of = |name: &StreamName| streams(plan).find(|stream| stream.name == *name).map(|stream| &stream.schema);
    match &table.source {
        TableSource::Rollup(_) | TableSource::Crawl { .. } => Ok(None),
        TableSource::Stream(name) => Ok(schema_of(name).map(|schema| (schema.clone(), None))),
        TableSource::Function { function, output } => {
            let function: Option<&FunctionPlan> = plan.functions.get(function);
            let Some(output) = function.and_then(|plan| plan.outputs.iter().find(|known| known.name == *output)) else {
                return Ok(None);
            };
            let Some(sql) = &output.sql else { return Ok(output.schema.clone().map(|schema| (schema, None))) };
            let Some(schema) = table.stream.as_ref().and_then(schema_of) else { return Ok(None) };
            let input = arrow_schema(schema).map_err(|error| error.to_string())?;
            let lookups: BTreeMap<LookupName, _> =
                plan.lookups.iter().map(|(name, lookup)| (name.clone(), lookup.columns.clone())).collect();
            let planned = SqlFunction::plan(sql, input, &lookups).map_err(|error| error.to_string())?;
            Ok(Some((schema.clone(), Some(planned.passed().clone()))))
        }
    }
}
