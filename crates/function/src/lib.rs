//! Functions over batches of records: SQL, and the seam for other kinds.
//!
//! A function turns one batch of a stream's records into rows. Invariant: what comes out for a record depends on that
//! record and on the lookups alone, never on the clock, on chance, or on which other records happen to share its batch.
//! So a batch may be run again, cut in two, or replayed next year, and gives the same rows; [`SqlFunction::plan`]
//! refuses SQL that could not keep this.
//!
//! Knows Arrow and DataFusion. Knows no streams, tables, files of configuration, or HTTP.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use arrow::array::{Int64Array, RecordBatch};
//! use arrow::datatypes::{DataType, Field, Schema};
//! use weir_function::{Lookups, SqlFunction};
//!
//! let schema = Arc::new(Schema::new(vec![Field::new("miles", DataType::Int64, true)]));
//! let function = SqlFunction::plan("select miles * 1.609 as km from input", schema.clone(), &BTreeMap::new()).unwrap();
//! let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![100]))]).unwrap();
//! let rows = futures::executor::block_on(function.run(batch, &Lookups::default())).unwrap();
//! assert_eq!(rows[0].num_rows(), 1);
//! assert_eq!(function.output().field(0).name(), "km");
//! ```

mod columns;
mod function;
mod isolate;
mod lookup;
pub mod rollup;
mod sql;

pub use function::{Function, RunError};
pub use isolate::{FAILED_ROWS_MAX, FailedRow, Isolated, isolate};
pub use lookup::Lookups;
pub use rollup::Rollup;
pub use sql::{Filtered, INPUT, OUTPUT_BYTES_MAX, SQL_BYTES_MAX, SqlError, SqlFunction, filter, reads};
