//! Why a query failed.

use std::time::Duration;

use datafusion::error::DataFusionError;
use weir_function::SqlError;
use weir_types::ByteSize;

/// Why a query failed. Nothing was changed by it.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The SQL is wrong, or says something that a query may not.
    #[error("{}", .0.message)]
    Sql(SqlError),
    /// It took too long.
    #[error("the query took longer than {}; ask for less", weir_types::span::display(*.limit))]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// It needs more memory than it may have, and can't spill.
    #[error("the query needs more than the {limit} of memory that queries may use ({what})")]
    Memory {
        /// The limit.
        limit: ByteSize,
        /// Which operator, as DataFusion says it.
        what: String,
    },
    /// It has more rows than the caller wants.
    #[error("the answer has more than {limit} rows; add a `limit`")]
    Rows {
        /// The limit.
        limit: u64,
    },
    /// It failed while running, such as by a cast that can't be.
    #[error("{message}")]
    Run {
        /// What DataFusion says.
        message: String,
    },
}

impl QueryError {
    pub(crate) fn running(error: &DataFusionError, memory: ByteSize) -> Self {
        let root = error.find_root();
        let text = root.strip_backtrace();
        match root {
            DataFusionError::ResourcesExhausted(what) => {
                Self::Memory { limit: memory, what: what.lines().next().unwrap_or_default().to_owned() }
            }
            _ => Self::Run { message: text },
        }
    }
}
