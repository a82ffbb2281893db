//! `weir.ledger`: what came in, went out and is in flight, by hop, name and hour.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::FutureExt;
use futures::future::BoxFuture;
use weir_ledger::{Choice, Line};

use super::{SystemTable, SystemTableError, one_batch};
use crate::ledger::Depth;
use crate::node::Node;

pub(super) const TABLE: SystemTable = SystemTable { name: "ledger", columns, rows };

const UTC: &str = "UTC";

/// A column of counts.
type Count = (&'static str, fn(&Line) -> i64);

/// The counts, in the order of the columns. `records_in` is the sum of all behind it but `replaced` and `late`, which are
/// part of `out`.
const COUNTS: &[Count] = &[
    ("records_in", |line| signed(line.records_in)),
    ("out", |line| signed(line.out)),
    ("deduplicated", |line| signed(line.deduplicated)),
    ("dead_lettered", |line| signed(line.dead_lettered)),
    ("refused", |line| signed(line.refused)),
    ("filtered", |line| line.filtered),
    ("others", |line| signed(line.others)),
    ("lost", |line| signed(line.lost)),
    ("in_flight", |line| signed(line.in_flight)),
    ("unbooked", |line| signed(line.unbooked)),
    ("balance", |line| line.balance),
    ("replaced", |line| signed(line.replaced)),
    ("late", |line| signed(line.late)),
];

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn columns() -> SchemaRef {
    let mut fields = vec![
        Field::new("hop", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, true),
        Field::new("hour", DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())), false),
    ];
    fields.extend(COUNTS.iter().map(|(name, _)| Field::new(*name, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

fn rows(node: &Node, columns: SchemaRef) -> BoxFuture<'_, Result<Vec<RecordBatch>, SystemTableError>> {
    async move {
        let lines = node.ledger(&Choice::default(), Depth::Books).await.lines;
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(lines.iter().map(|line| line.hop.as_str()))),
            Arc::new(StringArray::from_iter_values(lines.iter().map(|line| &line.name))),
            Arc::new(lines.iter().map(|line| line.from.as_deref()).collect::<StringArray>()),
            Arc::new(
                lines
                    .iter()
                    .map(|line| Some(line.hour.start().0))
                    .collect::<TimestampMillisecondArray>()
                    .with_timezone(UTC),
            ),
        ];
        for (_, count) in COUNTS {
            arrays.push(Arc::new(Int64Array::from_iter_values(lines.iter().map(count))));
        }
        one_batch(TABLE.name, columns, arrays)
    }
    .boxed()
}
