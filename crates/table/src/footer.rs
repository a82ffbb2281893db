//! Footers of data files, as far as they are asked for again and again: kept by path, since a file never changes.

use std::sync::Arc;

use futures::TryStreamExt;
use parquet::file::metadata::ParquetMetaData;
use weir_types::Tally;

use crate::error::FileError;
use crate::file::DataFile;
use crate::filter;
use crate::reader::Reader;
use crate::statistics;
use crate::table::Table;
use crate::writer::CREATED_BY_WEIR;

/// Memory for footers: enough for some 200,000 files of a row group each.
pub(crate) const FOOTER_CACHE_BYTES: u64 = 32 << 20;
/// Bytes that an entry takes beside its row groups: path, cache, footer.
const ENTRY_BYTES: usize = 160;

/// What a file's footer says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Footer {
    pub(crate) rows: u64,
    /// The rows and the sum of their ids; none if the file doesn't say.
    pub(crate) tally: Option<Tally>,
    /// Whether weir wrote it, with ids like this table's.
    pub(crate) is_ours: bool,
    pub(crate) groups: Box<[Group]>,
}

/// A row group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) rows: u64,
    /// The ends of its event times in microseconds; none if they are not known.
    pub(crate) times: Option<(i64, i64)>,
}

impl Footer {
    fn of(metadata: &ParquetMetaData, table: &Table) -> Self {
        let file = metadata.file_metadata();
        let value = |key: &str| file.key_value_metadata()?.iter().find(|entry| entry.key == key)?.value.as_deref();
        let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
        let rows = count(file.num_rows());
        let has_ids = !table.spec.unique_by.is_empty();
        let is_scheme = !has_ids || value(filter::SCHEME_KEY).is_some_and(|scheme| scheme == table.scheme);
        let is_ours = is_scheme && file.created_by().is_some_and(|writer| writer.starts_with(CREATED_BY_WEIR));
        let sum = if has_ids {
            value(filter::SUM_KEY).filter(|_| is_ours).and_then(|sum| u128::from_str_radix(sum, 16).ok())
        } else {
            Some(0)
        };
        let columns = table.columns();
        let time = table.spec.partition_by.column().and_then(|name| columns.field_with_name(name).ok());
        let groups = metadata.row_groups().iter().map(|group| Group {
            rows: count(group.num_rows()),
            times: time.and_then(|field| statistics::times_of_group(field, group)),
        });
        Self { rows, tally: sum.map(|sum| Tally { count: rows, sum }), is_ours, groups: groups.collect() }
    }

    fn memory(&self, path: &str) -> u64 {
        (ENTRY_BYTES + path.len() * 2 + self.groups.len() * size_of::<Group>()) as u64
    }
}

impl Table {
    /// Returns a file's footer, read once.
    pub(crate) async fn footer_of(&self, file: &Arc<DataFile>) -> Result<Arc<Footer>, FileError> {
        if let Some(footer) = self.footers.get(&file.path) {
            return Ok(footer);
        }
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        Ok(self.keep_footer(file, Footer::of(reader.metadata(), self)))
    }

    fn keep_footer(&self, file: &DataFile, footer: Footer) -> Arc<Footer> {
        let footer = Arc::new(footer);
        self.footers.insert(&file.path, footer.clone(), footer.memory(&file.path));
        footer
    }

    /// Returns what the books of a witness have of a file: nothing of other writers' files.
    pub(crate) async fn own_tally_of(&self, file: &Arc<DataFile>) -> Result<Tally, FileError> {
        if self.footer_of(file).await?.is_ours { self.tally_of(file).await } else { Ok(Tally::default()) }
    }

    /// Returns how many rows a file has and the sum of their ids. Where the footer doesn't say, the id columns are read,
    /// once.
    pub(crate) async fn tally_of(&self, file: &Arc<DataFile>) -> Result<Tally, FileError> {
        let footer = self.footer_of(file).await?;
        if let Some(tally) = footer.tally {
            return Ok(tally);
        }
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let mut ids = reader.ids(&self.spec.name, &self.columns(), &self.spec.unique_by, self.hasher.clone())?;
        let mut tally = Tally::default();
        while let Some(ids) = ids.try_next().await? {
            tally.extend(ids);
        }
        self.keep_footer(file, Footer { tally: Some(tally), ..footer.as_ref().clone() });
        Ok(tally)
    }
}
