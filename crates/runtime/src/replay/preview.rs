//! What a run would come to, without doing any of it.
//!
//! The ranges are cut into [`PARTS`] parts, and each is read from its beginning up to its share of [`BYTES_MAX`]. If that was
//! all of it the figures are exact; else they are what the sample says, and `exact` says so. Nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use weir_table::PartitionBy;
use weir_types::civil::civil_from_days;
use weir_types::{StreamName, Timestamp};

use super::act::ReplayError;
use super::ask::Ask;
use super::machine::{Origin, ShardRange, State, Task, Window};
use super::replaying::Way;
use super::resolve::{ResolveError, Resolved, ways};
use super::target::Target;
use super::times;
use crate::node::Node;
use crate::pipeline::{OnRepeat, Preparer, SourceShard};

/// Parts of the ranges of which each is looked into.
const PARTS: u64 = 64;
/// What all parts together read, in bytes of records.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 256 * 1024;
/// Partitions that are listed.
const LISTED_MAX: usize = 1000;
/// How long looking may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much slower taking rows in is than making them, until a run has shown it.
const APPEND_COSTS: f64 = 2.0;

/// What a run would come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// Whose records.
    pub stream: StreamName,
    /// Where they are read.
    pub from: Origin,
    /// Which times were asked for.
    pub window: Window,
    /// Which records that are, per shard.
    pub ranges: Vec<ShardRange>,
    /// How many: of a window of event times, those that are within.
    pub records: u64,
    /// How many have to be read for that.
    pub records_read: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether these figures are of all records, and not of a sample.
    pub exact: bool,
    /// What becomes of them.
    pub targets: Vec<TargetPreview>,
    /// How long it would take, in milliseconds.
    pub expected_ms: Option<u64>,
    /// What that is made of, in words.
    pub expected_by: String,
    /// What else is to be known, in words.
    pub notes: Vec<String>,
}

/// What would become of the records at one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetPreview {
    /// Which.
    pub target: Target,
    /// Rows that would be made; none where a handler makes them.
    pub rows: Option<u64>,
    /// Records on which the function would fail.
    pub dead_lettered: u64,
    /// How many partitions the rows lie in. One in which nothing differs stays as it is.
    pub partitions: Option<u64>,
    /// The partitions, the first 1000 of them.
    pub listed: Vec<PartitionPreview>,
}

/// Rows of one partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionPreview {
    /// Such as `2013-01-31`, `2013-01-31T05`, `no event time` or `all`.
    pub partition: String,
    /// How many.
    pub rows: u64,
}

/// A partition: day and hour, as tables have them.
type Partition = (Option<i64>, Option<i64>);

/// What the sample says.
#[derive(Default)]
struct Sample {
    /// Of all parts, by what was read of each.
    records: f64,
    bytes: f64,
    exact: bool,
    /// Records that were decoded, in which time.
    decoded: u64,
    took: Duration,
    targets: BTreeMap<Target, OfTarget>,
}

#[derive(Default)]
struct OfTarget {
    rows: f64,
    dead_lettered: f64,
    partitions: BTreeMap<Partition, f64>,
}

impl Node {
    /// Says what a replay would come to: records, bytes, partitions, and how long it would take.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn preview_replay(&self, ask: &Ask) -> Result<Preview, ReplayError> {
        let resolved = self.resolve(ask).await?;
        let sample = self.sample(&resolved).await?;
        let task = &resolved.task;
        let records_read: u64 = task.ranges.iter().map(ShardRange::records).sum();
        let mut notes = Vec::new();
        if task.window.event_time && task.origin == Origin::Stream && task.ranges.iter().any(|range| range.from.0 > 0) {
            notes.push(format!(
                "stream `{}` has forgotten its oldest records: what has these event times and arrived before is not read",
                task.stream
            ));
        }
        let mut targets = Vec::new();
        for (target, of) in sample.targets {
            let Target::Table(_) = target else {
                notes.push(format!("{target}: a handler makes its rows, so that the partitions are not known before"));
                targets.push(TargetPreview {
                    target,
                    rows: None,
                    dead_lettered: 0,
                    partitions: None,
                    listed: Vec::new(),
                });
                continue;
            };
            let partitions = of.partitions.len() as u64;
            let listed = of.partitions.into_iter().take(LISTED_MAX);
            let listed = listed
                .map(|(partition, rows)| PartitionPreview { partition: named(partition), rows: rows.round() as u64 });
            targets.push(TargetPreview {
                target,
                rows: Some(of.rows.round() as u64),
                dead_lettered: of.dead_lettered.round() as u64,
                partitions: Some(partitions),
                listed: listed.collect(),
            });
        }
        let (speed, mut expected_by) = self.speed(task, sample.decoded, sample.took);
        let work = (records_read * task.targets.len() as u64) as f64;
        let mut expected = speed.map(|speed| work / speed);
        if let Some(rate) = ask.rate
            && expected.is_none_or(|expected| work / rate.per_second() > expected)
        {
            expected = Some(work / rate.per_second());
            expected_by = format!("the rate of {rate}");
        }
        Ok(Preview {
            stream: task.stream.clone(),
            from: task.origin,
            window: task.window,
            ranges: task.ranges.clone(),
            records: sample.records.round() as u64,
            records_read,
            bytes: sample.bytes.round() as u64,
            exact: sample.exact,
            targets,
            expected_ms: expected.map(|expected| (expected * 1000.0) as u64),
            expected_by,
            notes,
        })
    }

    /// Returns how many records a second are to be expected, and what says so: the last run to the same targets, or the sample.
    fn speed(&self, task: &Task, decoded: u64, took: Duration) -> (Option<f64>, String) {
        let last = self.replaying().owner.read(|replays| {
            let done = |run: &&super::machine::Run| {
                run.state == State::Done && run.task.targets == task.targets && run.rate.is_none()
            };
            let run = replays.runs().iter().rev().find(done)?;
            let behind: u64 = run.progress.values().map(|progress| progress.counts.behind()).sum();
            let ms = run.ended_at?.since(run.began_at).as_millis() as f64 - run.paused_ms as f64;
            // A run that was over in a moment says little.
            (behind > 0 && ms >= 1000.0).then(|| (behind as f64 * 1000.0 / ms, run.task.id.clone()))
        });
        if let Some((speed, id)) = last {
            return (Some(speed), format!("the speed of {id}: {speed:.0} records/s"));
        }
        if task.targets.iter().any(|target| matches!(target, Target::Function(_))) {
            return (None, "nothing: how long the handler takes is not known before a first run".to_owned());
        }
        if decoded == 0 || took.is_zero() {
            return (None, "nothing: there is no record to measure with".to_owned());
        }
        let made = decoded as f64 / took.as_secs_f64();
        let text = format!(
            "a sample: {made:.0} records/s are decoded and run through the function; taking the rows in is reckoned as much again"
        );
        (Some(made / APPEND_COSTS), text)
    }

    /// Looks into the ranges.
    async fn sample(&self, resolved: &Resolved) -> Result<Sample, ReplayError> {
        let ways = ways(self);
        let mut sample = Sample { exact: true, ..Sample::default() };
        for target in &resolved.task.targets {
            sample.targets.entry(target.clone()).or_default();
        }
        let parts = cut(&resolved.task.ranges);
        let bytes_max = BYTES_MAX / parts.len().max(1) as u64;
        let started = self.env().elapsed();
        for part in parts {
            let late = self.env().elapsed().saturating_sub(started) > PATIENCE;
            if late && sample.decoded > 0 {
                sample.exact = false;
                break;
            }
            self.look_into(resolved, &ways, &part, bytes_max, &mut sample).await?;
        }
        if !sample.exact {
            let read: u64 = resolved.task.ranges.iter().map(ShardRange::records).sum();
            if resolved.time.is_none() {
                sample.records = read as f64;
            }
        }
        Ok(sample)
    }

    /// Reads the beginning of one part, and adds what that says of all of it.
    async fn look_into(
        &self,
        resolved: &Resolved,
        ways: &BTreeMap<Target, Way>,
        part: &ShardRange,
        bytes_max: u64,
        sample: &mut Sample,
    ) -> Result<(), ReplayError> {
        // Asked for as some of its range: parts that follow each other are one reading of an archive, and not many.
        let range = resolved.task.ranges.iter().find(|range| range.shard == part.shard).unwrap_or(part);
        let mut next = part.from;
        let mut of_part = Sample::default();
        let mut failed: Option<String> = None;
        while next < part.to && (of_part.bytes as u64) < bytes_max {
            let page = match resolved.source.read(range, next, PAGE_BYTES, part.to.since(next)).await {
                Ok(read) if read.page.end() > next => read.page.cut(u64::MAX, part.to),
                Ok(_) => break,
                Err(error) => {
                    failed = Some(error.to_string());
                    break;
                }
            };
            next = page.end();
            let began = self.env().elapsed();
            let bodies = page.records().filter_map(Result::ok).map(|record| record.body.len() as u64);
            let (bytes, count) = bodies.fold((0, 0), |(bytes, count), body| (bytes + body, count + 1));
            of_part.bytes += bytes as f64;
            of_part.decoded += count;
            let mut within = count;
            for target in &resolved.task.targets {
                let Some(Way::Table(way)) = ways.get(target) else { continue };
                let shard = SourceShard {
                    stream: resolved.stream.stream.clone(),
                    id: part.shard,
                    only: None,
                    on_repeat: OnRepeat::Replace,
                };
                let halt = |error: String| halted(&resolved.task.stream, error);
                let preparer = Preparer::new(way.parts.clone()).map_err(|error| halt(error.to_string()))?;
                let mut preparer = preparer.for_replay(&resolved.task.id);
                let choose = |batch, places| match &resolved.time {
                    Some(time) => times::keep(&resolved.task.window, time, batch, places),
                    None => Ok((batch, places)),
                };
                let made = preparer.prepare_some(&shard, &page, choose).await;
                let made = made.map_err(|error| halt(error.to_string()))?;
                within = count - made.counts.others;
                let of = of_part.targets.entry(target.clone()).or_default();
                of.dead_lettered += made.letters.len() as f64;
                if let Some(rows) = made.rows {
                    of.rows += rows.num_rows() as f64;
                    for partition in partitions(&way.parts.table.spec().partition_by, &rows) {
                        *of.partitions.entry(partition).or_default() += 1.0;
                    }
                }
            }
            of_part.records += within as f64;
            of_part.took += self.env().elapsed().saturating_sub(began);
        }
        if next < part.to || failed.is_some() {
            sample.exact = false;
        }
        let looked_at = next.since(part.from);
        if looked_at > 0 {
            sample.add(&of_part, part.records() as f64 / looked_at as f64);
        }
        Ok(())
    }
}

impl Sample {
    fn add(&mut self, part: &Self, factor: f64) {
        self.records += part.records * factor;
        self.bytes += part.bytes * factor;
        self.decoded += part.decoded;
        self.took += part.took;
        for (target, of) in &part.targets {
            let all = self.targets.entry(target.clone()).or_default();
            all.rows += of.rows * factor;
            all.dead_lettered += of.dead_lettered * factor;
            for (partition, rows) in &of.partitions {
                *all.partitions.entry(*partition).or_default() += rows * factor;
            }
        }
    }
}

fn halted(stream: &StreamName, error: String) -> ReplayError {
    let source = error.into();
    ReplayError::Resolve(ResolveError::Look { stream: stream.clone(), source })
}

/// Cuts ranges into parts that lie evenly in them.
fn cut(ranges: &[ShardRange]) -> Vec<ShardRange> {
    let records: u64 = ranges.iter().map(ShardRange::records).sum();
    let size = records.div_ceil(PARTS).max(1);
    let mut parts = Vec::new();
    for range in ranges {
        let mut from = range.from;
        while from < range.to {
            let to = (from + size).min(range.to);
            parts.push(ShardRange { shard: range.shard, from, to });
            from = to;
        }
    }
    parts
}

/// Returns the partition of each row.
fn partitions(by: &PartitionBy, rows: &arrow::array::RecordBatch) -> Vec<Partition> {
    const HOUR_MS: i64 = 3_600_000;
    let Some(column) = by.column() else { return vec![(Some(i64::MIN), None); rows.num_rows()] };
    let times = times::of(rows, column).unwrap_or_else(|_| vec![None; rows.num_rows()]);
    let hourly = matches!(by, PartitionBy::Hour(_));
    let of = |time: Option<Timestamp>| match time {
        None => (None, None),
        Some(Timestamp(ms)) => {
            (Some(ms.div_euclid(24 * HOUR_MS)), hourly.then(|| ms.rem_euclid(24 * HOUR_MS) / HOUR_MS))
        }
    };
    times.into_iter().map(of).collect()
}

fn named((day, hour): Partition) -> String {
    match day {
        None => "no event time".to_owned(),
        Some(i64::MIN) => "all".to_owned(),
        Some(day) => {
            let (year, month, day) = civil_from_days(day);
            let hour = hour.map(|hour| format!("T{hour:02}")).unwrap_or_default();
            format!("{year:04}-{month:02}-{day:02}{hour}")
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_types::{SequenceNumber, ShardId};

    use super::*;

    #[test]
    fn ranges_are_cut_evenly_and_wholly() {
        let range =
            |shard, from, to| ShardRange { shard: ShardId(shard), from: SequenceNumber(from), to: SequenceNumber(to) };
        let ranges = [range(0, 5, 1_005), range(1, 0, 0), range(2, 7, 9)];
        let parts = cut(&ranges);
        assert!(parts.len() as u64 <= PARTS + ranges.len() as u64);
        assert_eq!(parts.iter().map(ShardRange::records).sum::<u64>(), 1_002);
        assert!(parts.windows(2).all(|pair| pair[0].shard != pair[1].shard || pair[0].to == pair[1].from));
        assert_eq!(cut(&[range(0, 3, 3)]), []);
    }
}
