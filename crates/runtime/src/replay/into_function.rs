//! A run into a handler, or into SQL that writes to streams and queues: records are given to the function, and the run is done
//! when everything that was made of them is where it goes.
//!
//! ```text
//! pages --event times--> `_replay-function-NAME` (key: ID SHARD NEXT) --> function --> `_replayed-NAME` --+--> tables
//!                                                                                                       +--> streams, queues
//! ```
//!
//! Invariants: one run at a time gives to a function, so that the last key says how far that run came; before another one
//! begins to give, that is noted in the machine. Counts of what the function made are those since the worker began, and what a
//! crash takes of the last seconds is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_log::AppendError;
use weir_machine::Owner;
use weir_schema::ColumnDecoder;
use weir_stream::{Checkpoints, Lot, Page, Shard, Stream};
use weir_table::SourceId;
use weir_types::{SequenceNumber, ShardId};

use super::counts::Counts;
use super::into_table::TableWay;
use super::machine::{Progress, ShardRange};
use super::pace::Pace;
use super::replaying::{Context, End, Waited};
use super::source::Read;
use super::target::Target;
use super::times;
use crate::function::{Counts as FunctionCounts, OpenFunction, REPLAY_SHARD, Replay, consumer};
use crate::pipeline::{Parts, Work, chain};
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// What one page asks for, in bytes: well below what one append takes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Records that the function may be behind what it is given.
const AHEAD_RECORDS: u64 = 20_000;
/// How often what was given is noted at most.
const NOTE_EVERY: Duration = Duration::from_secs(2);
/// How often the way of what was made is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The way into a function.
#[derive(Clone)]
pub(super) struct FunctionWay {
    pub function: Arc<OpenFunction>,
    pub stream: Arc<OpenStream>,
    pub catalog: Catalog,
    pub checkpoints: Owner<Checkpoints>,
    /// The tables that it writes to.
    pub tables: Vec<TableWay>,
    /// The streams that it writes to, each with the tables that read it.
    pub behind: Vec<(Arc<Stream>, Vec<TableWay>)>,
}

/// Why a page was not given.
enum NotGiven {
    Stopped,
    Closed,
    Failed(String),
    Halt(Box<dyn std::error::Error + Send + Sync>),
}

/// What a record's key says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: String,
    shard: ShardId,
    /// The first record of the shard behind it.
    next: SequenceNumber,
}

impl Key {
    fn write(&self) -> Vec<u8> {
        format!("{} {} {}", self.id, self.shard, self.next).into_bytes()
    }

    fn read(key: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(key).ok()?.split(' ');
        let (id, shard, next) = (parts.next()?, parts.next()?, parts.next()?);
        let (shard, next) = (ShardId(shard.parse().ok()?), SequenceNumber(next.parse().ok()?));
        Some(Self { id: id.to_owned(), shard, next })
    }
}

struct Giver<'a> {
    context: &'a Context,
    way: &'a FunctionWay,
    replay: &'a Replay,
    progress: Progress,
    /// What was counted before this worker, and how the function's own counters stood when it began.
    before: Counts,
    began: (FunctionCounts, [u64; 4]),
    given: Counts,
    noted_at: Duration,
}

/// Replays until all is durable, or the run is not under way any more.
pub(super) async fn run(context: &Context, way: &FunctionWay) -> End {
    let Some(replay) = &way.function.replay else {
        return End::Failed(format!("{} is on no stream", context.target));
    };
    context.live.set_trouble(Some("it waits for another replay to this function".to_owned()));
    let Some(_turn) = context.while_running(replay.turn.lock()).await else { return End::Stopped };
    context.live.set_trouble(None);
    let mut tries = 0;
    let mut giver = loop {
        match Giver::new(context, way, replay).await {
            Ok(giver) => break giver,
            Err(error) if context.is_running() => context.trouble(&error, &mut tries).await,
            Err(_) => return End::Stopped,
        }
    };
    while let Some(range) = giver.next_range() {
        match giver.step(&range).await {
            Ok(()) => {
                tries = 0;
                context.live.set_trouble(None);
            }
            Err(NotGiven::Stopped) => {
                giver.note().await;
                return End::Stopped;
            }
            Err(NotGiven::Closed) => return End::Closed,
            Err(NotGiven::Failed(reason)) => {
                giver.note().await;
                return End::Failed(reason);
            }
            Err(NotGiven::Halt(error)) => context.trouble(&*error, &mut tries).await,
        }
    }
    giver.finish().await
}

impl<'a> Giver<'a> {
    async fn new(context: &'a Context, way: &'a FunctionWay, replay: &'a Replay) -> Result<Self, weir_log::ReadError> {
        let last = last_key(&replay.feed.shards()[REPLAY_SHARD.0 as usize]).await?;
        if let Some(last) = last.as_ref().filter(|last| last.id != context.task.id) {
            note_other(context, last).await;
        }
        let mut progress = context.progress();
        let mut untold = 0;
        for range in &context.task.ranges {
            let noted = progress.next.get(&range.shard).copied().unwrap_or(range.from);
            let given = last.as_ref().filter(|last| last.id == context.task.id).map_or(noted, |last| {
                // Shards are given one after the other.
                match range.shard.cmp(&last.shard) {
                    std::cmp::Ordering::Less => range.to,
                    std::cmp::Ordering::Equal => last.next,
                    std::cmp::Ordering::Greater => noted,
                }
            });
            let next = given.max(noted);
            untold += next.since(noted);
            progress.next.insert(range.shard, next);
        }
        progress.counts.untold += untold;
        let before = progress.counts;
        let began = (replay.counters.get(), way.rows());
        let given = Counts::default();
        let noted_at = context.env.elapsed();
        Ok(Self { context, way, replay, progress, before, began, given, noted_at })
    }

    fn next_range(&self) -> Option<ShardRange> {
        let mut ranges: Vec<ShardRange> = self.context.task.ranges.clone();
        ranges.sort_by_key(|range| range.shard);
        ranges.into_iter().find(|range| self.next_of(range) < range.to)
    }

    fn next_of(&self, range: &ShardRange) -> SequenceNumber {
        self.progress.next.get(&range.shard).copied().unwrap_or(range.from)
    }

    /// Gives one page.
    async fn step(&mut self, range: &ShardRange) -> Result<(), NotGiven> {
        let context = self.context;
        self.wait_for_room().await?;
        let from = self.next_of(range);
        let rate = context.rate();
        let Read { page, lost } = match context.source.read(range, from, PAGE_BYTES, Pace::turn(rate)).await {
            Ok(read) => read,
            Err(error) if error.is_for_good() => return Err(NotGiven::Failed(chain(&error))),
            Err(error) => return Err(NotGiven::Halt(Box::new(error))),
        };
        let next = page.end();
        if next <= from {
            let reason =
                format!("record {from} of shard {} is in the range of the run, and does not read", range.shard);
            return Err(NotGiven::Failed(reason));
        }
        match context.wait_for_turn(rate, next.since(from)).await {
            Waited::Over => {}
            Waited::Changed => return Ok(()),
            Waited::Stopped => return Err(NotGiven::Stopped),
        }
        let wanted = self.wanted(&page).await?;
        let mut lot = Lot::default();
        let (mut given, mut passed_over) = (0, 0);
        for (index, record) in page.records().enumerate() {
            let record = record.map_err(|error| NotGiven::Halt(Box::new(error)))?;
            if wanted.as_ref().is_some_and(|wanted| !wanted[index]) {
                passed_over += 1;
                continue;
            }
            let key = Key { id: context.task.id.clone(), shard: range.shard, next: record.sequence + 1 };
            lot.push(record.fingerprint, &key.write(), record.body);
            given += 1;
        }
        if given > 0 {
            self.append(lot).await?;
        }
        let read = next.since(from) - lost;
        self.given.merge(&Counts { read, passed_over, lost, ..Counts::default() });
        self.progress.next.insert(range.shard, next);
        context.live.set_counts(self.counts());
        if context.env.elapsed().saturating_sub(self.noted_at) >= NOTE_EVERY {
            self.note().await;
        }
        Ok(())
    }

    /// Stores what is given: a log that is busy or full is waited for.
    async fn append(&self, lot: Lot) -> Result<(), NotGiven> {
        let lot = lot.seal();
        loop {
            match self.replay.feed.append(REPLAY_SHARD, &lot).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Closed) => return Err(NotGiven::Closed),
                Err(AppendError::Busy { .. }) => self.context.env.sleep(self.context.env.jitter(BUSY_PAUSE)).await,
                Err(error) => return Err(NotGiven::Halt(Box::new(error))),
            }
        }
    }

    /// Says which records' event times are meant; none if all are. A record that can't be decoded is given: the function finds
    /// out why.
    async fn wanted(&self, page: &Page) -> Result<Option<Vec<bool>>, NotGiven> {
        let Some(time) = &self.context.time else { return Ok(None) };
        let context = self.context;
        let _turn = context.while_running(context.shared.turns.acquire()).await.ok_or(NotGiven::Stopped)?;
        let halt = |error: String| NotGiven::Halt(error.into());
        let mut decoder = ColumnDecoder::new(&self.way.stream.schema).map_err(|error| halt(error.to_string()))?;
        let mut decoded = Vec::new();
        for record in page.records() {
            let record = record.map_err(|error| halt(error.to_string()))?;
            let schema = weir_schema::Lookup::by_fingerprint(&self.way.catalog, record.fingerprint);
            decoded.push(schema.is_some_and(|schema| decoder.push(&schema, record.body).is_ok()));
        }
        if !decoded.contains(&true) {
            return Ok(None);
        }
        let batch = decoder.flush().map_err(|error| halt(error.to_string()))?;
        let times = times::of(&batch, time).map_err(|error| halt(error.to_string()))?;
        let mut within = times::within(&context.task.window, &times).into_iter();
        Ok(Some(decoded.into_iter().map(|decoded| !decoded || within.next().unwrap_or(true)).collect()))
    }

    /// Waits until the function has worked off enough of what it was given.
    async fn wait_for_room(&self) -> Result<(), NotGiven> {
        let Some(mut next) = self.way.function.replayed() else { return Err(NotGiven::Closed) };
        let tail = self.replay.feed.shards()[REPLAY_SHARD.0 as usize].bounds().tail;
        let room = next.wait_for(|next| tail.since(next.unwrap_or_default()) <= AHEAD_RECORDS);
        match self.context.while_running(room).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => Err(NotGiven::Closed),
            None => Err(NotGiven::Stopped),
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = self.before;
        counts.merge(&self.given);
        let (made, lettered) = {
            let (now, before) = (self.replay.counters.get(), self.began.0);
            (now.made - before.made, now.dead_lettered - before.dead_lettered)
        };
        let rows = self.way.rows();
        let since = |index: usize| rows[index] - self.began.1[index];
        counts.merge(&Counts {
            rows: made,
            dead_lettered: lettered,
            added: since(0),
            replaced: since(1),
            unchanged: since(2),
            refused: since(3),
            ..Counts::default()
        });
        counts
    }

    async fn note(&mut self) {
        self.progress.counts = self.counts();
        self.context.live.set_counts(self.progress.counts);
        self.context.note(self.progress.clone()).await;
        self.noted_at = self.context.env.elapsed();
    }

    /// Waits until what was made of all records is where it goes.
    async fn finish(&mut self) -> End {
        let feed = self.replay.feed.shards()[REPLAY_SHARD.0 as usize].bounds().tail;
        let worked = match self.way.function.replayed() {
            Some(mut next) => {
                let all = next.wait_for(|next| next.unwrap_or_default() >= feed);
                self.context.while_running(all).await.map(|all| all.is_ok())
            }
            None => Some(false),
        };
        match worked {
            Some(true) => {}
            Some(false) => return End::Closed,
            None => {
                self.note().await;
                return End::Stopped;
            }
        }
        let made = self.replay.made.shards()[REPLAY_SHARD.0 as usize].bounds().tail;
        let mut streams: Option<Vec<(SourceId, u64)>> = None;
        loop {
            if self.way.has_arrived(self.replay, made) {
                // Where the streams end now, they have all of it.
                let ends = streams.get_or_insert_with(|| self.way.ends());
                if self.way.is_committed(ends) {
                    break;
                }
            }
            self.context.live.set_counts(self.counts());
            // Places alone would wait for long.
            self.way.ask_for_commits();
            if self.context.while_running(self.context.env.sleep(LOOK_EVERY)).await.is_none() {
                self.note().await;
                return End::Stopped;
            }
        }
        self.progress.done = true;
        self.note().await;
        End::Done
    }
}

impl FunctionWay {
    /// Tells whether all that was made before a place is carried on, and committed by the tables.
    fn has_arrived(&self, replay: &Replay, made: SequenceNumber) -> bool {
        let log = replay.made.shards()[REPLAY_SHARD.0 as usize].log().name().clone();
        let name = consumer(self.function.plan.name.as_str());
        let carried = self.checkpoints.read(|all| all.get(&name, &log)).map_or(0, |at| at.next.0);
        let source = SourceId::new(log.as_str());
        let committed = |way: &TableWay| way.parts.table.positions().get(&source).copied().unwrap_or(0);
        carried >= made.0 && self.tables.iter().all(|way| committed(way) >= made.0)
    }

    fn all_tables(&self) -> impl Iterator<Item = &TableWay> {
        self.behind.iter().flat_map(|(_, tables)| tables).chain(&self.tables)
    }

    /// Asks the tables to commit what they have. One that is busy has its own reasons to.
    fn ask_for_commits(&self) {
        for way in self.all_tables().filter(|way| way.parts.table.pending().moved) {
            if let Some(work) = way.work.upgrade() {
                // A channel that is full brings rows, and these a commit.
                let _ = work.try_send(Work::Commit);
            }
        }
    }

    /// Returns where the streams that it writes to end.
    fn ends(&self) -> Vec<(SourceId, u64)> {
        let shards = self.behind.iter().flat_map(|(stream, _)| stream.shards());
        shards.map(|shard| (SourceId::new(shard.log().name().as_str()), shard.bounds().tail.0)).collect()
    }

    /// Tells whether the tables that read those streams have committed up to these places.
    fn is_committed(&self, ends: &[(SourceId, u64)]) -> bool {
        self.behind.iter().flat_map(|(_, tables)| tables).all(|way| {
            let parts = &way.parts;
            let positions = parts.table.positions();
            let reads = |source: &SourceId| parts.sources.iter().any(|shard| shard.source() == *source);
            let read = ends.iter().filter(|(source, _)| reads(source));
            read.into_iter().all(|(source, end)| positions.get(source).copied().unwrap_or(0) >= *end)
        })
    }

    /// Counts of the tables' rows that replaced: added, replaced, unchanged, refused.
    fn rows(&self) -> [u64; 4] {
        let sum = |counter: fn(&Parts) -> &AtomicU64| {
            self.all_tables().map(|way| counter(&way.parts).load(Ordering::Relaxed)).sum()
        };
        [
            sum(|parts| &parts.replayed.added),
            sum(|parts| &parts.replayed.replaced),
            sum(|parts| &parts.replayed.unchanged),
            sum(|parts| &parts.replayed.refused),
        ]
    }
}

/// Notes how far another run came, before what says so is no longer the last.
async fn note_other(context: &Context, last: &Key) {
    let Target::Function(_) = &context.target else { return };
    let known = context.owner.read(|replays| {
        let run = replays.get(&last.id).filter(|run| !run.state.is_over())?;
        Some((run.task.ranges.clone(), run.progress.get(&context.target)?.clone()))
    });
    let Some((ranges, mut progress)) = known else { return };
    for range in ranges {
        let noted = progress.next.get(&range.shard).copied().unwrap_or(range.from);
        let given = match range.shard.cmp(&last.shard) {
            std::cmp::Ordering::Less => range.to,
            std::cmp::Ordering::Equal => last.next,
            std::cmp::Ordering::Greater => noted,
        };
        let next = given.max(noted);
        progress.counts.untold += next.since(noted);
        progress.next.insert(range.shard, next);
    }
    let command = super::machine::Command::Note { id: last.id.clone(), target: context.target.clone(), progress };
    if let Err(error) = context.shared.submit(&context.owner, command).await {
        tracing::warn!(replay = last.id, %error, "how far a replay has come was not stored");
    }
}

/// Finds who gave last, and how far that was.
async fn last_key(shard: &Shard) -> Result<Option<Key>, weir_log::ReadError> {
    let page = match shard.read_last().await {
        Ok(page) => page,
        // What the machine knows counts then: the last seconds may be given once more.
        Err(weir_log::ReadError::Lost { .. } | weir_log::ReadError::Damaged { .. }) => {
            tracing::error!(log = %shard.log().name(), "the last replayed records are lost: some may be replayed twice");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let last = page.records().filter_map(Result::ok).last();
    Ok(last.and_then(|record| Key::read(record.key?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_and_how_far() {
        let key = Key { id: "replay-0af3".to_owned(), shard: ShardId(3), next: SequenceNumber(77) };
        assert_eq!(Key::read(&key.write()), Some(key));
        assert_eq!(Key::read(b"17 stream/a/0@3>table/b"), None);
        assert_eq!(Key::read(b""), None);
    }
}
