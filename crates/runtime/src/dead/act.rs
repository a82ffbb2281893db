//! Deciding about letters: to send them on once more, or to drop them.
//!
//! ```text
//! turn --> find open letters, oldest first --> prepare each --> one append of the actions --> wait for the carrier
//!                                                 |
//!                                                 +-- can't go on: counted and named, stays open
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;
use weir_log::AppendError;

use super::DEAD_LETTERS;
use super::action::Action;
use super::actions::Turn;
use super::cursor::{Cursor, Order};
use super::edit::Edit;
use super::filter::{self, Filter, State};
use super::find::FindError;
use super::prepare::{Held, Preparer};
use super::rows::{Columns, LetterRow};
use super::way::{Targets, Way, way_of};
use crate::node::Node;

/// Letters of one call.
pub const LETTERS_MAX: usize = 500;
/// Payloads of one call, in bytes: less than one append holds.
const PAYLOADS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Actions of one call, in bytes: one append holds 8 MiB. Edits may make letters longer than they were.
const ACTIONS_BYTES_MAX: usize = 6 * 1024 * 1024;
/// The longest name of a run, in bytes.
const RUN_BYTES_MAX: usize = 128;
/// How long a call waits for the one before it.
const TURN_PATIENCE: Duration = Duration::from_secs(60);
/// How long a call waits for its letters to be at their targets.
const CARRY_PATIENCE: Duration = Duration::from_secs(10);

/// Which letters a call is about. Calls that go on where the last one ended are one run.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Which letters; of these, those that are open.
    pub filter: Filter,
    /// Says that a filter that leaves out nothing is meant.
    pub all: bool,
    /// How many, at most [`LETTERS_MAX`].
    pub limit: usize,
    /// Where the last call ended.
    pub after: Option<Cursor>,
    /// The run's name; made if there is none.
    pub run: Option<String>,
}

/// What came of a call.
#[derive(Debug, Clone, Serialize)]
pub struct Acted {
    /// The run's name, which the letters have in `dead_letter_actions`.
    pub run: String,
    /// Letters that were sent on, or dropped.
    pub count: u64,
    /// Letters that can't be sent on. They are still open.
    pub refused: Vec<RefusedLetter>,
    /// Letters that are sent on for sure, and were not at their targets yet when this was written.
    pub on_the_way: u64,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Where to go on, if there are more letters.
    #[serde(serialize_with = "text")]
    pub next: Option<Cursor>,
}

fn text<S: serde::Serializer>(next: &Option<Cursor>, serializer: S) -> Result<S::Ok, S::Error> {
    next.as_ref().map(ToString::to_string).serialize(serializer)
}

/// A letter that was not sent on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedLetter {
    /// Its id.
    pub id: String,
    /// Why, in words.
    pub reason: String,
}

/// Why a call came to nothing. Nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No filter and no word that all are meant.
    #[error(
        "no filter says which dead letters are meant: name a condition, a cause, a target, a source or ids, or say that all are"
    )]
    Unfiltered,
    /// The run's name.
    #[error("a run's name has 1 to {RUN_BYTES_MAX} printable bytes")]
    Run,
    /// The letters were not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The edit does not fit a letter. No letter of the call was sent on.
    #[error("the edit does not fit dead letter `{letter}`: {reason}")]
    Edit {
        /// The letter's id.
        letter: String,
        /// Why, in words, with the field.
        reason: String,
    },
    /// Another call is at it.
    #[error("another redrive or drop has not ended within {}: try again", weir_types::span::display(TURN_PATIENCE))]
    Busy,
    /// The log did not take the decision.
    #[error("store what was decided about dead letters")]
    Append(#[from] AppendError),
}

/// What a call has found: letters with where they go, and whether there are more.
struct Picked {
    letters: Vec<LetterRow>,
    until: weir_types::Timestamp,
    more: bool,
}

impl Node {
    /// Sends open letters on once more, the one that failed first, first. What fails again is a new letter.
    ///
    /// The letters are sent on exactly once, also over a crash, when this has returned; dropping the future may or may not
    /// have decided about all letters of the call. A letter is sent on by one call alone. Those that can't be sent on are
    /// named, and stay open.
    ///
    /// # Errors
    /// See [`ActError`]: nothing was decided then.
    pub async fn redrive(&self, batch: &Batch, edit: Option<&Edit>) -> Result<Acted, ActError> {
        let (turn, run) = self.begin(batch).await?;
        let mut picked = self.pick(batch).await?;
        let targets = Targets::of(self);
        let ways: Vec<Result<Way, String>> = picked.letters.iter().map(way_of).collect();
        let wanted = picked.letters.iter().zip(&ways).enumerate();
        let wanted = wanted.filter(|(_, (_, way))| way.is_ok()).map(|(index, (letter, _))| (letter.id.clone(), index));
        let payloads = self.payloads(wanted.collect()).await?;
        if let Some(cut) = payloads.cut {
            picked.letters.truncate(cut);
            picked.more = true;
        }
        let mut preparer = Preparer::new(self.registry(), &targets, edit);
        let (mut actions, mut refused) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut cut = None;
        for (index, (letter, way)) in picked.letters.iter().zip(ways).enumerate() {
            let prepared = match (way, payloads.by_index.get(&index)) {
                (Ok(way), Some(payload)) => preparer.prepare(letter, &way, payload),
                (Ok(_), None) => Err(Held::Stays("its payload is not in the table".to_owned())),
                (Err(reason), _) => Err(Held::Stays(reason)),
            };
            match prepared {
                Ok(onward) => {
                    let action = self.action(letter, &run, Some(onward));
                    bytes += action.bytes();
                    if bytes > ACTIONS_BYTES_MAX && !actions.is_empty() {
                        cut = Some(index);
                        break;
                    }
                    actions.push(action);
                }
                Err(Held::Stays(reason)) => refused.push(RefusedLetter { id: letter.id.clone(), reason }),
                Err(Held::Edit(reason)) => return Err(ActError::Edit { letter: letter.id.clone(), reason }),
            }
        }
        if let Some(cut) = cut {
            picked.letters.truncate(cut);
            picked.more = true;
        }
        self.decide(turn, run, actions, refused, &picked).await
    }

    /// Gives open letters up for good, the one that failed first, first. They stay in the table, with what was decided.
    ///
    /// # Errors
    /// See [`ActError`]: nothing was decided then.
    pub async fn drop_letters(&self, batch: &Batch) -> Result<Acted, ActError> {
        let (turn, run) = self.begin(batch).await?;
        let picked = self.pick(batch).await?;
        let actions = picked.letters.iter().map(|letter| self.action(letter, &run, None)).collect();
        self.decide(turn, run, actions, Vec::new(), &picked).await
    }

    async fn begin(&self, batch: &Batch) -> Result<(Turn, String), ActError> {
        if batch.filter.is_all() && !batch.all {
            return Err(ActError::Unfiltered);
        }
        let run = batch.run.clone().unwrap_or_else(|| format!("run-{:016x}", self.env().random()));
        if run.is_empty() || run.len() > RUN_BYTES_MAX || run.chars().any(char::is_control) {
            return Err(ActError::Run);
        }
        let turn = self.env().within(TURN_PATIENCE, self.actions().turn()).await.ok_or(ActError::Busy)?;
        Ok((turn, run))
    }

    /// Finds the letters. What was decided until now is in the table: the query waits for it.
    async fn pick(&self, batch: &Batch) -> Result<Picked, FindError> {
        let limit = batch.limit.clamp(1, LETTERS_MAX);
        let filter = Filter { state: State::Open, ..batch.filter.clone() };
        let until = batch.after.as_ref().map_or_else(|| self.env().now(), |after| after.until);
        let mut letters = self.find(&filter, batch.after.as_ref(), Order::OldestFirst, limit + 1).await?;
        let more = letters.len() > limit;
        letters.truncate(limit);
        Ok(Picked { letters, until, more })
    }

    fn action(&self, letter: &LetterRow, run: &str, onward: Option<super::action::Onward>) -> Action {
        Action { id: letter.id.clone(), at: self.env().now(), run: run.to_owned(), onward }
    }

    async fn decide(
        &self,
        turn: Turn,
        run: String,
        actions: Vec<Action>,
        refused: Vec<RefusedLetter>,
        picked: &Picked,
    ) -> Result<Acted, ActError> {
        let next = picked.letters.last().filter(|_| picked.more).map(|last| Cursor::behind(last, picked.until));
        let mut acted = Acted { run, count: actions.len() as u64, refused, on_the_way: 0, trouble: None, next };
        if actions.is_empty() {
            return Ok(acted);
        }
        let redriven = actions.iter().filter(|action| action.onward.is_some()).count() as u64;
        let behind = self.actions().decide(self.env(), turn, &actions).await?;
        tracing::info!(run = acted.run, letters = acted.count, redriven, "dead letters were decided about");
        if redriven > 0 {
            let mut carried = self.actions().carried.subscribe();
            let arrived = self.env().within(CARRY_PATIENCE, carried.wait_for(|carried| *carried >= behind)).await;
            if !matches!(arrived, Some(Ok(_))) {
                acted.on_the_way = redriven;
                acted.trouble = self.actions().trouble();
            }
        }
        Ok(acted)
    }

    /// Reads payloads by their letters' ids and places in the order of the call, as many from the first on as may be held.
    async fn payloads(&self, wanted: HashMap<String, usize>) -> Result<Payloads, FindError> {
        let mut payloads = Payloads { by_index: BTreeMap::new(), cut: None };
        if wanted.is_empty() {
            return Ok(payloads);
        }
        let ids: Vec<String> = wanted.keys().cloned().collect();
        let sql = format!("select id, payload from {DEAD_LETTERS} where id in ({})", filter::ids(&ids)?);
        let mut answer = self.query(&sql).await?;
        let mut bytes = 0;
        while let Some(batch) = answer.next().await {
            let batch = batch?;
            let columns = Columns(&batch);
            for row in 0..batch.num_rows() {
                let id = columns.text("id", row)?.unwrap_or_default();
                let Some(index) = wanted.get(&id).filter(|index| payloads.cut.is_none_or(|cut| **index < cut)) else {
                    continue;
                };
                let payload = columns.bytes("payload", row)?.unwrap_or_default().to_vec();
                bytes += payload.len();
                payloads.by_index.insert(*index, payload);
                // The last in order makes room, so that what stays is a beginning.
                while bytes > PAYLOADS_BYTES_MAX && payloads.by_index.len() > 1 {
                    let Some((last, payload)) = payloads.by_index.pop_last() else { break };
                    bytes -= payload.len();
                    payloads.cut = Some(last);
                }
            }
        }
        Ok(payloads)
    }
}

struct Payloads {
    by_index: BTreeMap<usize, Vec<u8>>,
    /// The first letter whose payload was not held.
    cut: Option<usize>,
}
