//! What the shards have stored: summed up by whoever reads a block first, booked every few seconds.
//!
//! ```text
//! book's end --+-- counted, not booked yet --+-- next: not counted
//!              |        (in memory)          |
//!   a crash begins here again                first reader's blocks are taken from here on, others' are known
//! ```
//!
//! Invariant: what is counted of a shard is one range without gaps, from where its book ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use weir_ledger::{Booked, Command, Ledger, ShardHour, Streamed};
use weir_log::ReadError;
use weir_machine::Owner;
use weir_stream::{BlockError, Page, Shard, digest};
use weir_types::{Hour, LogName, SequenceNumber, Tally};

use super::Books;

/// What one read asks for when nobody else reads a shard, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Shards of one command.
const SHARDS_BOOKED_AT_ONCE: usize = 256;

/// What is counted of one shard.
#[derive(Debug, Default)]
struct Counted {
    /// Where the book ends.
    booked: u64,
    /// What is counted from there.
    next: u64,
    hours: BTreeMap<Hour, ShardHour>,
    /// Where `next` was at the last round.
    seen: u64,
}

/// What is counted of all shards, and not booked yet.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    counted: Mutex<BTreeMap<LogName, Counted>>,
}

/// Why a shard could not be counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CountError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    Submit(#[from] weir_machine::SubmitError),
}

impl Shards {
    pub fn new(owner: &Owner<Ledger>) -> Self {
        let of = |next: u64| Counted { booked: next, next, seen: next, ..Counted::default() };
        let counted =
            owner.read(|ledger| ledger.shards.iter().map(|(log, book)| (log.clone(), of(book.next))).collect());
        Self { counted: Mutex::new(counted) }
    }

    /// Counts what of a page was not counted before. A page that begins behind that is left to the next round.
    ///
    /// # Errors
    /// If a block breaks the format.
    pub fn note(&self, shard: &Shard, page: &Page) -> Result<(), BlockError> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let log = shard.log().name();
        if !counted.contains_key(log) {
            let head = shard.bounds().head.0;
            counted.insert(log.clone(), Counted { booked: head, next: head, seen: head, hours: BTreeMap::new() });
        }
        let Some(of) = counted.get_mut(log) else { return Ok(()) };
        for head in page.heads() {
            let head = head?;
            let (first, end) = (head.first.0, head.end.0);
            if end <= of.next {
                continue;
            }
            if first > of.next {
                return Ok(());
            }
            let sum = match head.sum.filter(|_| first == of.next) {
                Some(sum) => sum,
                // A block of an older weir, or one that was counted in part: record by record.
                None => {
                    let within = |sequence: SequenceNumber| sequence.0 >= of.next && sequence < head.end;
                    let mut sum = 0u128;
                    for record in page.records() {
                        let record = record?;
                        if within(record.sequence) {
                            sum = sum.wrapping_add(digest(record.body));
                        }
                    }
                    sum
                }
            };
            let tally = Tally { count: end - of.next, sum };
            let more = ShardHour::of(of.next, end, tally);
            let hour = Hour::of(head.arrived_at);
            of.hours.entry(hour).or_insert(ShardHour::of(of.next, of.next, Tally::default())).extend(more);
            of.next = end;
        }
        Ok(())
    }

    /// Notes that records are gone.
    fn lost(&self, log: &LogName, to: u64, now: Hour) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = counted.get_mut(log).filter(|of| of.next < to) else { return };
        // They have no time any more: they are put with what came before them.
        let hour = of.hours.keys().next_back().copied().unwrap_or(now);
        let more = ShardHour { first: of.next, end: to, tally: Tally::default(), lost: to - of.next };
        of.hours.entry(hour).or_insert(ShardHour::of(of.next, of.next, Tally::default())).extend(more);
        of.next = to;
    }

    /// Returns where counting has come to.
    fn next(&self, shard: &Shard) -> u64 {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.get(shard.log().name()).map_or_else(|| shard.bounds().head.0, |of| of.next)
    }

    /// Returns the first record that is not booked: it must not be forgotten yet.
    pub fn booked(&self, log: &LogName) -> Option<SequenceNumber> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.get(log).map(|of| SequenceNumber(of.booked))
    }

    /// Tells whether nobody has counted a shard's new records since the last round.
    fn stands_still(&self, shard: &Shard) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = shard.bounds().tail.0;
        match counted.get_mut(shard.log().name()) {
            Some(of) => {
                let still = of.next == of.seen && of.next < tail;
                of.seen = of.next;
                still
            }
            None => tail > shard.bounds().head.0,
        }
    }

    fn take(&self) -> Vec<Streamed> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let new = counted.iter_mut().filter(|(_, of)| of.next > of.booked).take(SHARDS_BOOKED_AT_ONCE);
        new.map(|(log, of)| {
            let hours = std::mem::take(&mut of.hours).into_iter().collect();
            Streamed { log: log.clone(), from: of.booked, to: of.next, hours }
        })
        .collect()
    }

    /// Takes back what could not be booked.
    fn put_back(&self, taken: Vec<Streamed>) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for streamed in taken {
            let Some(of) = counted.get_mut(&streamed.log) else { continue };
            for (hour, mut before) in streamed.hours {
                if let Some(after) = of.hours.remove(&hour) {
                    before.extend(after);
                }
                of.hours.insert(hour, before);
            }
        }
    }

    fn settle(&self, booked: &[(LogName, u64)]) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (log, to) in booked {
            if let Some(of) = counted.get_mut(log) {
                of.booked = *to;
            }
        }
    }

    fn rewound(&self, log: &LogName, tail: u64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.insert(log.clone(), Counted { booked: tail, next: tail, seen: tail, hours: BTreeMap::new() });
    }
}

impl Books {
    /// Compares a shard's log with its book when it is opened: a log that ends earlier has lost records.
    pub async fn open_shard(&self, shard: &Shard) -> Result<(), weir_machine::SubmitError> {
        let log = shard.log().name();
        let tail = shard.bounds().tail.0;
        if self.shards.booked(log).is_some_and(|booked| booked.0 > tail) {
            tracing::error!(%log, tail, "the log ends before what is in the ledger's books: records are gone");
            self.submit(Command::Rewound { log: log.clone(), tail }).await?;
            self.shards.rewound(log, tail);
        }
        Ok(())
    }

    /// Counts what nobody has counted of a shard.
    pub(super) async fn count(&self, shard: &Shard) -> Result<(), CountError> {
        loop {
            let from = self.shards.next(shard);
            // What comes in meanwhile is for the next time.
            if from >= shard.bounds().tail.0 {
                return Ok(());
            }
            match shard.read(SequenceNumber(from), PAGE_BYTES).await {
                Ok(page) if page.is_empty() => return Ok(()),
                Ok(page) => self.shards.note(shard, &page)?,
                Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. }) if to.0 > from => {
                    self.shards.lost(shard.log().name(), to.0, Hour::of(self.env.now()));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts a shard if whoever reads it does not.
    pub(super) async fn count_if_still(&self, shard: &Shard) -> Result<(), CountError> {
        if self.shards.stands_still(shard) { self.count(shard).await } else { Ok(()) }
    }

    /// Books what is counted.
    pub(super) async fn book_shards(&self) -> Result<(), CountError> {
        loop {
            let taken = self.shards.take();
            if taken.is_empty() {
                return Ok(());
            }
            let ends: Vec<(LogName, u64)> = taken.iter().map(|shard| (shard.log.clone(), shard.to)).collect();
            match self.submit(Command::Streamed(taken.clone())).await {
                Ok(Booked::Taken) => self.shards.settle(&ends),
                Ok(Booked::Stale) => {
                    // A defect; what is in the books is right, and what was counted beside it is counted anew.
                    tracing::error!(?ends, "what was counted does not follow the books");
                    let books = self.read(|ledger| {
                        ends.iter()
                            .filter_map(|(log, _)| Some((log.clone(), ledger.shards.get(log)?.next)))
                            .collect::<Vec<_>>()
                    });
                    books.iter().for_each(|(log, next)| self.shards.rewound(log, *next));
                    return Ok(());
                }
                Err(error) => {
                    self.shards.put_back(taken);
                    return Err(error.into());
                }
            }
        }
    }
}
