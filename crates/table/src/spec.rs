//! What a table should be: settings, their defaults and their limits.
//!
//! Plain values, checked by [`Spec::validate`] without I/O. Components (store, clock) are given to
//! [`Table::open`](crate::Table::open) apart.

use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use weir_types::TableName;

use crate::evolution::Evolution;
use crate::{columns, time};

/// Buckets of one table.
pub const BUCKETS_MAX: u32 = 1024;

/// Columns of one table, nested ones not counted.
pub const COLUMNS_MAX: usize = 2000;

/// What a compaction can't do with less of.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// Which of the rows with one id stays, in the order of their arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The first: later ones are dropped.
    #[default]
    First,
    /// The last: it takes the place of the earlier one, if any value differs.
    Last,
}

/// How rows are spread over partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// One partition.
    None,
    /// By the UTC day of this column.
    Day(String),
    /// By the UTC day and hour of this column.
    Hour(String),
}

impl PartitionBy {
    /// Returns the event-time column, if rows have one.
    ///
    /// Its type is a timestamp (any unit; without a zone it is read as UTC), a date, or `Int64` as milliseconds since
    /// 1970.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Day(column) | Self::Hour(column) => Some(column),
        }
    }
}

/// What happens to a row that a table would rather not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// It is kept and counted.
    #[default]
    Keep,
    /// It is handed back to the caller, counted, and not stored.
    DeadLetter,
}

/// The settings of a table.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The table's name, for errors and file metadata.
    pub name: TableName,
    /// The columns as the flow produces them; nested types are allowed. The table stores all as nullable.
    pub columns: SchemaRef,
    /// How rows are spread over partitions. Fixed when the table is made. Default: one partition.
    pub partition_by: PartitionBy,
    /// Parts of each partition, by hash of the id. Fixed when the table is made. With 1 there is no bucket column.
    /// Default: 1.
    pub buckets: u32,
    /// The columns that make a row unique within its partition. Fixed when the table is made. Empty: rows are not
    /// deduplicated. Default: empty.
    pub unique_by: Vec<String>,
    /// Which of the rows with one id stays. Default: the first.
    pub keep: Keep,
    /// How old a row's event time may be before the row counts as late. Default: no limit.
    pub lookback: Option<Duration>,
    /// What happens to late rows. Default: kept and counted.
    pub late: Rule,
    /// What happens to rows whose event time is null or outside of the years 1900 to 2099. Default: kept, in the
    /// partition of null, and counted.
    pub timeless: Rule,
    /// How old buffered rows may become. The caller acts on it: see [`Table::pending`](crate::Table::pending). Default:
    /// 5 s.
    pub freshness: Duration,
    /// How many buffered bytes (of Arrow arrays) make a commit worthwhile. The caller acts on it. Default: 128 MiB.
    pub commit_bytes: u64,
    /// The size that merging aims at. Default: 256 MiB.
    pub target_file_bytes: u64,
    /// The columns that compaction sorts a partition's rows by, nulls first; rows that are equal in all stay in the
    /// order of their arrival. Default, and empty: the event time, or the order of arrival in tables without one.
    pub sort_by: Vec<String>,
    /// How often a partition that keeps changing is rebuilt. Default: an hour.
    pub compact_every: Duration,
    /// Memory that one compaction sorts and searches in; what needs more spills. Default: 256 MiB.
    pub compact_bytes: u64,
    /// A folder where compactions spill, emptied by the caller when nothing runs. Default: none; then a new one in the
    /// system's folder for temporary files.
    pub scratch: Option<PathBuf>,
    /// The buffered bytes beyond which an append is refused until a commit made room. Default: 512 MiB.
    pub buffer_bytes_max: u64,
    /// Memory for filters of files. Default: 64 MiB.
    pub filter_cache_bytes: u64,
    /// Memory for ids of files in which repeats were found. Once rows take others' places, as much again for their values.
    /// Default: 64 MiB.
    pub id_cache_bytes: u64,
    /// How the columns of a table that is there follow `columns`. Default: files are rewritten where a wider type needs
    /// it; nothing was renamed, and new columns are null in older rows.
    pub evolution: Evolution,
}

/// Settings that contradict themselves, or name a column that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No columns, or too many.
    #[error("table `{table}` has {count} columns, and may have 1 to {COLUMNS_MAX}")]
    ColumnCount {
        /// The table.
        table: TableName,
        /// How many it has.
        count: usize,
    },
    /// A column's name can't be stored.
    #[error("table `{table}` can't have a column named `{column}`: {reason}")]
    ColumnName {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// A column's type has no equal in Delta.
    #[error("table `{table}` can't store column `{column}` of type {data_type}: {hint}")]
    ColumnType {
        /// The table.
        table: TableName,
        /// The column, with dots between nested names.
        column: String,
        /// Its Arrow type.
        data_type: String,
        /// What to do.
        hint: &'static str,
    },
    /// A setting names a column that is not there.
    #[error("`{setting}` of table `{table}` names the column `{column}`, which is not one of its columns: {known}")]
    NoSuchColumn {
        /// The table.
        table: TableName,
        /// The setting.
        setting: &'static str,
        /// The column as written.
        column: String,
        /// The columns there are.
        known: String,
    },
    /// The event-time column's type is no time.
    #[error(
        "table `{table}` is partitioned by `{column}`, which is {data_type}: a timestamp, a date, or a 64-bit integer \
         (milliseconds since 1970) is needed"
    )]
    TimeType {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// An id column is nested.
    #[error("table `{table}` can't be unique by `{column}`, which is {data_type}: only plain values tell rows apart")]
    IdType {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// A column to sort by is nested.
    #[error("table `{table}` can't be sorted by `{column}`, which is {data_type}: only plain values have an order")]
    SortType {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// A column is named twice.
    #[error("`{setting}` of table `{table}` names `{column}` twice")]
    Twice {
        /// The table.
        table: TableName,
        /// The setting.
        setting: &'static str,
        /// The column.
        column: String,
    },
    /// A number is out of its range.
    #[error("`{setting}` of table `{table}` is {value}: {limit}")]
    Range {
        /// The table.
        table: TableName,
        /// The setting.
        setting: &'static str,
        /// The number.
        value: u64,
        /// What is allowed.
        limit: String,
    },
}

impl Spec {
    /// Returns a table of one partition and one bucket whose rows are not deduplicated.
    pub fn new(name: TableName, columns: SchemaRef) -> Self {
        Self {
            name,
            columns,
            partition_by: PartitionBy::None,
            buckets: 1,
            unique_by: Vec::new(),
            keep: Keep::First,
            lookback: None,
            late: Rule::Keep,
            timeless: Rule::Keep,
            freshness: Duration::from_secs(5),
            commit_bytes: 128 << 20,
            target_file_bytes: 256 << 20,
            sort_by: Vec::new(),
            compact_every: Duration::from_secs(3600),
            compact_bytes: 256 << 20,
            scratch: None,
            buffer_bytes_max: 512 << 20,
            filter_cache_bytes: 64 << 20,
            id_cache_bytes: 64 << 20,
            evolution: Evolution::default(),
        }
    }

    /// Checks the settings against each other and against the limits.
    ///
    /// # Errors
    /// The first [`SpecError`] found.
    pub fn validate(&self) -> Result<(), SpecError> {
        let table = || self.name.clone();
        let count = self.columns.fields().len();
        if count == 0 || count > COLUMNS_MAX {
            return Err(SpecError::ColumnCount { table: table(), count });
        }
        columns::stored_schema(&self.name, &self.columns)?;
        self.validate_partitioning()?;
        self.validate_id()?;
        self.validate_order()?;
        let ranges = [
            ("buckets", u64::from(self.buckets), 1, u64::from(BUCKETS_MAX)),
            ("commit_bytes", self.commit_bytes, 1, self.buffer_bytes_max),
            ("target_file_bytes", self.target_file_bytes, 1 << 10, 8 << 30),
            ("compact_bytes", self.compact_bytes, COMPACT_BYTES_MIN, 1 << 40),
            ("buffer_bytes_max", self.buffer_bytes_max, 1, u64::MAX),
        ];
        for (setting, value, least, most) in ranges {
            if value < least || value > most {
                let limit = format!("{least} to {most} is allowed");
                return Err(SpecError::Range { table: table(), setting, value, limit });
            }
        }
        if self.buckets > 1 && self.unique_by.is_empty() {
            let limit = "buckets divide rows by their id, so `unique_by` is needed with more than 1".to_owned();
            return Err(SpecError::Range { table: table(), setting: "buckets", value: self.buckets.into(), limit });
        }
        Ok(())
    }

    fn validate_partitioning(&self) -> Result<(), SpecError> {
        let Some(column) = self.partition_by.column() else { return Ok(()) };
        let data_type = self.type_of("partition_by", column)?;
        if !time::is_time(data_type) {
            return Err(SpecError::TimeType {
                table: self.name.clone(),
                column: column.to_owned(),
                data_type: data_type.to_string(),
            });
        }
        Ok(())
    }

    fn validate_id(&self) -> Result<(), SpecError> {
        for (index, column) in self.unique_by.iter().enumerate() {
            let data_type = self.type_of("unique_by", column)?;
            let stored = columns::stored_type(data_type).unwrap_or(DataType::Null);
            if stored.is_nested() {
                return Err(SpecError::IdType {
                    table: self.name.clone(),
                    column: column.clone(),
                    data_type: data_type.to_string(),
                });
            }
            if self.unique_by[..index].contains(column) {
                return Err(SpecError::Twice {
                    table: self.name.clone(),
                    setting: "unique_by",
                    column: column.clone(),
                });
            }
        }
        Ok(())
    }

    fn validate_order(&self) -> Result<(), SpecError> {
        for (index, column) in self.sort_by.iter().enumerate() {
            let data_type = self.type_of("sort_by", column)?;
            if columns::stored_type(data_type).unwrap_or(DataType::Null).is_nested() {
                return Err(SpecError::SortType {
                    table: self.name.clone(),
                    column: column.clone(),
                    data_type: data_type.to_string(),
                });
            }
            if self.sort_by[..index].contains(column) {
                return Err(SpecError::Twice { table: self.name.clone(), setting: "sort_by", column: column.clone() });
            }
        }
        Ok(())
    }

    /// Returns the columns that files are sorted by; none: the order of arrival.
    pub(crate) fn order(&self) -> Vec<String> {
        match self.partition_by.column() {
            Some(column) if self.sort_by.is_empty() => vec![column.to_owned()],
            _ => self.sort_by.clone(),
        }
    }

    fn type_of(&self, setting: &'static str, column: &str) -> Result<&DataType, SpecError> {
        self.columns.field_with_name(column).map(|field| field.data_type()).map_err(|_| SpecError::NoSuchColumn {
            table: self.name.clone(),
            setting,
            column: column.to_owned(),
            known: self.columns.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}
