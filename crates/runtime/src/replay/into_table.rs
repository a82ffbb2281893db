//! A run into a table that a stream feeds, straight or by SQL.
//!
//! ```text
//! pages --event times--> decode, function --batch, place--> [applier] --told--> waiting --its commit--> noted
//! ```
//!
//! Invariants: rows and the run's place enter the table together; what is noted was committed before. A worker that ends in
//! good order has committed and noted all that it handed on; after a crash the table says where to go on, and what was
//! committed and not noted is counted as `untold`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use weir_table::SourceId;
use weir_types::{Hour, SequenceNumber};

use super::counts::Counts;
use super::machine::{Progress, ShardRange};
use super::pace::Pace;
use super::replaying::{Context, End, Waited};
use super::source::Read;
use super::times;
use crate::pipeline::{By, Into, Made, OnRepeat, Parts, Prepared, Preparer, SourceShard, Told, Work, chain};

/// What one page asks for, in bytes: as the pipeline's own reader.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How often what is durable is noted at most.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// How long the last commit is waited for before it is asked for again.
const COMMIT_PATIENCE: Duration = Duration::from_millis(500);

/// The way into a table.
#[derive(Clone)]
pub(super) struct TableWay {
    pub parts: Arc<Parts>,
    pub work: mpsc::WeakSender<Work>,
    pub commits: watch::Receiver<u64>,
}

/// A shard's part of the run.
struct Place {
    range: ShardRange,
    shard: SourceShard,
    source: SourceId,
    next: SequenceNumber,
}

/// What became of one page, once its commit is known.
struct Lot {
    place: usize,
    next: SequenceNumber,
    counts: Counts,
}

struct Worker<'a> {
    context: &'a Context,
    way: &'a TableWay,
    places: Vec<Place>,
    told: (mpsc::UnboundedSender<Told>, mpsc::UnboundedReceiver<Told>),
    /// Pages that the applier has not told of yet, in order.
    sent: VecDeque<(usize, Counts)>,
    /// Pages that are applied, and not committed yet.
    waiting: VecDeque<Lot>,
    durable: Progress,
    noted_at: Duration,
    is_noted: bool,
}

/// Why a page was not handed on.
enum NotSent {
    Stopped,
    Closed,
    Failed(String),
    /// It is tried again.
    Halt(Box<dyn std::error::Error + Send + Sync>),
}

/// Names a run's places in a table.
pub(super) fn source_id(id: &str, shard: &SourceShard) -> SourceId {
    SourceId::new(format!("replay/{id}/{}/{}", shard.stream.name(), shard.id))
}

/// Replays until all is durable, or the run is not under way any more.
pub(super) async fn run(context: &Context, way: &TableWay) -> End {
    let prepare = || Preparer::new(way.parts.clone()).map(|preparer| preparer.for_replay(&context.task.id));
    let mut preparer = match prepare() {
        Ok(preparer) => preparer,
        Err(error) => return End::Failed(error.to_string()),
    };
    let mut worker = Worker::new(context, way);
    let mut tries = 0;
    while let Some(place) = worker.next_place() {
        match worker.step(place, &mut preparer).await {
            Ok(()) => {
                tries = 0;
                context.live.set_trouble(None);
            }
            Err(NotSent::Stopped) => break,
            Err(NotSent::Closed) => return End::Closed,
            Err(NotSent::Failed(reason)) => {
                worker.settle_all().await;
                return End::Failed(reason);
            }
            // What was decoded is dropped with its decoder.
            Err(NotSent::Halt(error)) => {
                context.trouble(&*error, &mut tries).await;
                preparer = match prepare() {
                    Ok(preparer) => preparer,
                    Err(error) => return End::Failed(error.to_string()),
                };
            }
        }
        worker.settle(false).await;
    }
    worker.settle_all().await
}

impl<'a> Worker<'a> {
    fn new(context: &'a Context, way: &'a TableWay) -> Self {
        let mut durable = context.progress();
        let applied = way.parts.table.view().positions;
        let mut places = Vec::new();
        for range in &context.task.ranges {
            let shard = SourceShard {
                stream: context.stream.stream.clone(),
                id: range.shard,
                only: None,
                on_repeat: OnRepeat::Replace,
            };
            let source = source_id(&context.task.id, &shard);
            let noted = durable.next.get(&range.shard).copied().unwrap_or(range.from);
            // The table's word counts: it is one with the rows.
            let next = applied.get(&source).map_or(range.from, |next| SequenceNumber(*next)).max(range.from);
            durable.counts.untold += next.since(noted);
            durable.next.insert(range.shard, next);
            places.push(Place { range: *range, shard, source, next });
        }
        context.live.set_counts(durable.counts);
        Self {
            context,
            way,
            places,
            told: mpsc::unbounded_channel(),
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            durable,
            noted_at: context.env.elapsed(),
            is_noted: true,
        }
    }

    /// Returns the shard whose turn it is: the one that has come least far, so that event times stay close; none if all are done.
    fn next_place(&self) -> Option<usize> {
        let left = self.places.iter().enumerate().filter(|(_, place)| place.next < place.range.to);
        let share = |place: &Place| place.next.since(place.range.from) as f64 / place.range.records().max(1) as f64;
        left.min_by(|(_, a), (_, b)| share(a).total_cmp(&share(b))).map(|(index, _)| index)
    }

    /// Reads one page of a shard, makes its rows, and hands them to the applier.
    async fn step(&mut self, place: usize, preparer: &mut Preparer) -> Result<(), NotSent> {
        let context = self.context;
        let (range, from) = (self.places[place].range, self.places[place].next);
        let rate = context.rate();
        let read = context.source.read(&range, from, PAGE_BYTES, Pace::turn(rate)).await;
        let Read { page, lost } = match read {
            Ok(read) => read,
            Err(error) if error.is_for_good() => return Err(NotSent::Failed(chain(&error))),
            Err(error) => return Err(NotSent::Halt(Box::new(error))),
        };
        let next = page.end();
        if next <= from {
            // The range ends at what was there when it was fixed: there is nothing to wait for.
            let reason =
                format!("record {from} of shard {} is in the range of the run, and does not read", range.shard);
            return Err(NotSent::Failed(reason));
        }
        match context.wait_for_turn(rate, next.since(from)).await {
            Waited::Over => {}
            Waited::Changed => return Ok(()),
            Waited::Stopped => return Err(NotSent::Stopped),
        }
        let turn = context.while_running(context.shared.turns.acquire()).await.ok_or(NotSent::Stopped)?;
        let shard = &self.places[place].shard;
        let (window, time) = (&context.task.window, &context.time);
        let choose = |batch, places| match time {
            Some(time) => times::keep(window, time, batch, places),
            None => Ok((batch, places)),
        };
        let made =
            preparer.prepare_some(shard, &page, choose).await.map_err(|halt| NotSent::Halt(halt.to_string().into()))?;
        drop(turn);
        let counts = Counts {
            read: next.since(from) - lost,
            lost,
            passed_over: made.counts.others,
            dead_lettered: made.letters.len() as u64,
            ..Counts::default()
        };
        self.send(place, page.hour(), next, made, counts).await
    }

    async fn send(
        &mut self,
        place: usize,
        hour: Option<Hour>,
        next: SequenceNumber,
        made: Made,
        counts: Counts,
    ) -> Result<(), NotSent> {
        let by = By::Replay { source: self.places[place].source.clone(), told: self.told.0.clone() };
        let Made { rows, letters, counts: of_page } = made;
        let (from, on_repeat) = (self.places[place].next, OnRepeat::Replace);
        let prepared = Prepared { by, into: Into::Table, from, next, hour, counts: of_page, rows, letters, on_repeat };
        let work = self.way.work.upgrade().ok_or(NotSent::Closed)?;
        let sent = self.context.while_running(work.send(Work::Page(Box::new(prepared)))).await;
        sent.ok_or(NotSent::Stopped)?.map_err(|_| NotSent::Closed)?;
        self.sent.push_back((place, counts));
        self.places[place].next = next;
        Ok(())
    }

    /// Takes note of what was applied and committed meanwhile.
    async fn settle(&mut self, at_once: bool) {
        while let Ok(told) = self.told.1.try_recv() {
            // One is told for each that was sent, in order.
            let Some((place, mut counts)) = self.sent.pop_front() else { break };
            counts.rows += told.rows;
            counts.added += told.appended.added;
            counts.replaced += told.appended.replaced;
            counts.unchanged += told.appended.repeats;
            counts.refused += told.appended.refused.len() as u64;
            self.waiting.push_back(Lot { place, next: told.next, counts });
        }
        let positions = self.way.parts.table.positions();
        let committed = |place: &Place| positions.get(&place.source).copied().unwrap_or(0);
        while let Some(lot) = self.waiting.pop_front_if(|lot| committed(&self.places[lot.place]) >= lot.next.0) {
            self.durable.counts.merge(&lot.counts);
            self.durable.next.insert(self.places[lot.place].range.shard, lot.next);
            self.is_noted = false;
        }
        let mut counts = self.durable.counts;
        self.waiting.iter().for_each(|lot| counts.merge(&lot.counts));
        self.context.live.set_counts(counts);
        let now = self.context.env.elapsed();
        if !self.is_noted && (at_once || now.saturating_sub(self.noted_at) >= NOTE_EVERY) {
            self.context.note(self.durable.clone()).await;
            self.is_noted = true;
            self.noted_at = now;
        }
    }

    /// Waits until all that was handed on is durable, and notes it.
    async fn settle_all(&mut self) -> End {
        let mut commits = self.way.commits.clone();
        loop {
            commits.mark_unchanged();
            self.settle(false).await;
            if self.sent.is_empty() && self.waiting.is_empty() {
                break;
            }
            let Some(work) = self.way.work.upgrade() else { return End::Closed };
            if work.send(Work::Commit).await.is_err() {
                return End::Closed;
            }
            drop(work);
            // An error says that the applier has ended, which the next round finds.
            let _ = self.context.env.within(COMMIT_PATIENCE, commits.changed()).await;
        }
        let done = self.next_place().is_none();
        if done {
            let ends: BTreeMap<_, _> = self.places.iter().map(|place| (place.range.shard, place.range.to)).collect();
            self.durable = Progress { next: ends, done: true, ..self.durable.clone() };
            self.is_noted = false;
        }
        self.settle(true).await;
        if done { End::Done } else { End::Stopped }
    }
}
