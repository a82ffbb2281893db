//! One turn of a queue's owner: what is decided together, stored in one append, and answered when that is durable.
//!
//! Decisions see those before them in the same turn: the state has them already, and gives them up if the append fails.

use std::time::Duration;

use weir_types::{SequenceNumber, Timestamp};

use crate::command::{Command, Writer};
use crate::entry::{Entry, NONE, Phase};
use crate::error::ReceiptError;
use crate::id::{MessageId, ReceiptHandle};
use crate::limits::{IN_FLIGHT_FIFO_MAX, IN_FLIGHT_MAX};
use crate::message::{Sent, SentOnce, Stamp};
use crate::record::Key;
use crate::settings::{DeadLetterTo, Settings};
use crate::state::{At, Kind, State};

/// Messages that become ready, or are found to be too old, in one step.
const STEP_MAX: usize = 10_000;

/// A message that is ready to be stored.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub record: Vec<u8>,
    pub key: Option<Key>,
    /// None: now.
    pub sent_at: Option<Timestamp>,
    pub delay: Duration,
}

/// A message that was taken, with all that its receiver needs but the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub number: u64,
    pub place: u64,
    pub id: MessageId,
    pub receives: u32,
    pub sent_at: i64,
    pub first_received: i64,
    /// Of a transfer.
    pub transfer: u64,
}

impl Taken {
    pub(crate) fn new(state: &State, entry: &Entry) -> Self {
        Self {
            number: entry.number,
            place: entry.place,
            id: state.id(entry.number),
            receives: entry.receives,
            sent_at: entry.sent_at,
            first_received: entry.first_received,
            transfer: if entry.phase.is_transfer() { entry.visible_at as u64 } else { 0 },
        }
    }
}

/// What was done, to be counted once it is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub sent: u64,
    pub received: u64,
    pub deleted: u64,
    pub dead_lettered: u64,
    pub expired: u64,
}

/// A turn in the making.
#[derive(Debug)]
pub(crate) struct Turn {
    pub now: i64,
    pub writer: Writer,
    pub tally: Tally,
    /// Producers whose stamps have changed.
    pub stamped: Vec<String>,
    /// More is due than fits into this turn.
    pub more: bool,
}

impl Turn {
    pub(crate) fn new(now: i64, tail: u64) -> Self {
        let (tally, stamped) = (Tally::default(), Vec::new());
        Self { now, writer: Writer::new(now, tail), tally, stamped, more: false }
    }

    /// Applies a command and writes it down.
    pub(crate) fn store(&mut self, state: &mut State, command: &Command<'_>) {
        let at = At { time: self.now, block: self.writer.block_first(), place: self.writer.place() };
        state.apply(at, command).expect("a record that this queue has written reads");
        self.writer.put(command);
    }

    /// Makes ready what time has made ready, and gives up what was received too often.
    pub(crate) fn due(&mut self, state: &mut State, settings: &Settings) {
        state.repeats.forget_until(self.now);
        let receives_max = settings.dead_letter.as_ref().map_or(u32::MAX, |dead_letter| dead_letter.max_receives);
        let (numbers, more) = state.due(self.now, STEP_MAX, |entry| entry.receives >= receives_max);
        self.more |= more;
        if numbers.is_empty() {
            return;
        }
        self.tally.dead_lettered += numbers.len() as u64;
        let command = match settings.dead_letter.as_ref().map(|dead_letter| &dead_letter.to) {
            Some(DeadLetterTo::Queue(_)) => {
                Command::Transfer { phase: Phase::Dead, first: state.next_transfer, numbers }
            }
            _ => Command::Exhaust { numbers },
        };
        self.store(state, &command);
    }

    /// Stores messages, those that repeat one of the last five minutes excepted.
    pub(crate) fn send(&mut self, state: &mut State, stamp: Option<&Stamp>, messages: &[Outgoing]) -> SentOnce {
        if let Some(Stamp { producer, number }) = stamp {
            if state.stamps.get(producer.as_str()).is_some_and(|last| *number <= last.number) {
                return SentOnce::Repeated;
            }
            self.store(state, &Command::Stamp { producer, number: *number });
            self.stamped.push(producer.clone());
        }
        let sent = messages.iter().map(|message| self.send_one(state, message)).collect();
        SentOnce::Stored(sent)
    }

    fn send_one(&mut self, state: &mut State, message: &Outgoing) -> Sent {
        let first = message.key.as_ref().and_then(|key| state.repeats.find(key));
        let number = first.unwrap_or_else(|| {
            let number = self.writer.place();
            let visible_at = Timestamp(self.now).after(message.delay).0;
            let sent_at = message.sent_at.map_or(self.now, |sent_at| sent_at.0);
            self.store(state, &Command::Message { sent_at, visible_at, record: &message.record });
            self.tally.sent += 1;
            number
        });
        Sent { id: state.id(number), sequence: SequenceNumber(number) }
    }

    /// Returns how many more messages may be in flight.
    pub(crate) fn room(state: &State) -> usize {
        let max = if state.kind() == Kind::Fifo { IN_FLIGHT_FIFO_MAX } else { IN_FLIGHT_MAX };
        max.saturating_sub(usize::try_from(state.counts.in_flight).unwrap_or(usize::MAX))
    }

    /// Takes up to `max` ready messages, and deletes those that it finds to be too old.
    pub(crate) fn receive(
        &mut self,
        state: &mut State,
        settings: &Settings,
        max: usize,
        hidden_for: Duration,
    ) -> Vec<Taken> {
        let until = Timestamp(self.now).after(hidden_for).0;
        let max = max.min(Self::room(state));
        let (mut taken, mut old) = (Vec::new(), Vec::new());
        while taken.len() < max {
            let Some(mut slot) = state.next_ready() else { break };
            let group = state.slab.at(slot).group;
            // A FIFO queue gives what a group has in order; a standard one looks whose turn it is for each message.
            while slot != NONE && taken.len() < max {
                let entry = *state.slab.at(slot);
                if entry.phase != Phase::Ready {
                    break;
                }
                if entry.expires_at(settings.retention) <= self.now {
                    old.push(entry.number);
                    state.remove(slot);
                    break;
                }
                state.receive(slot, self.now, until);
                taken.push(Taken::new(state, state.slab.at(slot)));
                slot = if state.kind() == Kind::Fifo { entry.in_group.next } else { NONE };
            }
            state.served(group);
            if old.len() >= STEP_MAX {
                self.more = true;
                break;
            }
        }
        if !taken.is_empty() {
            self.tally.received += taken.len() as u64;
            self.writer.put(&Command::Lease { until, numbers: taken.iter().map(|taken| taken.number).collect() });
        }
        if !old.is_empty() {
            self.tally.expired += old.len() as u64;
            self.writer.put(&Command::Delete { numbers: old });
        }
        taken
    }

    /// Finds the message of a receipt, if that is of its last lease.
    fn leased(state: &State, receipt: &ReceiptHandle) -> Result<Option<u32>, ReceiptError> {
        let (number, lease) = receipt.read(state.identity())?;
        let Some(slot) = state.find(number) else { return Ok(None) };
        let entry = state.slab.at(slot);
        // What is given up belongs to the dead letters.
        if entry.receives != lease || !entry.phase.is_queued() {
            return Err(ReceiptError::Replaced);
        }
        Ok(Some(slot))
    }

    /// Deletes messages by their receipts. One that is gone already is as good as deleted.
    pub(crate) fn delete(&mut self, state: &mut State, receipts: &[ReceiptHandle]) -> Vec<Result<(), ReceiptError>> {
        let mut numbers = Vec::with_capacity(receipts.len());
        let outcomes = receipts
            .iter()
            .map(|receipt| {
                if let Some(slot) = Self::leased(state, receipt)? {
                    numbers.push(state.slab.at(slot).number);
                    state.remove(slot);
                }
                Ok(())
            })
            .collect();
        self.note_deleted(numbers);
        outcomes
    }

    fn note_deleted(&mut self, numbers: Vec<u64>) {
        if !numbers.is_empty() {
            self.tally.deleted += numbers.len() as u64;
            self.writer.put(&Command::Delete { numbers });
        }
    }

    /// Deletes messages by their ids, whoever holds them; those on their way elsewhere excepted.
    pub(crate) fn settle(&mut self, state: &mut State, ids: &[MessageId]) {
        let mut numbers = Vec::with_capacity(ids.len());
        for id in ids {
            let found = state.find_id(*id).and_then(|number| state.find(number));
            let Some(slot) = found.filter(|slot| !state.slab.at(*slot).phase.is_transfer()) else { continue };
            numbers.push(state.slab.at(slot).number);
            state.remove(slot);
        }
        self.note_deleted(numbers);
    }

    /// Changes how long from now messages stay hidden.
    pub(crate) fn hide(
        &mut self,
        state: &mut State,
        changes: &[(ReceiptHandle, Duration)],
    ) -> Vec<Result<(), ReceiptError>> {
        changes
            .iter()
            .map(|(receipt, hidden_for)| {
                let slot = Self::leased(state, receipt)?.ok_or(ReceiptError::Replaced)?;
                let entry = state.slab.at(slot);
                if entry.phase != Phase::Leased || entry.visible_at <= self.now {
                    return Err(ReceiptError::NotInFlight);
                }
                let until = Timestamp(self.now).after(*hidden_for).0.min(entry.hidden_until_max());
                let numbers = vec![entry.number];
                self.store(state, &Command::Hide { until, numbers });
                Ok(())
            })
            .collect()
    }

    /// Takes leases back that nobody has seen: the message, and the lease's number.
    pub(crate) fn take_back(&mut self, state: &mut State, leases: &[(u64, u32)]) {
        let is_held = |(number, lease): &&(u64, u32)| {
            let entry = state.find(*number).map(|slot| state.slab.at(slot));
            entry.is_some_and(|entry| entry.phase == Phase::Leased && entry.receives == *lease)
        };
        let numbers: Vec<u64> = leases.iter().filter(is_held).map(|(number, _)| *number).collect();
        if !numbers.is_empty() {
            self.store(state, &Command::Return { numbers });
        }
    }

    /// Ends all leases now, whoever has them. Receives stay counted.
    pub(crate) fn take_back_all(&mut self, state: &mut State) {
        let (numbers, _) = state.sweep(0, u32::MAX, |entry| entry.phase == Phase::Leased);
        if !numbers.is_empty() {
            self.store(state, &Command::Hide { until: self.now, numbers });
        }
    }

    /// Takes ready messages for a move; those that are not ready any more are passed over.
    pub(crate) fn take_for_move(&mut self, state: &mut State, numbers: &[u64]) -> Vec<Taken> {
        let ready = |number: &u64| {
            let slot = state.find(*number)?;
            (state.slab.at(slot).phase == Phase::Ready).then_some(*number)
        };
        let numbers: Vec<u64> = numbers.iter().filter_map(ready).collect();
        if numbers.is_empty() {
            return Vec::new();
        }
        let first = state.next_transfer;
        self.store(state, &Command::Transfer { phase: Phase::Moving, first, numbers: numbers.clone() });
        let slots = numbers.iter().filter_map(|number| state.find(*number));
        slots.map(|slot| Taken::new(state, state.slab.at(slot))).collect()
    }

    /// Forgets transfers.
    pub(crate) fn forget(&mut self, state: &mut State, transfers: Vec<u64>) {
        let known = |transfer: &u64| state.dead.contains_key(transfer) || state.moving.contains_key(transfer);
        let transfers: Vec<u64> = transfers.into_iter().filter(known).collect();
        if !transfers.is_empty() {
            self.store(state, &Command::Forget { transfers });
        }
    }

    /// Deletes messages that have grown too old, unless that has changed since they were found.
    pub(crate) fn expire(&mut self, state: &mut State, settings: &Settings, numbers: &[u64]) {
        let old = |number: &u64| {
            let entry = state.slab.at(state.find(*number)?);
            (entry.phase.is_queued() && entry.expires_at(settings.retention) <= self.now).then_some(*number)
        };
        let numbers: Vec<u64> = numbers.iter().filter_map(old).collect();
        if !numbers.is_empty() {
            self.tally.expired += numbers.len() as u64;
            self.store(state, &Command::Delete { numbers });
        }
    }
}
