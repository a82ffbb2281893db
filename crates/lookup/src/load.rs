//! One reading of a lookup, from the source to rows in memory.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use weir_env::Env;

use crate::conform::conform;
use crate::csv::{CsvError, Texts};
use crate::database::Engine;
use crate::digest::Digest;
use crate::error::LoadError;
use crate::files::{Files, Format, Listing, Stamp, unpack};
use crate::rows::{bytes_of, check_names, schema};
use crate::source::{Limits, Query, Source, Spec};
use crate::{key, mysql, ndjson, parquet, postgres};

/// The whole of a lookup's source at one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The rows: one batch at least, all with one schema.
    pub batches: Arc<Vec<RecordBatch>>,
    /// Their columns.
    pub columns: SchemaRef,
    /// How many rows there are.
    pub rows: u64,
    /// What they take in memory.
    pub bytes: u64,
    /// What tells these rows from others, whatever their order.
    pub digest: Digest,
    /// What tells the files' state from others; none: a database, or files too young to be sure.
    pub stamp: Option<Stamp>,
    /// Columns of the source that were not wanted.
    pub left_out: Vec<String>,
}

/// Reads a lookup. The columns are those that are `wanted`, by name and in this order; or else those that the spec says, or
/// else all of the source.
///
/// Dropping the future ends the reading, and has no other effect; what runs on a thread of its own goes on to its end, and is
/// forgotten.
///
/// # Errors
/// See [`LoadError`].
pub async fn load(spec: &Spec, wanted: Option<&SchemaRef>, env: &Env) -> Result<Loaded, LoadError> {
    let wanted = wanted.or(spec.columns.as_ref());
    let work = async {
        match &spec.source {
            Source::Files(files) => of_files(spec, files, wanted, env).await,
            Source::Query(query) => {
                let rows = fetch(query, spec).await?;
                finish(spec, wanted, None, move || rows.finish()).await
            }
        }
    };
    within(spec, env, work.boxed()).await
}

/// Tells whether the source is still as it was when it was stamped. A database can't tell.
///
/// # Errors
/// If the store does not answer.
pub async fn unchanged(spec: &Spec, stamp: Stamp, env: &Env) -> Result<bool, LoadError> {
    match &spec.source {
        Source::Files(files) => {
            let work = async { Ok(Listing::of(files).await?.stamp(env.now()) == Some(stamp)) };
            within(spec, env, work.boxed()).await
        }
        Source::Query(_) => Ok(false),
    }
}

/// Returns the columns of a lookup: those that the spec says, without asking; or else of the source. A database is asked
/// for them without running the query; files are read.
///
/// # Errors
/// See [`LoadError`].
pub async fn columns(spec: &Spec, env: &Env) -> Result<SchemaRef, LoadError> {
    let query = match (&spec.source, &spec.columns) {
        (Source::Query(_), Some(columns)) => return Ok(columns.clone()),
        (Source::Query(query), None) => query,
        (Source::Files(_), _) => return load(spec, None, env).await.map(|loaded| loaded.columns),
    };
    let work = async {
        let place = spec.place();
        let found = match query.database.engine() {
            Engine::Postgres => postgres::columns(query, spec.limits).await,
            Engine::MySql => mysql::columns(query, spec.limits).await,
        };
        schema(&place, &found.map_err(|source| LoadError::Database { place: place.clone(), source })?)
    };
    within(spec, env, work.boxed()).await
}

/// Like [`columns`], for callers that are not async. It may be called from anywhere: the work is done on a thread of its
/// own, by the system's clock.
///
/// # Errors
/// See [`LoadError`].
pub fn columns_blocking(spec: &Spec) -> Result<SchemaRef, LoadError> {
    let env = Env::system();
    blocking(spec, || columns(spec, &env))
}

/// Runs async work to its end on a thread and a runtime of its own.
pub(crate) fn blocking<T: Send, F: Future<Output = Result<T, LoadError>>>(
    spec: &Spec,
    work: impl FnOnce() -> F + Send,
) -> Result<T, LoadError> {
    let place = || spec.place();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|source| LoadError::Read { place: place(), source })?;
            runtime.block_on(work())
        });
        thread.join().unwrap_or_else(|_| Err(LoadError::CutOff { place: place() }))
    })
}

/// A boxed future, so that what it borrows is known to whoever moves it between threads.
async fn within<T>(spec: &Spec, env: &Env, work: BoxFuture<'_, Result<T, LoadError>>) -> Result<T, LoadError> {
    let timeout = spec.limits.timeout;
    match env.within(timeout, work).await {
        Some(done) => done,
        None => Err(LoadError::Timeout { place: spec.place(), timeout }),
    }
}

async fn fetch(query: &Query, spec: &Spec) -> Result<crate::rows::Rows, LoadError> {
    let place = spec.place();
    match query.database.engine() {
        Engine::Postgres => postgres::fetch(query, &place, spec.limits).await,
        Engine::MySql => mysql::fetch(query, &place, spec.limits).await,
    }
}

async fn of_files(spec: &Spec, files: &Files, wanted: Option<&SchemaRef>, env: &Env) -> Result<Loaded, LoadError> {
    let listing = Listing::of(files).await?;
    let format = format_of(files, &listing)?;
    let stamp = listing.stamp(env.now());
    let limits = spec.limits;
    let mut contents = Vec::new();
    let mut left = limits.bytes_max;
    for found in &listing.found {
        let bytes = listing.read(found, left).await?;
        left -= bytes.len() as u64;
        contents.push((found.place.clone(), bytes));
    }
    let (place, null_text) = (spec.place(), files.null_text.clone());
    let types = wanted.cloned();
    let read = move || match format {
        Format::Parquet => parquet::read(&contents, limits),
        Format::Csv => csv(contents, null_text.as_deref(), types.as_deref(), limits),
        Format::Ndjson => ndjson::read(&unpacked(contents, limits)?, &place, limits),
    };
    finish(spec, wanted, stamp, read).await
}

/// Tells the format, which all files share.
fn format_of(files: &Files, listing: &Listing) -> Result<Format, LoadError> {
    let mut format = files.format;
    for found in listing.found.iter().filter(|_| files.format.is_none()) {
        let own = Format::of_name(&found.place).ok_or_else(|| LoadError::Format { place: found.place.clone() })?;
        if format.is_some_and(|format| format != own) {
            let difference = format!("it is in another format, {}", own.name());
            return Err(LoadError::Differs { place: found.place.clone(), difference });
        }
        format = Some(own);
    }
    format.ok_or_else(|| LoadError::NoFiles { place: files.to_string() })
}

fn unpacked(contents: Vec<(String, Bytes)>, limits: Limits) -> Result<Vec<(String, Bytes)>, LoadError> {
    let mut left = limits.bytes_max;
    let unpacked = contents.into_iter().map(|(place, bytes)| {
        let bytes = unpack(&place, bytes, left)?;
        left -= bytes.len() as u64;
        Ok((place, bytes))
    });
    unpacked.collect()
}

fn csv(
    contents: Vec<(String, Bytes)>,
    null_text: Option<&str>,
    wanted: Option<&Schema>,
    limits: Limits,
) -> Result<Vec<RecordBatch>, LoadError> {
    let mut texts = Texts::default();
    let mut last = String::new();
    let mut left = limits.bytes_max;
    for (place, bytes) in contents {
        let bytes = unpack(&place, bytes, left)?;
        left -= bytes.len() as u64;
        texts.add(&bytes, null_text, limits.rows_max).map_err(|source| csv_error(&place, source))?;
        last = place;
    }
    Ok(vec![texts.finish(wanted).map_err(|source| csv_error(&last, source))?])
}

fn csv_error(place: &str, source: CsvError) -> LoadError {
    let place = place.to_owned();
    match source {
        CsvError::TooManyRows { rows_max } => LoadError::TooManyRows { place, rows_max },
        source => LoadError::Csv { place, source },
    }
}

/// Reads, brings into the wanted columns, checks and digests the rows, beside the async tasks.
async fn finish(
    spec: &Spec,
    wanted: Option<&SchemaRef>,
    stamp: Option<Stamp>,
    read: impl FnOnce() -> Result<Vec<RecordBatch>, LoadError> + Send + 'static,
) -> Result<Loaded, LoadError> {
    let (place, key, limits, wanted) = (spec.place(), spec.key.clone(), spec.limits, wanted.cloned());
    let work = move || {
        let batches = read()?;
        let (batches, left_out) = match &wanted {
            Some(wanted) => {
                let conformed = conform(&place, &batches, wanted)?;
                (conformed.batches, conformed.left_out)
            }
            None => (batches, Vec::new()),
        };
        let columns = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        check_names(&place, &columns)?;
        let bytes = bytes_of(&batches);
        if bytes > limits.bytes_max {
            return Err(LoadError::TooLarge { place, bytes_max: limits.bytes_max });
        }
        key::check(&place, &key, &batches)?;
        let digest =
            Digest::of_rows(&columns, &batches).map_err(|source| LoadError::Build { place: place.clone(), source })?;
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(Loaded { batches: Arc::new(batches), columns, rows, bytes, digest, stamp, left_out })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(loaded) => loaded,
        Err(_) => Err(LoadError::CutOff { place: spec.place() }),
    }
}
