//! Who is next: start-time fair queueing over two levels.
//!
//! Each group (a crawl, a function) has a tag of where its next call begins in virtual time, and within a group so has each leaf (a
//! tenant). The least tag goes first and moves on by `1 / weight`; the virtual time of a level is the tag of what was served last.
//! Who comes back begins at the virtual time: being idle gives no credit. (Goyal, Vin, Cheng: "Start-time Fair Queueing", 1996.)
//!
//! Invariants: a group or leaf is in its level's order exactly while calls of it wait; what nobody holds and nothing waits in is
//! forgotten once its debt (a tag ahead of the virtual time) is paid. All operations are logarithmic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Virtual time that one call of weight 1 takes. Weights beyond it count as it.
const CALL: u64 = 1 << 20;

/// Where a call waits. Leaves are numbered for the budget's life, never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(u64);

/// One level's virtual time and order.
#[derive(Debug, Default)]
struct Level<K> {
    /// The start tag of what was served last, or of what would be if nothing waits.
    time: u64,
    /// Who waits, by start tag, then by name or number: at equal tags the order is fixed.
    waiting: BTreeSet<(u64, K)>,
    /// Who is idle and ahead of the virtual time, by finish tag.
    debts: BTreeSet<(u64, K)>,
}

/// One member's tags.
#[derive(Debug, Clone, Copy)]
struct Tags {
    weight: u32,
    /// Where its next call begins, while it waits.
    start: u64,
    /// Where its last call ended.
    finish: u64,
}

impl Tags {
    fn cost(self) -> u64 {
        (CALL / u64::from(self.weight.max(1))).max(1)
    }
}

impl<K: Copy + Ord> Level<K> {
    /// `key` begins to wait.
    fn enter(&mut self, key: K, tags: &mut Tags) {
        self.debts.remove(&(tags.finish, key));
        tags.start = self.time.max(tags.finish);
        self.waiting.insert((tags.start, key));
    }

    /// The last waiting call of `key` is gone without having been served.
    fn leave(&mut self, key: K, tags: &Tags) {
        self.waiting.remove(&(tags.start, key));
        self.owe(key, tags);
    }

    /// Serves `key`, of which `more` says whether calls still wait.
    fn serve(&mut self, key: K, tags: &mut Tags, more: More) {
        let begun = match self.waiting.remove(&(tags.start, key)) {
            true => tags.start,
            false => {
                self.debts.remove(&(tags.finish, key));
                self.time.max(tags.finish)
            }
        };
        self.time = self.time.max(begun);
        tags.finish = begun + tags.cost();
        match more {
            More::Waiting => {
                tags.start = tags.finish;
                self.waiting.insert((tags.start, key));
            }
            More::Nothing => self.owe(key, tags),
        }
    }

    fn owe(&mut self, key: K, tags: &Tags) {
        if tags.finish > self.time {
            self.debts.insert((tags.finish, key));
        }
        if self.waiting.is_empty() {
            // The end of a busy period: whoever comes next begins with nobody's debt before it.
            self.time = self.debts.last().map_or(self.time, |(finish, _)| self.time.max(*finish));
        }
    }

    /// Takes one whose debt is paid.
    fn paid(&mut self) -> Option<K> {
        match self.debts.first() {
            Some((finish, _)) if *finish <= self.time => self.debts.pop_first().map(|(_, key)| key),
            _ => None,
        }
    }

    fn owes(&self, key: K, tags: &Tags) -> bool {
        self.debts.contains(&(tags.finish, key))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Waiting,
    Nothing,
}

#[derive(Debug)]
struct Group {
    name: String,
    tags: Tags,
    leaves: Level<LeafId>,
    names: HashMap<String, LeafId>,
}

#[derive(Debug)]
struct Leaf<T> {
    group: u64,
    name: String,
    tags: Tags,
    holders: u32,
    /// Calls in order of arrival.
    calls: BTreeMap<u64, T>,
}

/// All calls that wait for one budget. `T` is what is handed over when a call's turn has come.
#[derive(Debug)]
pub struct Fair<T> {
    groups: HashMap<u64, Group>,
    names: HashMap<String, u64>,
    order: Level<u64>,
    leaves: HashMap<LeafId, Leaf<T>>,
    waiting: usize,
    next: u64,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        let order = Level { time: 0, waiting: BTreeSet::new(), debts: BTreeSet::new() };
        Self { groups: HashMap::new(), names: HashMap::new(), order, leaves: HashMap::new(), waiting: 0, next: 0 }
    }
}

impl<T> Fair<T> {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Finds or makes the leaf of a path, and holds it until [`Fair::release`]. A weight that differs holds from now on.
    pub fn hold(&mut self, group: (&str, u32), leaf: (&str, u32)) -> LeafId {
        let group_id = match self.names.get(group.0) {
            Some(id) => *id,
            None => {
                let id = self.number();
                let leaves = Level { time: 0, waiting: BTreeSet::new(), debts: BTreeSet::new() };
                let tags = Tags { weight: group.1, start: 0, finish: 0 };
                self.groups.insert(id, Group { name: group.0.to_owned(), tags, leaves, names: HashMap::new() });
                self.names.insert(group.0.to_owned(), id);
                id
            }
        };
        let number = LeafId(self.number());
        let members = self.groups.get_mut(&group_id).expect("a name leads to a group");
        members.tags.weight = group.1;
        let id = *members.names.entry(leaf.0.to_owned()).or_insert(number);
        let entry = self.leaves.entry(id).or_insert_with(|| Leaf {
            group: group_id,
            name: leaf.0.to_owned(),
            tags: Tags { weight: leaf.1, start: 0, finish: 0 },
            holders: 0,
            calls: BTreeMap::new(),
        });
        entry.tags.weight = leaf.1;
        entry.holders += 1;
        id
    }

    /// Holds a leaf once more.
    pub fn hold_again(&mut self, id: LeafId) {
        self.leaf(id).holders += 1;
    }

    /// Lets go of a leaf. Calls that wait in it keep it.
    pub fn release(&mut self, id: LeafId) {
        self.leaf(id).holders -= 1;
        self.forget(id);
    }

    /// Adds a call, and returns its number for [`Fair::cancel`].
    pub fn push(&mut self, id: LeafId, call: T) -> u64 {
        let number = self.number();
        let leaf = self.leaves.get_mut(&id).expect("a held leaf is kept");
        let group = self.groups.get_mut(&leaf.group).expect("a leaf keeps its group");
        if leaf.calls.is_empty() {
            if group.leaves.waiting.is_empty() {
                self.order.enter(leaf.group, &mut group.tags);
            }
            group.leaves.enter(id, &mut leaf.tags);
        }
        leaf.calls.insert(number, call);
        self.waiting += 1;
        number
    }

    /// Takes a call back, if its turn has not come yet. Its place is lost.
    pub fn cancel(&mut self, id: LeafId, number: u64) -> Option<T> {
        let leaf = self.leaves.get_mut(&id)?;
        let call = leaf.calls.remove(&number)?;
        self.waiting -= 1;
        if leaf.calls.is_empty() {
            let group = self.groups.get_mut(&leaf.group).expect("a leaf keeps its group");
            group.leaves.leave(id, &leaf.tags);
            if group.leaves.waiting.is_empty() {
                self.order.leave(leaf.group, &group.tags);
            }
            self.settle(id);
        }
        Some(call)
    }

    /// Serves the call whose turn it is.
    pub fn pop(&mut self) -> Option<(LeafId, T)> {
        let (_, group_id) = *self.order.waiting.first()?;
        let group = self.groups.get_mut(&group_id).expect("what waits is kept");
        let (_, id) = *group.leaves.waiting.first().expect("a group waits while a leaf of it does");
        let leaf = self.leaves.get_mut(&id).expect("what waits is kept");
        let (_, call) = leaf.calls.pop_first().expect("a leaf waits while a call of it does");
        self.waiting -= 1;
        let more = if leaf.calls.is_empty() { More::Nothing } else { More::Waiting };
        group.leaves.serve(id, &mut leaf.tags, more);
        let more = if group.leaves.waiting.is_empty() { More::Nothing } else { More::Waiting };
        self.order.serve(group_id, &mut group.tags, more);
        self.settle(id);
        Some((id, call))
    }

    /// Counts a call that was served without waiting. Only while nothing waits.
    pub fn served(&mut self, id: LeafId) {
        let leaf = self.leaves.get_mut(&id).expect("a held leaf is kept");
        let group = self.groups.get_mut(&leaf.group).expect("a leaf keeps its group");
        group.leaves.serve(id, &mut leaf.tags, More::Nothing);
        self.order.serve(leaf.group, &mut group.tags, More::Nothing);
        self.settle(id);
    }

    /// Calls that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Calls of a leaf that wait.
    pub fn waiting_in(&self, id: LeafId) -> usize {
        self.leaves.get(&id).map_or(0, |leaf| leaf.calls.len())
    }

    /// Leaves that are known: held, waited in, or in debt.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.leaves.len()
    }

    /// The leaves in which calls wait, with their paths.
    pub fn flows(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        let waiting = self.leaves.values().filter(|leaf| !leaf.calls.is_empty());
        waiting.map(|leaf| (self.groups[&leaf.group].name.as_str(), leaf.name.as_str(), leaf.calls.len()))
    }

    fn leaf(&mut self, id: LeafId) -> &mut Leaf<T> {
        self.leaves.get_mut(&id).expect("a held leaf is kept")
    }

    /// Forgets those whose debt is paid, as far as nobody holds them.
    fn settle(&mut self, id: LeafId) {
        let group_id = self.leaves[&id].group;
        while let Some(paid) = self.groups.get_mut(&group_id).and_then(|group| group.leaves.paid()) {
            self.forget(paid);
        }
        while let Some(paid) = self.order.paid() {
            self.forget_group(paid);
        }
        self.forget(id);
    }

    fn forget(&mut self, id: LeafId) {
        let Some(leaf) = self.leaves.get(&id) else { return };
        let group_id = leaf.group;
        let group = self.groups.get_mut(&group_id).expect("a leaf keeps its group");
        if leaf.holders == 0 && leaf.calls.is_empty() && !group.leaves.owes(id, &leaf.tags) {
            group.names.remove(&leaf.name);
            self.leaves.remove(&id);
            self.forget_group(group_id);
        }
    }

    fn forget_group(&mut self, id: u64) {
        let Some(group) = self.groups.get(&id) else { return };
        if group.names.is_empty() && !self.order.owes(id, &group.tags) {
            self.names.remove(&group.name);
            self.groups.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
