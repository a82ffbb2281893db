//! What every kind of function offers: the seam.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use futures::future::BoxFuture;
use weir_types::LookupName;

use crate::Lookups;

/// Turns a batch of records into rows.
///
/// - **Pure.** A record's rows depend on the record and the lookups alone; running a batch again, or in parts, gives the
///   same rows.
/// - **Whole.** A run returns the rows of all records of the batch, or an error and none.
/// - **Cancel-safe.** Dropping the future has no effect.
pub trait Function: Send + Sync {
    /// Returns the columns of what [`Function::run`] returns.
    fn output(&self) -> SchemaRef;

    /// Runs the function over a batch.
    ///
    /// # Errors
    /// See [`RunError`]. Those that [`RunError::is_of_rows`] can be narrowed to rows by [`crate::isolate`].
    fn run<'a>(&'a self, input: RecordBatch, lookups: &'a Lookups)
    -> BoxFuture<'a, Result<Vec<RecordBatch>, RunError>>;
}

/// A batch that a function could not turn.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The batch has other columns than the function was planned for.
    #[error("the batch has columns ({found}), and the function was planned for ({planned}): plan it again")]
    Input {
        /// The batch's columns.
        found: String,
        /// The planned ones.
        planned: String,
    },
    /// A lookup that the function reads is not loaded.
    #[error("lookup `{name}` is not loaded")]
    LookupMissing {
        /// The lookup's name.
        name: LookupName,
    },
    /// A lookup's columns changed since the function was planned.
    #[error("lookup `{name}` has columns ({found}), and the function was planned for ({planned}): plan it again")]
    LookupChanged {
        /// The lookup's name.
        name: LookupName,
        /// The columns that were loaded.
        found: String,
        /// The planned ones.
        planned: String,
    },
    /// A value could not be computed, such as a cast that failed.
    #[error("compute the rows")]
    Evaluate(#[source] Box<DataFusionError>),
    /// More rows came out than one run may return.
    #[error("the output is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
}

impl RunError {
    /// Tells whether single rows may be the cause, so that the rest of the batch could pass without them.
    pub fn is_of_rows(&self) -> bool {
        matches!(self, Self::Evaluate(_) | Self::TooLarge { .. })
    }
}
