//! The task of one block: look, claim, hand on, done; then wait for the next look.
//!
//! ```text
//! +--> open claim? --yes--> hand on --> done --+
//! |        |                                   |
//! |        +--no--> look --> claim the first --+
//! |                   |
//! +------- wait <-----+ nothing is ready
//! ```
//!
//! Whatever fails is tried again with longer and longer pauses, and is said in the status until it succeeds. A file that
//! can't be read although its store answers is given up after [`TRIES_MAX`] tries, and becomes a dead letter.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashSet;
use weir_config::FilesStart;
use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_queue::SendError;
use weir_types::{FilesName, Timestamp};

use super::hints::Hints;
use super::look::{Found, Looks};
use super::machine::{CLAIM_OBJECTS_MAX, Claim, Command, Fate, Files, MARKS_MAX};
use super::object::{Mark, Object};
use super::place::{Place, PlaceError};
use super::records::{HandOnError, Records, Tries};
use super::reference::Reference;
use crate::pipeline::chain;

const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Tries of a claim until a file that can't be read is given up: some minutes.
const TRIES_MAX: u32 = 10;
/// Bytes of small files that share a claim.
const PACK_BYTES: u64 = 1024 * 1024;
/// A file with more than this has a claim of its own.
const SMALL_BYTES: u64 = 256 * 1024;
/// How long an object must be gone until it is forgotten: a store that shows less for a while makes nothing new.
const GONE_FOR: Duration = Duration::from_secs(24 * 3600);
/// Marks that are forgotten after one look.
const FORGOTTEN_MAX: usize = 16 * MARKS_MAX;

/// What is made of files.
pub(crate) enum Way {
    Reference(Reference),
    Records(Records),
}

/// What a block says of itself, beside what its machine knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub seen: u64,
    pub waiting: u64,
    pub last_look: Option<Timestamp>,
    pub trouble: Option<String>,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    HandOn(#[from] HandOnError),
}

impl RoundError {
    /// Tells whether this node is done with it: it closes, or somebody else owns the machine.
    fn is_final(&self) -> bool {
        match self {
            Self::Submit(SubmitError::Closed { .. } | SubmitError::Fenced { .. }) => true,
            Self::Send(error) => error.is_closed(),
            _ => false,
        }
    }
}

/// One block, as its task sees it.
pub(crate) struct Sweep {
    pub env: Env,
    pub files: FilesName,
    pub place: Arc<Place>,
    pub start: FilesStart,
    pub every: Duration,
    pub way: Way,
    pub owner: Owner<Files>,
    pub seen: Arc<Mutex<Seen>>,
    pub looks: Looks,
    pub ready: VecDeque<Object>,
    /// The claim that is tried, and how often it was.
    pub tried: Option<(u64, u32)>,
    /// The claim that was open when the task began, if one was.
    pub resumed: Option<u64>,
    /// Marks that were missing at a look, and when that was.
    pub absent: Option<(Duration, HashSet<Mark>)>,
    /// The next look is to compare all marks.
    pub compare: bool,
    pub hints: Arc<Hints>,
    /// What the next look is to be at; none: everything.
    pub hinted: Option<BTreeSet<String>>,
    /// Paths that had not settled at a look at some.
    pub unsettled: BTreeSet<String>,
    /// The last hint that the next look follows.
    pub hint: u64,
    /// When the next look at everything is due.
    pub full_at: Duration,
    /// How long the last look at everything took.
    pub took: Duration,
}

impl Sweep {
    /// Notes which claim was begun before.
    pub fn take_up(&mut self) {
        self.resumed = self.open_claim().map(|claim| claim.number);
    }

    /// Runs until the node closes.
    pub async fn run(mut self) {
        self.take_up();
        let mut pause = RETRY;
        loop {
            match self.round().await {
                Ok(wait) => {
                    self.say(|seen| seen.trouble = None);
                    pause = RETRY;
                    if let Some(wait) = wait {
                        self.wait(wait).await;
                    }
                }
                Err(error) if error.is_final() => return,
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(files = %self.files, error, "files can't be taken now, which is tried again");
                    self.say(|seen| seen.trouble = Some(error));
                    self.env.sleep(self.env.jitter(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn say(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn open_claim(&self) -> Option<Claim> {
        self.owner.read(|files| files.block(&self.files).and_then(|block| block.claim.clone()))
    }

    /// Hands a claim on, or looks; returns how long to wait, none if there is more to do.
    pub(super) async fn round(&mut self) -> Result<Option<Duration>, RoundError> {
        if let Some(claim) = self.open_claim() {
            self.hand_on(claim).await?;
            return Ok(None);
        }
        if !self.ready.is_empty() {
            let objects = pack(&mut self.ready, self.way.packing());
            let waiting = self.ready.len();
            match self.owner.submit(Command::Claim { files: self.files.clone(), objects: objects.clone() }).await {
                Ok(_) => tracing::debug!(files = %self.files, objects = objects.len(), left = waiting, "claimed"),
                Err(error) => {
                    // They are found again by the next look.
                    self.ready.clear();
                    return Err(error.into());
                }
            }
            return Ok(None);
        }
        if !self.has_begun() {
            self.begin().await?;
        }
        match self.hinted.take() {
            Some(paths) => self.look_at(paths).await,
            None => self.look().await,
        }
    }

    /// Waits for the next look, or for hints; then it is known what the next look is to be at.
    pub(super) async fn wait(&mut self, wait: Duration) {
        let hints = self.hints.clone();
        tokio::select! {
            () = self.env.sleep(wait) => {}
            () = hints.noted() => {}
        }
        let mut taken = hints.take();
        if taken.all {
            // Looking at everything is not all that is done, however often it is asked for.
            let rest = self.took.max(RETRY).min(self.full_at.saturating_sub(self.env.elapsed()));
            self.env.sleep(rest).await;
            taken.last = taken.last.max(hints.take().last);
        }
        self.hint = taken.last;
        let mut paths = std::mem::take(&mut self.unsettled);
        paths.extend(taken.paths);
        let full = taken.all || self.env.elapsed() >= self.full_at;
        self.hinted = (!full).then_some(paths);
    }

    /// Looks at some paths.
    async fn look_at(&mut self, paths: BTreeSet<String>) -> Result<Option<Duration>, RoundError> {
        let (found, unsettled) = match self.looks.look_at(&self.place, &self.owner, paths.clone()).await {
            Ok(looked) => looked,
            Err(error) => {
                self.hinted = Some(paths);
                return Err(error.into());
            }
        };
        self.ready = found.ready.into();
        if !self.ready.is_empty() {
            // When these are taken, there may be nothing left to look at before everything is.
            self.hinted = Some(unsettled);
            return Ok(None);
        }
        self.unsettled = unsettled;
        self.hints.follow(self.hint);
        let rest = self.full_at.saturating_sub(self.env.elapsed());
        Ok(Some(found.settles_in.map_or(rest, |settles_in| settles_in.min(rest))))
    }

    fn has_begun(&self) -> bool {
        self.owner.read(|files| files.block(&self.files).is_some_and(|block| block.begun))
    }

    /// Before the first look that takes anything: passes over what is there, if that is asked for.
    async fn begin(&mut self) -> Result<(), RoundError> {
        if self.start == FilesStart::New {
            let marks = match self.looks.marks(&self.place).await {
                Ok(marks) => marks,
                // Whatever will be in a folder that is not there yet comes later.
                Err(PlaceError::NoFolder { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(files = %self.files, passed = marks.len(), "what is there already is passed over");
            for marks in marks.chunks(MARKS_MAX) {
                let (files, marks) = (self.files.clone(), marks.to_vec());
                self.owner.submit(Command::Pass { files, marks }).await?;
            }
        }
        self.owner.submit(Command::Begin { files: self.files.clone() }).await?;
        Ok(())
    }

    pub(super) async fn look(&mut self) -> Result<Option<Duration>, RoundError> {
        let began = self.env.elapsed();
        let mut found = self.looks.look(&self.place, &self.owner, self.compare).await?;
        let took = self.env.elapsed().saturating_sub(began);
        self.took = took;
        let now = self.env.now();
        self.say(|seen| {
            seen.seen = found.seen;
            seen.waiting = found.waiting;
            seen.last_look = Some(now);
        });
        self.forget(&mut found).await?;
        self.ready = std::mem::take(&mut found.ready).into();
        if !self.ready.is_empty() {
            return Ok(None);
        }
        self.hints.follow(self.hint);
        // What may have settled is looked at soon, but never so often that looking is all that is done.
        let soon = found.settles_in.map_or(self.every, |settles_in| settles_in.max(took));
        let wait = soon.min(self.every);
        self.full_at = self.env.elapsed() + wait;
        Ok(Some(wait))
    }

    /// Drops the marks of what has been gone for long.
    async fn forget(&mut self, found: &mut Found) -> Result<(), RoundError> {
        let now = self.env.elapsed();
        let Some(listed) = found.marks.take() else {
            let missing = self.owner.read(|files| files.block(&self.files).map_or(0, |block| block.marks.len()));
            // A place that shows nothing may just not be what it was.
            let due = match &self.absent {
                None => found.known < missing as u64,
                Some((since, _)) => now.saturating_sub(*since) >= GONE_FOR,
            };
            self.compare = due && found.seen > 0;
            return Ok(());
        };
        self.compare = false;
        let marks = self.owner.read(|files| files.block(&self.files).map(|block| block.marks.clone()));
        let mut absent = marks.unwrap_or_default();
        absent.retain(|mark| !listed.contains(mark));
        let long_gone = match &self.absent {
            Some((since, before)) if now.saturating_sub(*since) >= GONE_FOR => {
                absent.iter().filter(|mark| before.contains(*mark)).take(FORGOTTEN_MAX).copied().collect()
            }
            _ => Vec::new(),
        };
        for marks in long_gone.chunks(MARKS_MAX) {
            self.owner.submit(Command::Forget { files: self.files.clone(), marks: marks.to_vec() }).await?;
        }
        if long_gone.len() == FORGOTTEN_MAX {
            // The next look goes on.
            self.compare = true;
            return Ok(());
        }
        for mark in &long_gone {
            absent.remove(mark);
        }
        self.absent = (!absent.is_empty()).then_some((now, absent));
        Ok(())
    }

    async fn hand_on(&mut self, claim: Claim) -> Result<(), RoundError> {
        let number = claim.number;
        let tries = match self.tried {
            Some((tried, tries)) if tried == number => tries,
            _ => 0,
        };
        self.tried = Some((number, tries + 1));
        let resumed = self.resumed == Some(number);
        let fates = match &self.way {
            Way::Reference(reference) => {
                reference.hand_on(&self.place, &claim).await?;
                vec![Fate::Taken; claim.objects.len()]
            }
            Way::Records(records) => {
                // Records of a file that was half read may be stored: with others in one claim, it can't be left out.
                let alone = claim.objects.len() == 1;
                let give_up = alone && tries >= TRIES_MAX && self.place.answers(&self.env).await;
                let tries = Tries { again: resumed || tries > 0, give_up };
                records.hand_on(&self.place, &claim, tries).await?
            }
        };
        self.owner.submit(Command::Done { files: self.files.clone(), number, fates }).await?;
        self.tried = None;
        Ok(())
    }
}

/// Which files share a claim.
#[derive(Debug, Clone, Copy)]
struct Packing {
    /// Bytes of files together.
    bytes_max: u64,
    /// A file with more than this is alone.
    alone_above: u64,
}

impl Way {
    fn packing(&self) -> Packing {
        match self {
            // Nothing of them is read.
            Self::Reference(_) => Packing { bytes_max: u64::MAX, alone_above: u64::MAX },
            Self::Records(_) => Packing { bytes_max: PACK_BYTES, alone_above: SMALL_BYTES },
        }
    }
}

/// Takes the objects of the next claim.
fn pack(ready: &mut VecDeque<Object>, packing: Packing) -> Vec<Object> {
    let mut taken: Vec<Object> = Vec::new();
    let mut bytes: u64 = 0;
    while let Some(next) = ready.front() {
        let alone = next.bytes > packing.alone_above;
        bytes = bytes.saturating_add(next.bytes);
        let fits = taken.len() < CLAIM_OBJECTS_MAX && !alone && bytes <= packing.bytes_max;
        if !(fits || taken.is_empty()) {
            break;
        }
        taken.extend(ready.pop_front());
        if alone {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod packing {
    use weir_types::Timestamp;

    use super::*;

    #[test]
    fn small_files_share_a_claim_and_large_ones_do_not() {
        let object = |bytes| Object { modified: Timestamp(0), path: String::new(), bytes, etag: None, version: None };
        let mut ready: VecDeque<Object> = [4, 4, 4, 11, 1, 9, 2].map(object).into();
        let mut claims = Vec::new();
        while !ready.is_empty() {
            let taken = pack(&mut ready, Packing { bytes_max: 10, alone_above: 9 });
            claims.push(taken.iter().map(|object| object.bytes).collect::<Vec<_>>());
        }
        assert_eq!(claims, [vec![4, 4], vec![4], vec![11], vec![1, 9], vec![2]]);
        let mut many: VecDeque<Object> = (0..300).map(|_| object(u64::MAX)).collect();
        let whole = Packing { bytes_max: u64::MAX, alone_above: u64::MAX };
        assert_eq!(pack(&mut many, whole).len(), CLAIM_OBJECTS_MAX);
        assert_eq!(many.len(), 300 - CLAIM_OBJECTS_MAX);
    }
}
