//! What each call means.

use std::sync::Arc;

use weir_log::AppendError;
use weir_types::{SequenceNumber, Timestamp};

use super::{Answer, Ask, Call, Ended, Found, GivenUp, Leases, Owner, Space};
use crate::command::{Carried, Command};
use crate::entry::Phase;
use crate::error::{QueueError, ReceiveError};
use crate::settings::Settings;
use crate::snapshot::{Cursor, Globals, PART_SLOTS, encode_part};
use crate::state::PRODUCERS_MAX;
use crate::turn::{Taken, Turn};

/// Messages of one answer that lists some.
const LISTED_MAX: usize = 10_000;

/// Stamps that are written again in one append.
const REFRESHED_MAX: usize = 5000;

impl Call {
    /// Tells whether it needs a turn of its own: it can't be taken back, or looks at the whole state.
    pub(super) fn is_alone(&self) -> bool {
        matches!(
            self,
            Self::Purge { .. } | Self::Carry { .. } | Self::Refresh { .. } | Self::Globals { .. } | Self::Part { .. }
        )
    }
}

impl Owner {
    /// Answers once the turn is durable.
    fn later<T: Send + 'static, E: From<QueueError> + Send + 'static>(&mut self, answer: Answer<T, E>, value: T) {
        self.replies.push(Box::new(move |durable| {
            let _ = answer.send(durable.map(|()| value).map_err(|error| error.clone().into()));
        }));
    }

    pub(super) fn decide(&mut self, turn: &mut Turn, settings: &Arc<Settings>, call: Call) {
        let state = &mut self.state;
        match call {
            Call::Send { stamp, messages, answer } => {
                let is_new = |producer: &str| !state.stamps.contains_key(producer);
                if state.stamps.len() >= PRODUCERS_MAX && stamp.as_ref().is_some_and(|stamp| is_new(&stamp.producer)) {
                    let what = format!("one more producer, and {PRODUCERS_MAX} are known");
                    let source = AppendError::Limit { log: self.shared.log.name().clone(), what };
                    let _ = answer.send(Err(QueueError::Append { queue: self.shared.name.clone(), source }.into()));
                    return;
                }
                let sent = turn.send(state, stamp.as_ref(), &messages);
                self.later(answer, sent);
            }
            Call::Receive(ask) => {
                self.serve(turn, settings);
                self.receive(turn, settings, ask);
            }
            Call::Delete { receipts, answer } => {
                let outcomes = turn.delete(state, &receipts);
                self.later(answer, outcomes);
            }
            Call::Hide { changes, answer } => {
                let outcomes = turn.hide(state, &changes);
                self.later(answer, outcomes);
            }
            Call::Settle { ids, answer } => {
                turn.settle(state, &ids);
                self.later(answer, ());
            }
            Call::TakeBack { answer } => {
                turn.take_back_all(state);
                self.later(answer, ());
            }
            // The turn is looked at when it is durable.
            Call::GivenUp { which, max, answer } if which == GivenUp::Moving => {
                let taken = self.given_up(which, max);
                self.later(answer, taken);
            }
            Call::GivenUp { which, max, answer } => self.watchers.push((which, max, answer)),
            Call::TakeForMove { numbers, answer } => {
                let taken = turn.take_for_move(state, &numbers);
                self.later(answer, taken);
            }
            Call::Forget { transfers, answer } => {
                turn.forget(state, transfers);
                self.later(answer, ());
            }
            Call::AtPlaces { places, anywhere, answer } => {
                let found = self.at_places(&places, anywhere);
                self.later(answer, found);
            }
            Call::Locate { numbers, answer } => {
                let slots = numbers.iter().filter_map(|number| state.find(*number));
                let found = slots.map(|slot| Taken::new(state, state.slab.at(slot))).collect();
                self.later(answer, found);
            }
            Call::Placed { from, to, max, answer } => {
                let placed = state.placed(from, to, max);
                self.later(answer, placed);
            }
            Call::Sweep { from, count, answer } => {
                let now = turn.now;
                let old = |entry: &crate::entry::Entry| entry.expires_at(settings.retention) <= now;
                let mut numbers = state.oldest(LISTED_MAX, old);
                let (found, next) = state.sweep(from, count, old);
                numbers.extend(found);
                numbers.sort_unstable();
                numbers.dedup();
                turn.expire(state, settings, &numbers);
                self.later(answer, next);
            }
            Call::Space { answer } => {
                let tail = self.next;
                let kept = [state.first_place(), state.repeats.first_place()];
                let first_place = kept.into_iter().flatten().min().unwrap_or(tail);
                let space = Space { tail, first_place, bytes: state.bytes };
                self.later(answer, space);
            }
            Call::Wake => {}
            // Those that are alone don't come here, and a close is looked for before.
            Call::Purge { .. }
            | Call::Carry { .. }
            | Call::Refresh { .. }
            | Call::Globals { .. }
            | Call::Part { .. }
            | Call::Close { .. } => {}
        }
    }

    /// Does what can't be taken back, or looks at the whole state.
    pub(super) async fn alone(&mut self, now: i64, call: Call) -> Ended {
        let stored = match call {
            Call::Purge { answer } => {
                let outcome = self.purge(now).await;
                answered(answer, outcome)
            }
            Call::Carry { records, answer } => {
                let outcome = self.carry(now, &records).await;
                answered(answer, outcome)
            }
            Call::Refresh { below, answer } => {
                let outcome = self.refresh(now, below).await;
                answered(answer, outcome)
            }
            Call::Globals { answer } => {
                let first = Cursor { slot: 0, generation: self.state.generation };
                let _ = answer.send(Ok((Globals::of(&self.state, SequenceNumber(self.next)), first)));
                Ok(())
            }
            Call::Part { cursor, answer } => {
                let _ = answer.send(self.part(cursor));
                Ok(())
            }
            _ => Ok(()),
        };
        match stored {
            Err(QueueError::Closed { .. }) => Ended::Stops,
            _ => Ended::Goes,
        }
    }

    async fn purge(&mut self, now: i64) -> Result<(), QueueError> {
        let before = self.state.counts;
        let commands = [Command::Purge { before: self.next }];
        self.store_then_apply(now, &commands).await?;
        if let Some(retired) = self.state.retired.take() {
            // It may be large, and takes as long to drop.
            tokio::task::spawn_blocking(move || drop(retired));
        }
        let deleted = before.ready + before.in_flight + before.delayed;
        self.publish(crate::turn::Tally { deleted, ..Default::default() }, &[]);
        Ok(())
    }

    /// Copies to the log's end what still lies where it was read.
    async fn carry(&mut self, now: i64, records: &[(u64, u64, bytes::Bytes)]) -> Result<(), QueueError> {
        let state = &self.state;
        let commands: Vec<Command<'_>> = records
            .iter()
            .filter_map(|(number, place, record)| {
                let entry = state.slab.at(state.find(*number)?);
                let state = Carried {
                    number: entry.number,
                    sent_at: entry.sent_at,
                    visible_at: entry.visible_at,
                    first_received: entry.first_received,
                    last_received_s: entry.last_received_s,
                    delay_s: entry.delay_s,
                    receives: entry.receives,
                    phase: entry.phase,
                };
                (entry.place == *place).then_some(Command::Carry { state, record })
            })
            .collect();
        self.store_then_apply(now, &commands).await
    }

    /// Writes again what stands below a place and is no message.
    async fn refresh(&mut self, now: i64, below: u64) -> Result<(), QueueError> {
        let old: Vec<(Box<str>, u64)> = self
            .state
            .stamps
            .iter()
            .filter(|(_, last)| last.place < below)
            .map(|(producer, last)| (producer.clone(), last.number))
            .collect();
        let counter = [Command::Counter { next_transfer: self.state.next_transfer }];
        self.store_then_apply(now, &counter).await?;
        for some in old.chunks(REFRESHED_MAX) {
            let commands: Vec<Command<'_>> =
                some.iter().map(|(producer, number)| Command::Stamp { producer, number: *number }).collect();
            self.store_then_apply(now, &commands).await?;
        }
        Ok(())
    }

    fn part(&self, cursor: Cursor) -> Result<(crate::snapshot::Part, Option<Cursor>), QueueError> {
        let end = cursor.slot.saturating_add(PART_SLOTS).min(self.state.slab.slots());
        if cursor.generation != self.state.generation {
            return Ok((Vec::new(), None));
        }
        let part = encode_part(&self.state, cursor.slot..end, self.next);
        let next = Cursor { slot: end, ..cursor };
        Ok((part, (end < self.state.slab.slots()).then_some(next)))
    }

    fn at_places(&self, places: &[(u64, u64)], anywhere: bool) -> Vec<Found> {
        let lies = |(number, place): &(u64, u64)| {
            let entry = self.state.slab.at(self.state.find(*number)?);
            let found = Found { taken: Taken::new(&self.state, entry), is_ready: entry.phase == Phase::Ready };
            (anywhere || entry.place == *place).then_some(found)
        };
        places.iter().filter_map(lies).collect()
    }

    /// Returns messages that are given up, by rising number.
    pub(super) fn given_up(&self, which: GivenUp, max: usize) -> Vec<Taken> {
        let state = &self.state;
        let max = max.min(LISTED_MAX);
        let numbers: Vec<u64> = match which {
            GivenUp::Exhausted => state.exhausted.iter().take(max).copied().collect(),
            GivenUp::Dead => state.dead.values().take(max).copied().collect(),
            GivenUp::Moving => state.moving.values().take(max).copied().collect(),
        };
        let slots = numbers.into_iter().filter_map(|number| state.find(number));
        slots.map(|slot| Taken::new(state, state.slab.at(slot))).collect()
    }

    /// Serves those who wait, in their order.
    pub(super) fn serve(&mut self, turn: &mut Turn, settings: &Arc<Settings>) {
        while let Some(ask) = self.waiting.pop_front() {
            if ask.answer.is_closed() {
                continue;
            }
            if self.state.next_ready().is_none() || turn.writer.bytes() > super::TURN_BYTES {
                self.more |= self.state.next_ready().is_some();
                self.waiting.push_front(ask);
                return;
            }
            let taken = turn.receive(&mut self.state, settings, ask.max, ask.hidden_for);
            if taken.is_empty() {
                // All that were there had grown too old, or as many are in flight as may be.
                self.waiting.push_front(ask);
                return;
            }
            self.hand_over(ask, taken);
        }
    }

    fn hand_over(&mut self, ask: Ask, taken: Vec<Taken>) {
        if let Some(attempt) = ask.attempt {
            let leases = taken.iter().map(|taken| (taken.number, taken.receives)).collect();
            self.attempted.push((attempt, leases));
        }
        let leases = Leases::new(taken, &self.back);
        let answer = ask.answer;
        self.replies.push(Box::new(move |durable| match durable {
            // Whoever has gone away meanwhile gets nothing: dropping the leases returns them.
            Ok(()) => drop(answer.send(Ok(leases))),
            Err(error) => {
                // Taken back with the turn.
                leases.keep();
                let _ = answer.send(Err(error.clone().into()));
            }
        }));
    }

    fn receive(&mut self, turn: &mut Turn, settings: &Arc<Settings>, ask: Ask) {
        if ask.answer.is_closed() {
            return;
        }
        if let Some(taken) = self.attempt_again(turn, &ask) {
            // Its first receiver may be there still: what is handed over twice is never returned by itself.
            return self.later(ask.answer, Leases::again(taken));
        }
        let is_behind = !self.waiting.is_empty();
        let taken =
            if is_behind { Vec::new() } else { turn.receive(&mut self.state, settings, ask.max, ask.hidden_for) };
        if !taken.is_empty() {
            return self.hand_over(ask, taken);
        }
        if Turn::room(&self.state) == 0 {
            let in_flight = usize::try_from(self.state.counts.in_flight).unwrap_or(usize::MAX);
            let _ = ask.answer.send(Err(ReceiveError::OverLimit { queue: self.shared.name.clone(), in_flight }));
        } else if ask.waits {
            if self.waiting.len() >= self.waiting_max {
                self.waiting.retain(|ask| !ask.answer.is_closed());
                self.waiting_max = super::WAITING_MIN.max(2 * self.waiting.len());
            }
            self.waiting.push_back(ask);
        } else {
            let nothing = Leases::new(Vec::new(), &self.back);
            self.later(ask.answer, nothing);
        }
    }

    /// Returns what an attempt got before, hidden anew, if nothing has happened to any of it.
    fn attempt_again(&mut self, turn: &mut Turn, ask: &Ask) -> Option<Vec<Taken>> {
        let leases = self.attempts.find(ask.attempt.as_deref()?, turn.now)?;
        let state = &self.state;
        let mut taken = Vec::with_capacity(leases.len());
        for (number, lease) in leases {
            let entry = state.slab.at(state.find(*number)?);
            if entry.phase != Phase::Leased || entry.receives != *lease || entry.visible_at <= turn.now {
                return None;
            }
            taken.push(Taken::new(state, entry));
        }
        let until = Timestamp(turn.now).after(ask.hidden_for).0;
        let numbers = taken.iter().map(|taken| taken.number).collect();
        turn.store(&mut self.state, &Command::Hide { until, numbers });
        Some(taken)
    }
}

/// Sends an answer and keeps its failure.
fn answered(answer: Answer<()>, outcome: Result<(), QueueError>) -> Result<(), QueueError> {
    let _ = answer.send(outcome.clone());
    outcome
}
