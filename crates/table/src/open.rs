//! Opening a table: finding or making it, and checking that it is the one that the settings describe.
//!
//! What can't change is stored in the table's Delta configuration when it is made, under `weir.`: the format's version,
//! the key of its ids, the columns of the ids, the partitioning and the number of buckets.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use arrow::datatypes::Schema;
use delta_kernel::KernelError;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;
use weir_env::Env;

use crate::buffer::Buffer;
use crate::columns;
use crate::error::OpenError;
use crate::evolution::Reshaping;
use crate::id::Hasher;
use crate::local;
use crate::log::{self, Contents, Log};
use crate::place::Layout;
use crate::reshape;
use crate::spec::{PartitionBy, Spec};
use crate::table::{Files, Opened, Role, State, Table, Writing};
use crate::witness::Witness;

/// The version of what this module stores, of ids, and of filters.
const FORMAT: &str = "1";
const FORMAT_KEY: &str = "weir.format";
const ID_KEY: &str = "weir.id.key";
const UNIQUE_BY: &str = "weir.id.columns";
const PARTITION_BY: &str = "weir.partition_by";
const BUCKETS: &str = "weir.buckets";

/// The key of the ids of a table that is made.
#[derive(Clone, Copy)]
pub(crate) enum NewKey {
    Random,
    /// Another table's: ids of both are the same.
    Of([u8; 16]),
}

impl Table {
    /// Opens a table, and makes it at once if it is new, so that readers find it before its first row.
    ///
    /// `root` is the table's folder; its path, without the leading `/`, is the path in `store`: the absolute path of a
    /// `file:///` URL with [`LocalStore::new`](crate::LocalStore::new), the key's prefix with a bucket's store. `store`
    /// must make what it acknowledges durable, and support put-if-absent; for local folders that is
    /// [`LocalStore`](crate::LocalStore).
    ///
    /// New columns of `spec` are added to the table's schema; columns of the table that `spec` has not are kept.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(spec: Spec, store: Arc<dyn ObjectStore>, root: Url, env: Env) -> Result<Self, OpenError> {
        Self::open_with(spec, store, root, env, None, NewKey::Random).await
    }

    /// Opens a table whose commits of rows are told to a witness before they become durable: see [`Witness`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_witnessed(
        spec: Spec,
        store: Arc<dyn ObjectStore>,
        root: Url,
        env: Env,
        witness: Arc<dyn Witness>,
    ) -> Result<Self, OpenError> {
        Self::open_with(spec, store, root, env, Some(witness), NewKey::Random).await
    }

    /// Says what opening a table with these settings would change; none if there is no table. Nothing is changed, and it may
    /// be open elsewhere.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn preview(
        spec: &Spec,
        store: Arc<dyn ObjectStore>,
        root: Url,
        env: Env,
    ) -> Result<Option<Reshaping>, OpenError> {
        spec.validate()?;
        let (root, folder) = folder_of(spec, root)?;
        let log = Log::new(store, root.clone(), folder, env);
        let failed =
            |source| OpenError::Log { table: spec.name.clone(), root: root.to_string(), source: Box::new(source) };
        let Some(snapshot) = log.load().await.map_err(failed)? else { return Ok(None) };
        let stored = Log::columns(&snapshot).map_err(failed)?;
        check(spec, &root, &snapshot.table_properties().unknown_properties, &stored)?;
        let layout = Layout::of(&spec.partition_by, spec.buckets);
        let contents = log.contents(snapshot, layout, None).await.map_err(|source| unfit(spec, &root, source))?;
        let plan = reshape::judge(spec, &stored)?;
        Ok(Some(Reshaping {
            changes: plan.changes,
            files: contents.files.len() as u64,
            bytes: contents.files.iter().map(|file| file.size).sum(),
            done: 0,
        }))
    }

    pub(crate) async fn open_with(
        spec: Spec,
        store: Arc<dyn ObjectStore>,
        root: Url,
        env: Env,
        witness: Option<Arc<dyn Witness>>,
        new_key: NewKey,
    ) -> Result<Self, OpenError> {
        spec.validate()?;
        let (root, folder) = folder_of(&spec, root)?;
        make_local(&spec, &root).await?;
        let layout = Layout::of(&spec.partition_by, spec.buckets);
        let log = Log::new(store.clone(), root.clone(), folder.clone(), env.clone());
        let failed =
            |source| OpenError::Log { table: spec.name.clone(), root: root.to_string(), source: Box::new(source) };
        let snapshot = match log.load().await.map_err(failed)? {
            Some(snapshot) => snapshot,
            None => {
                let columns = columns::stored_schema(&spec.name, &spec.columns)?;
                let key = match new_key {
                    NewKey::Random => (u128::from(env.random()) << 64) | u128::from(env.random()),
                    NewKey::Of(key) => u128::from_be_bytes(key),
                };
                log.create(&columns, layout, properties(&spec, key)).await.map_err(failed)?
            }
        };
        let found = snapshot.table_properties().unknown_properties.clone();
        let stored = Log::columns(&snapshot).map_err(failed)?;
        let key = check(&spec, &root, &found, &stored)?;
        let contents = log.contents(snapshot.clone(), layout, spec.partition_by.column().map(str::to_owned)).await;
        let contents = contents.map_err(|source| unfit(&spec, &root, source))?;
        if !log::has_layout(&contents.partition_columns, layout) {
            return Err(OpenError::Fixed {
                table: spec.name.clone(),
                setting: "partition_by",
                has: log::describe_partitioning(&contents.partition_columns),
                wants: partitioning(&spec.partition_by),
            });
        }
        let role = match new_key {
            NewKey::Random => Role::Own,
            NewKey::Of(_) => Role::Aside,
        };
        let hasher = Hasher::new(key);
        let scheme = scheme(&hasher, &spec).map_err(|source| failed(source.into()))?;
        let Contents { version, columns, files, positions, commits, changed, seen, .. } = contents;
        let foreign = BTreeSet::new();
        let writing = Writing { snapshot, commits, written: None, in_flight: None, foreign, since_checkpoint: 0 };
        let state = State {
            version,
            columns,
            files: Files::new(files),
            commits,
            changed: Arc::new(changed),
            committed: positions.clone(),
            positions,
            sealed: None,
            open: Buffer::default(),
            fenced: None,
            waiting: None,
        };
        let wants = spec.columns.clone();
        let table = Self::assemble(Opened {
            spec,
            layout,
            hasher,
            id_key: key,
            role,
            scheme,
            log,
            store,
            folder,
            env,
            witness,
            writing,
            state,
        });
        if !table.plan_reshape()? {
            table.grow(wants).await?;
        }
        table.note_foreign_since(seen).await.map_err(|error| table.not_open(error))?;
        Ok(table)
    }
}

/// Returns the root with a slash at its end, and where in the store it is.
fn folder_of(spec: &Spec, mut root: Url) -> Result<(Url, Path), OpenError> {
    let refuse =
        |root: &Url, reason: String| OpenError::Root { table: spec.name.clone(), root: root.to_string(), reason };
    if root.cannot_be_a_base() {
        return Err(refuse(&root, "it is no folder: write it like `file:///data/tables/clicks`".to_owned()));
    }
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", root.path()));
    }
    let folder = Path::from_url_path(root.path()).map_err(|error| refuse(&root, error.to_string()))?;
    if folder.parts_count() == 0 {
        return Err(refuse(&root, "a table needs a folder of its own".to_owned()));
    }
    Ok((root, folder))
}

/// Makes the folder of a `file` URL: the kernel wants to find it.
async fn make_local(spec: &Spec, root: &Url) -> Result<(), OpenError> {
    let Some(path) = (root.scheme() == "file").then(|| root.to_file_path().ok()).flatten() else { return Ok(()) };
    let made = tokio::task::spawn_blocking(move || local::make_folder(&path)).await;
    made.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|source| OpenError::Folder {
        table: spec.name.clone(),
        root: root.to_string(),
        source,
    })
}

fn properties(spec: &Spec, key: u128) -> Vec<(&'static str, String)> {
    let own = [(FORMAT_KEY, FORMAT.to_owned()), (ID_KEY, format!("{key:032x}"))];
    own.into_iter().chain(fixed_properties(spec)).collect()
}

/// What can't change, but that its columns may get other names.
pub(crate) fn fixed_properties(spec: &Spec) -> Vec<(&'static str, String)> {
    vec![
        (UNIQUE_BY, unique_by(spec)),
        (PARTITION_BY, partitioning(&spec.partition_by)),
        (BUCKETS, spec.buckets.to_string()),
    ]
}

fn unique_by(spec: &Spec) -> String {
    serde_json::Value::from(spec.unique_by.clone()).to_string()
}

fn partitioning(partition_by: &PartitionBy) -> String {
    match partition_by {
        PartitionBy::None => "none".to_owned(),
        PartitionBy::Day(column) => format!("day({column})"),
        PartitionBy::Hour(column) => format!("hour({column})"),
    }
}

/// Checks what was fixed when the table was made, and returns the key of its ids.
fn check(spec: &Spec, root: &Url, found: &HashMap<String, String>, stored: &Schema) -> Result<[u8; 16], OpenError> {
    let foreign = |reason: String| OpenError::Foreign { table: spec.name.clone(), root: root.to_string(), reason };
    let value = |key: &str| {
        found.get(key).ok_or_else(|| {
            foreign(format!(
                "its configuration has no `{key}`, so weir did not make it; copy its rows into a new table"
            ))
        })
    };
    let format = value(FORMAT_KEY)?;
    if format != FORMAT {
        return Err(foreign(format!(
            "it has format {format}, and this weir knows {FORMAT}: use the weir that made it, or a newer one"
        )));
    }
    // Columns may have got other names since.
    let before = Spec {
        unique_by: spec.unique_by.iter().map(|column| stored_name(spec, stored, column)).collect(),
        partition_by: match &spec.partition_by {
            PartitionBy::None => PartitionBy::None,
            PartitionBy::Day(column) => PartitionBy::Day(stored_name(spec, stored, column)),
            PartitionBy::Hour(column) => PartitionBy::Hour(stored_name(spec, stored, column)),
        },
        ..spec.clone()
    };
    let wanted = [
        ("unique_by", UNIQUE_BY, unique_by(spec), unique_by(&before)),
        ("partition_by", PARTITION_BY, partitioning(&spec.partition_by), partitioning(&before.partition_by)),
        ("buckets", BUCKETS, spec.buckets.to_string(), spec.buckets.to_string()),
    ];
    for (setting, key, wants, before) in wanted {
        let has = value(key)?;
        if *has != wants && *has != before {
            return Err(OpenError::Fixed { table: spec.name.clone(), setting, has: has.clone(), wants });
        }
    }
    let key = value(ID_KEY)?;
    let key = u128::from_str_radix(key, 16).map_err(|_| foreign(format!("its `{ID_KEY}` is no hexadecimal number")))?;
    Ok(key.to_be_bytes())
}

/// Returns the name under which a column is stored so far.
fn stored_name(spec: &Spec, stored: &Schema, column: &str) -> String {
    let is_there = |name: &str| stored.field_with_name(name).is_ok();
    let old = spec.evolution.renamed.get([column.to_owned()].as_slice()).into_iter().flatten();
    let found = std::iter::once(column).chain(old.map(String::as_str)).find(|name| is_there(name));
    found.unwrap_or(column).to_owned()
}

/// Names the columns, and the key by a hash that doesn't give it away.
fn scheme(hasher: &Hasher, spec: &Spec) -> Result<String, arrow::error::ArrowError> {
    let probe: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["weir"]));
    let fingerprint = hasher.ids(&[probe])?.first().copied().unwrap_or_default() as u64;
    Ok(format!("{FORMAT} {fingerprint:016x} {}", unique_by(spec)))
}

/// Tells a table that can't be weir's from one that can't be read.
fn unfit(spec: &Spec, root: &Url, source: KernelError) -> OpenError {
    match source {
        KernelError::Unsupported(reason) => {
            OpenError::Foreign { table: spec.name.clone(), root: root.to_string(), reason }
        }
        source => OpenError::Log { table: spec.name.clone(), root: root.to_string(), source: Box::new(source) },
    }
}
