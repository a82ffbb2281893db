//! Finds the rows that make a batch fail, so that the others pass.
//!
//! The batch is halved until single rows fail. Invariant: rows are settled in order, so that at any moment the settled
//! ones are a prefix of the batch, and each is either in the output or among the failed.

use arrow::array::RecordBatch;

use crate::{Function, Lookups, RunError};

/// Rows that fail in one call of [`isolate`]. A batch with more is settled in several calls.
pub const FAILED_ROWS_MAX: usize = 256;

/// A row that fails by itself.
#[derive(Debug)]
pub struct FailedRow {
    /// Its place in the batch, from 0.
    pub row: usize,
    /// Why.
    pub error: RunError,
}

/// What became of a batch's rows.
#[derive(Debug, Default)]
pub struct Isolated {
    /// The rows that came out of the good ones among the first `settled`.
    pub output: Vec<RecordBatch>,
    /// The bad ones among the first `settled`, in order.
    pub failed: Vec<FailedRow>,
    /// How many rows of the batch were dealt with: all, unless [`FAILED_ROWS_MAX`] failed. Go on with the rest.
    pub settled: usize,
}

/// Runs a function over a batch, and where that fails, over ever smaller parts of it.
///
/// # Errors
/// Only those that no row is the cause of ([`RunError::is_of_rows`]).
pub async fn isolate(function: &dyn Function, input: &RecordBatch, lookups: &Lookups) -> Result<Isolated, RunError> {
    let mut isolated = Isolated::default();
    // Parts still to run, the first in the batch on top. Halving keeps at most log2(rows) + 1 of them.
    let mut parts = vec![(0, input.num_rows())];
    while let Some((from, rows)) = parts.pop() {
        if isolated.failed.len() == FAILED_ROWS_MAX {
            break;
        }
        match function.run(input.slice(from, rows), lookups).await {
            Ok(output) => {
                isolated.output.extend(output);
                isolated.settled = from + rows;
            }
            Err(error) if !error.is_of_rows() => return Err(error),
            Err(error) if rows <= 1 => {
                isolated.failed.push(FailedRow { row: from, error });
                isolated.settled = from + rows;
            }
            Err(_) => {
                let half = rows / 2;
                parts.push((from + half, rows - half));
                parts.push((from, half));
            }
        }
    }
    Ok(isolated)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::SqlFunction;

    fn texts(values: Vec<String>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("text", DataType::Utf8, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(StringArray::from(values))]).unwrap()
    }

    fn numbers(output: &[RecordBatch]) -> Vec<i64> {
        output.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[tokio::test]
    async fn bad_rows_are_named_and_good_rows_come_out_in_order() {
        let bad = [3, 500, 501, 999];
        let batch = texts((0..1000).map(|n| if bad.contains(&n) { "x".into() } else { n.to_string() }).collect());
        let sql = "select cast(text as bigint) as number from input";
        let function = SqlFunction::plan(sql, batch.schema(), &BTreeMap::new()).unwrap();
        assert!(function.run(batch.clone(), &Lookups::default()).await.unwrap_err().is_of_rows());
        let isolated = isolate(&function, &batch, &Lookups::default()).await.unwrap();
        assert_eq!(isolated.failed.iter().map(|failed| failed.row).collect::<Vec<_>>(), bad.map(|n| n as usize));
        assert_eq!(isolated.settled, 1000);
        let good: Vec<i64> = (0..1000).filter(|n| !bad.contains(n)).collect();
        assert_eq!(numbers(&isolated.output), good);
        let RunError::Evaluate(source) = &isolated.failed[0].error else { panic!("{:?}", isolated.failed[0]) };
        assert!(source.to_string().contains("Cannot cast string 'x' to value of Int64 type"), "{source}");
    }

    #[tokio::test]
    async fn a_batch_of_bad_rows_is_settled_in_bounded_calls() {
        let batch = texts(vec!["x".into(); 3 * FAILED_ROWS_MAX]);
        let sql = "select cast(text as bigint) as number from input";
        let function = SqlFunction::plan(sql, batch.schema(), &BTreeMap::new()).unwrap();
        let mut from = 0;
        for _ in 0..3 {
            let rest = batch.slice(from, batch.num_rows() - from);
            let isolated = isolate(&function, &rest, &Lookups::default()).await.unwrap();
            assert_eq!((isolated.settled, isolated.failed.len()), (FAILED_ROWS_MAX, FAILED_ROWS_MAX));
            from += isolated.settled;
        }
        assert_eq!(from, batch.num_rows());
    }

    struct Unplanned;

    impl Function for Unplanned {
        fn output(&self) -> SchemaRef {
            Arc::new(Schema::empty())
        }
        fn run<'a>(&'a self, _: RecordBatch, _: &'a Lookups) -> BoxFuture<'a, Result<Vec<RecordBatch>, RunError>> {
            async { Err(RunError::LookupMissing { name: "airlines".parse().unwrap() }) }.boxed()
        }
    }

    #[tokio::test]
    async fn what_no_row_causes_blames_no_row() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let error = isolate(&Unplanned, &batch, &Lookups::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "lookup `airlines` is not loaded");
    }
}
