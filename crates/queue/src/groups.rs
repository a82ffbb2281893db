//! Groups of messages, and whose turn it is.
//!
//! Three picks in four go to the group with the fewest messages in flight, and among those to the one that was served
//! longest ago: a group that floods the queue does not delay the others. Each fourth goes to the group that was served longest
//! ago whatever it has in flight, so that slow groups are never shut out. In a FIFO queue a group with a message in flight
//! gets nothing.
//!
//! Invariant: a group is in both orders or in none, under the values that it has now.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::slab::List;

/// The group of the messages without one.
pub(crate) const NO_GROUP: u32 = 0;
/// Each so many picks go by turn alone.
const BY_TURN_EVERY: u64 = 4;

#[derive(Debug)]
pub(crate) struct Group {
    name: Box<str>,
    /// All messages of this group, whatever their phase.
    pub messages: u32,
    pub in_flight: u32,
    /// Standard queues: what can be received and never was. FIFO queues: all that are queued, by number.
    pub fresh: List,
    /// Standard queues: what can be received again.
    pub again: List,
    turn: u64,
    /// Under which values it is in the orders.
    listed: Option<(u32, u64)>,
}

#[derive(Debug)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    vacant: Vec<u32>,
    names: HashMap<Box<str>, u32>,
    by_load: BTreeSet<(u32, u64, u32)>,
    by_turn: BTreeSet<(u64, u32)>,
    turns: u64,
}

fn group(name: &str) -> Group {
    let (fresh, again) = (List::EMPTY, List::EMPTY);
    Group { name: name.into(), messages: 0, in_flight: 0, fresh, again, turn: 0, listed: None }
}

impl Groups {
    pub(crate) fn new() -> Self {
        Self {
            groups: vec![group("")],
            vacant: Vec::new(),
            names: HashMap::new(),
            by_load: BTreeSet::new(),
            by_turn: BTreeSet::new(),
            turns: 0,
        }
    }

    /// Returns the group of a name, and makes it if it is new. A new one is served before those that were.
    pub(crate) fn intern(&mut self, name: Option<&str>) -> u32 {
        let Some(name) = name else { return NO_GROUP };
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = match self.vacant.pop() {
            Some(id) => {
                self.groups[id as usize] = group(name);
                id
            }
            None => {
                self.groups.push(group(name));
                (self.groups.len() - 1) as u32
            }
        };
        self.names.insert(name.into(), id);
        id
    }

    #[cfg(test)]
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Returns a group's name; none of the messages without one.
    pub(crate) fn name(&self, id: u32) -> Option<&str> {
        (id != NO_GROUP).then(|| &*self.at(id).name)
    }

    pub(crate) fn at(&self, id: u32) -> &Group {
        &self.groups[id as usize]
    }

    pub(crate) fn at_mut(&mut self, id: u32) -> &mut Group {
        &mut self.groups[id as usize]
    }

    /// Forgets a group if it has no messages.
    pub(crate) fn forget_if_empty(&mut self, id: u32) {
        if id == NO_GROUP || self.at(id).messages > 0 {
            return;
        }
        let name = std::mem::take(&mut self.at_mut(id).name);
        if self.names.remove(&name).is_some() {
            self.vacant.push(id);
        }
    }

    /// Puts a group where it belongs after a change. `open` tells whether it has something to give.
    pub(crate) fn place(&mut self, id: u32, open: bool) {
        let group = &mut self.groups[id as usize];
        let listed = open.then_some((group.in_flight, group.turn));
        let before = std::mem::replace(&mut group.listed, listed);
        if before == listed {
            return;
        }
        if let Some((load, turn)) = before {
            self.by_load.remove(&(load, turn, id));
            self.by_turn.remove(&(turn, id));
        }
        if let Some((load, turn)) = listed {
            self.by_load.insert((load, turn, id));
            self.by_turn.insert((turn, id));
        }
    }

    /// Returns the group that is served next, if one has something to give.
    pub(crate) fn next(&self) -> Option<u32> {
        if self.turns % BY_TURN_EVERY == BY_TURN_EVERY - 1 {
            return self.by_turn.first().map(|(_, id)| *id);
        }
        self.by_load.first().map(|(_, _, id)| *id)
    }

    /// Tells whether an odd number of picks were made.
    pub(crate) fn is_odd_turn(&self) -> bool {
        self.turns % 2 == 1
    }

    /// Notes that a group was served.
    pub(crate) fn served(&mut self, id: u32) {
        self.turns += 1;
        self.groups[id as usize].turn = self.turns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(groups: &mut Groups) -> u32 {
        let id = groups.next().unwrap();
        groups.served(id);
        groups.at_mut(id).in_flight += 1;
        groups.place(id, true);
        id
    }

    #[test]
    fn the_group_with_the_least_in_flight_is_served_and_none_is_shut_out() {
        let mut groups = Groups::new();
        let (slow, quick) = (groups.intern(Some("slow")), groups.intern(Some("quick")));
        groups.at_mut(slow).in_flight = 50;
        for id in [slow, quick] {
            groups.place(id, true);
        }
        let served: Vec<u32> = (0..40).map(|_| serve(&mut groups)).collect();
        let slow_served = served.iter().filter(|id| **id == slow).count();
        assert!((1..=10).contains(&slow_served), "{slow_served} of 40");
    }

    #[test]
    fn names_of_forgotten_groups_are_free_again() {
        let mut groups = Groups::new();
        let id = groups.intern(Some("a"));
        groups.at_mut(id).messages = 1;
        groups.forget_if_empty(id);
        assert_eq!(groups.find("a"), Some(id));
        groups.at_mut(id).messages = 0;
        groups.forget_if_empty(id);
        groups.forget_if_empty(id);
        assert_eq!(groups.find("a"), None);
        assert_eq!((groups.intern(Some("b")), groups.intern(Some("c"))), (id, id + 1));
    }
}
