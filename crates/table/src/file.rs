//! A data file of a version of the table.

use object_store::path::Path;
use weir_types::Timestamp;

use crate::place::Place;

/// A Parquet file that the Delta log names. Immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Where it is in the store.
    pub location: Path,
    /// Its name as the Delta log has it: relative to the table's folder, percent-encoded.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its rows; none if another writer left that out.
    pub rows: Option<u64>,
    /// The values of its partition columns.
    pub place: Place,
    /// The least and the greatest event time, in microseconds since 1970 (rounded outwards to whole milliseconds); none
    /// if every row is without, or the writer left it out.
    pub times: Option<(i64, i64)>,
    /// When it was written.
    pub modified: Timestamp,
}
