//! How decisions are taken back that the log refused, and made final when it has them.

use super::{LastStamp, State};
use crate::entry::{Entry, Phase};

/// What was before one step.
#[derive(Debug)]
pub(super) enum Undo {
    Inserted(u32),
    Changed(u32, Entry),
    Stamp(Box<str>, Option<LastStamp>),
    Key,
    NextTransfer(u64),
}

impl State {
    /// Makes what was applied since the last commit final: it is durable.
    pub(crate) fn commit(&mut self) {
        self.journal.clear();
        for slot in std::mem::take(&mut self.gone) {
            self.unlink_in_log(slot);
            self.drop_entry(slot);
        }
    }

    /// Takes back what was applied since the last commit. Messages of a standard queue may come in another order then.
    pub(crate) fn roll_back(&mut self) {
        self.gone.clear();
        for undo in std::mem::take(&mut self.journal).into_iter().rev() {
            match undo {
                Undo::Inserted(slot) => {
                    self.change_silently(slot, |entry| entry.phase = Phase::Gone);
                    self.unlink_in_log(slot);
                    self.drop_entry(slot);
                }
                Undo::Changed(slot, before) => self.change_silently(slot, |entry| {
                    *entry = Entry { in_group: entry.in_group, in_log: entry.in_log, list: entry.list, ..before };
                }),
                Undo::Stamp(producer, Some(last)) => drop(self.stamps.insert(producer, last)),
                Undo::Stamp(producer, None) => drop(self.stamps.remove(&producer)),
                Undo::Key => self.repeats.take_back(),
                Undo::NextTransfer(before) => self.next_transfer = before,
            }
        }
    }
}
