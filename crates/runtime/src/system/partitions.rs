//! `weir.partitions`: what each partition of each table holds, and until when it may change.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::FutureExt;
use futures::future::BoxFuture;
use weir_ledger::Changes;
use weir_types::Timestamp;

use super::{SystemTable, SystemTableError, one_batch};
use crate::node::Node;
use crate::status::PartitionStatus;

pub(super) const TABLE: SystemTable = SystemTable { name: "partitions", columns, rows };

const UTC: &str = "UTC";

fn columns() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()));
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("day", DataType::Date32, true),
        Field::new("hour", DataType::Int32, true),
        Field::new("files", DataType::Int64, false),
        Field::new("small_files", DataType::Int64, false),
        Field::new("rows", DataType::Int64, true),
        Field::new("bytes", DataType::Int64, false),
        Field::new("final_after", time(), true),
        Field::new("is_final", DataType::Boolean, false),
        Field::new("changed_at", time(), true),
        Field::new("compacted_at", time(), true),
        Field::new("is_compact", DataType::Boolean, false),
        Field::new("changes", DataType::Int64, false),
        Field::new("changes_late", DataType::Int64, false),
        Field::new("changes_replayed", DataType::Int64, false),
        Field::new("changes_replacing", DataType::Int64, false),
        Field::new("changes_by_rollup", DataType::Int64, false),
    ]))
}

fn rows(node: &Node, columns: SchemaRef) -> BoxFuture<'_, Result<Vec<RecordBatch>, SystemTableError>> {
    async move {
        let of_tables = node.partition_statuses();
        let all: Vec<(&str, &PartitionStatus)> =
            of_tables.iter().flat_map(|(table, all)| all.iter().map(move |one| (table.as_str(), one))).collect();
        let count = |of: fn(&PartitionStatus) -> Option<u64>| -> ArrayRef {
            Arc::new(all.iter().map(|(_, one)| of(one).and_then(|n| i64::try_from(n).ok())).collect::<Int64Array>())
        };
        let time = |of: fn(&PartitionStatus) -> Option<Timestamp>| -> ArrayRef {
            let times = all.iter().map(|(_, one)| of(one).map(|time| time.0));
            Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone(UTC))
        };
        let is = |of: fn(&PartitionStatus) -> bool| -> ArrayRef {
            Arc::new(all.iter().map(|(_, one)| Some(of(one))).collect::<BooleanArray>())
        };
        let changes = node.books().changes();
        let changed = |of: fn(&Changes) -> u64| -> ArrayRef {
            let none = Changes::default();
            let counts = all.iter().map(|(table, one)| {
                let key = ((*table).to_owned(), one.day_number, one.hour);
                i64::try_from(of(changes.get(&key).unwrap_or(&none))).unwrap_or(i64::MAX)
            });
            Arc::new(Int64Array::from_iter_values(counts))
        };
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(all.iter().map(|(table, _)| table))),
            Arc::new(all.iter().map(|(_, one)| one.day_number).collect::<Date32Array>()),
            Arc::new(all.iter().map(|(_, one)| one.hour.map(i32::from)).collect::<Int32Array>()),
            count(|one| Some(one.files)),
            count(|one| Some(one.small_files)),
            count(|one| one.rows),
            count(|one| Some(one.bytes)),
            time(|one| one.final_after),
            is(|one| one.is_final),
            time(|one| one.changed_at),
            time(|one| one.compacted_at),
            is(|one| one.is_compact),
            changed(|changes| changes.total()),
            changed(|changes| changes.late),
            changed(|changes| changes.replays + changes.redrives),
            changed(|changes| changes.replaced),
            changed(|changes| changes.rollups),
        ];
        one_batch(TABLE.name, columns, arrays)
    }
    .boxed()
}
