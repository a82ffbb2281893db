//! `weir.crawls`: the runs of each crawl that are known, a row each.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::FutureExt;
use futures::future::BoxFuture;
use weir_crawl::progress::Counts;
use weir_crawl::runs::{By, Run};
use weir_types::Timestamp;

use super::{SystemTable, SystemTableError, one_batch};
use crate::node::Node;

pub(super) const TABLE: SystemTable = SystemTable { name: "crawls", columns, rows };

const UTC: &str = "UTC";

fn columns() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()));
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        Field::new("crawl", DataType::Utf8, false),
        count("run"),
        Field::new("state", DataType::Utf8, false),
        Field::new("asked_by", DataType::Utf8, false),
        Field::new("asked_at", time(), false),
        Field::new("started_at", time(), true),
        Field::new("ended_at", time(), true),
        count("calls"),
        count("items"),
        count("dead"),
        count("throttled"),
        count("retried"),
        Field::new("reason", DataType::Utf8, true),
    ]))
}

fn rows(node: &Node, columns: SchemaRef) -> BoxFuture<'_, Result<Vec<RecordBatch>, SystemTableError>> {
    async move {
        let crawls = node.crawls();
        let known: Vec<(&str, Run, Counts)> = crawls
            .names()
            .flat_map(|crawl| {
                let runs = crawls.runs(crawl.as_str()).unwrap_or_default();
                runs.into_iter().map(move |run| {
                    let counts = crawls.counts(crawl.as_str(), &run);
                    (crawl.as_str(), run, counts)
                })
            })
            .collect();
        let text = |of: fn(&Run) -> &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(known.iter().map(|(_, run, _)| of(run))))
        };
        let time = |of: fn(&Run) -> Option<Timestamp>| -> ArrayRef {
            let times = known.iter().map(|(_, run, _)| of(run).map(|time| time.0));
            Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone(UTC))
        };
        let count = |of: fn(&Run, &Counts) -> u64| -> ArrayRef {
            let counts = known.iter().map(|(_, run, counts)| i64::try_from(of(run, counts)).unwrap_or(i64::MAX));
            Arc::new(Int64Array::from_iter_values(counts))
        };
        let by = |run: &Run| match run.by {
            By::Hand => "hand",
            By::Schedule(_) => "schedule",
        };
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(known.iter().map(|(crawl, ..)| *crawl))),
            count(|run, _| run.number),
            text(|run| run.state.as_str()),
            text(by),
            time(|run| Some(run.asked_at)),
            time(|run| run.started_at),
            time(|run| run.ended_at),
            count(|_, counts| counts.calls()),
            count(|_, counts| counts.items),
            count(|_, counts| counts.dead),
            count(|_, counts| counts.throttled),
            count(|_, counts| counts.retried),
            Arc::new(StringArray::from_iter(known.iter().map(|(_, run, _)| run.reason.as_deref()))),
        ];
        one_batch(TABLE.name, columns, arrays)
    }
    .boxed()
}
