//! How runs stand, for whoever watches.

use std::time::Duration;

use serde::Serialize;
use weir_types::{ShardId, StreamName, Timestamp};

use super::counts::Counts;
use super::machine::{Origin, Progress, Run, State, Window};
use super::rate::Rate;
use super::target::Target;
use crate::node::Node;

/// A run at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunStatus {
    /// Its name.
    pub id: String,
    /// Whose records.
    pub stream: StreamName,
    /// Where they are read.
    pub from: Origin,
    /// Which times were asked for.
    pub window: Window,
    /// `running`, `paused`, `done`, `cancelled` or `failed`.
    pub state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The most records in a second.
    pub rate: Option<Rate>,
    /// When it was begun.
    pub began_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Records of its ranges, over all targets.
    pub records: u64,
    /// How many of them are behind it, durable or not.
    pub behind: u64,
    /// Records in a second, since its workers began; none while nothing was done.
    pub speed: Option<f64>,
    /// How long it will take, in milliseconds, at that speed; none if that can't be told.
    pub left_ms: Option<u64>,
    /// What becomes of the records at each target.
    pub targets: Vec<TargetStatus>,
}

/// A run at one of its targets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetStatus {
    /// Which.
    pub target: Target,
    /// Records of the run's ranges.
    pub records: u64,
    /// What came of them so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many are known to be durable.
    pub durable: u64,
    /// Whether nothing is left.
    pub done: bool,
    /// Per shard the range, and how far it is durable: first, next, end.
    pub shards: Vec<(ShardId, [u64; 3])>,
    /// Why it does not go on, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Node {
    pub(super) fn status_of_run(&self, run: &Run) -> RunStatus {
        let records: u64 = run.task.ranges.iter().map(|range| range.records()).sum();
        let shared = &self.replaying().shared;
        let now = self.env().elapsed();
        let mut speed = None;
        let mut targets = Vec::new();
        for (target, progress) in &run.progress {
            let standing = (!run.state.is_over()).then(|| shared.standing(&run.task.id, target)).flatten();
            let counts = standing.as_ref().map_or(progress.counts, |standing| standing.counts);
            if let Some(standing) = standing.as_ref().filter(|_| run.state == State::Running && !progress.done) {
                let since = now.saturating_sub(standing.started).as_secs_f64();
                let done = counts.behind().saturating_sub(standing.started_at);
                if since > 0.0 && done > 0 {
                    *speed.get_or_insert(0.0) += done as f64 / since;
                }
            }
            targets.push(TargetStatus {
                target: target.clone(),
                records,
                counts,
                durable: durable(run, progress),
                done: progress.done,
                shards: shards(run, progress),
                trouble: standing.and_then(|standing| standing.trouble),
            });
        }
        let behind: u64 = targets.iter().map(|target| target.counts.behind()).sum();
        let records = records * targets.len() as u64;
        let left = speed.filter(|_| run.state == State::Running).map(|speed| {
            let speed = run.rate.map_or(speed, |rate| speed.min(rate.per_second()));
            records.saturating_sub(behind) as f64 / speed.max(f64::MIN_POSITIVE)
        });
        let reason = match &run.state {
            State::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        RunStatus {
            id: run.task.id.clone(),
            stream: run.task.stream.clone(),
            from: run.task.origin,
            window: run.task.window,
            state: run.state.name(),
            reason,
            rate: run.rate,
            began_at: run.began_at,
            ended_at: run.ended_at,
            records,
            behind,
            speed,
            left_ms: left.and_then(|left| Duration::try_from_secs_f64(left).ok()).map(|left| left.as_millis() as u64),
            targets,
        }
    }
}

fn durable(run: &Run, progress: &Progress) -> u64 {
    let ranges = run.task.ranges.iter();
    ranges.map(|range| progress.next.get(&range.shard).map_or(0, |next| next.since(range.from))).sum()
}

fn shards(run: &Run, progress: &Progress) -> Vec<(ShardId, [u64; 3])> {
    let ranges = run.task.ranges.iter();
    let next = |range: &super::machine::ShardRange| progress.next.get(&range.shard).copied().unwrap_or(range.from);
    ranges.map(|range| (range.shard, [range.from.0, next(range).0, range.to.0])).collect()
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
        }
    }
}
