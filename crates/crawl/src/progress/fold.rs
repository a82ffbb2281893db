//! The fold itself, and what it knows of each run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::{SequenceNumber, Timestamp};

use super::counts::{Counts, PAGE_CLASSES, Totals};
use super::delivered::Delivered;
use super::event::{Cell, End, Event, Step};
use super::fan::Fan;
use super::rate::Recent;
use super::{RUNS_KEPT, TENANTS_KEPT_MAX, cursor};
use crate::runs::{CURSOR_BYTES_MAX, CURSORS_MAX, Cursors};

/// Resources of one run: as many as a crawl may have, and what a plan that was changed meanwhile brings.
const STEPS_MAX: usize = 512;

/// How far the runs of one crawl are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The place behind the last event.
    next: SequenceNumber,
    runs: BTreeMap<u64, RunProgress>,
}

/// How far one run is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunProgress {
    started_at: Timestamp,
    ended: Option<(End, Timestamp)>,
    steps: Vec<StepProgress>,
    tenants: BTreeMap<String, TenantProgress>,
    others: Counts,
    cursors: Cursors,
    cursor_count: usize,
    cursors_left_out: u64,
    recent: Recent,
    delivered: Delivered,
    /// When the last event was counted.
    last_at: Timestamp,
}

/// How far one resource of a run is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepProgress {
    resource: String,
    parent: Option<String>,
    counts: Counts,
    /// Calls of the resource above, and what they made: first pages, and further ones.
    fans: [Fan; 2],
    /// Calls, and how many of them led to a further page, by class of page.
    going: [Fan; PAGE_CLASSES],
    recent: Recent,
}

/// What one event says of a step: calls of first and of further pages, and tasks that first and further pages of the resource
/// above made.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    calls: [u64; 2],
    made: [u64; 2],
}

impl Moved {
    fn add(&mut self, counts: &Counts) {
        let [first, further] = counts.calls_by_page();
        self.calls = [self.calls[0] + first, self.calls[1] + further];
        let [first, further] = counts.made_by_page();
        self.made = [self.made[0] + first, self.made[1] + further];
    }
}

/// How far one tenant of a run is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TenantProgress {
    totals: Totals,
    /// Tasks that there have been and tasks that ended, by step.
    steps: Vec<(u64, u64)>,
    recent: Recent,
}

impl Progress {
    /// Returns the place behind the last event: where reading goes on.
    pub fn next(&self) -> SequenceNumber {
        self.next
    }

    /// Counts an event that stands at `place`. An event at or before the last place that was counted changes nothing.
    pub fn apply(&mut self, place: SequenceNumber, event: &Event) {
        if place < self.next {
            return;
        }
        self.next = place + 1;
        match event {
            Event::Started { run, at, steps, roots } => {
                let progress = self.runs.entry(*run).or_default();
                progress.start(*at, steps);
                progress.count(*at, roots.iter());
            }
            Event::Counted(counted) => {
                if let Some(progress) = self.runs.get_mut(&counted.run) {
                    progress.count(counted.at, counted.cells());
                }
            }
            Event::Ended { run, at, how } => {
                if let Some(progress) = self.runs.get_mut(run) {
                    progress.ended.get_or_insert((*how, *at));
                }
                self.forget();
            }
        }
    }

    fn forget(&mut self) {
        let over = self.runs.values().filter(|run| run.ended.is_some()).count();
        let mut surplus = over.saturating_sub(RUNS_KEPT);
        self.runs.retain(|_, run| {
            let forget = surplus > 0 && run.ended.is_some();
            surplus -= usize::from(forget);
            !forget
        });
    }

    /// Returns what is known of a run; none: it has not begun, or was over long ago.
    pub fn run(&self, run: u64) -> Option<&RunProgress> {
        self.runs.get(&run)
    }

    /// Returns the runs that are known, the oldest first.
    pub fn runs(&self) -> impl Iterator<Item = (u64, &RunProgress)> {
        self.runs.iter().map(|(run, progress)| (*run, progress))
    }

    /// Returns how many tasks of a run have not ended. Zero: it is complete. None: it has not begun, or was over long ago.
    pub fn open_tasks(&self, run: u64) -> Option<u64> {
        self.runs.get(&run).map(RunProgress::open_tasks)
    }
}

impl RunProgress {
    fn start(&mut self, at: Timestamp, steps: &[Step]) {
        self.started_at = at;
        for step in steps {
            let index = self.step(&step.resource);
            self.steps[index].parent.clone_from(&step.parent);
        }
    }

    /// Returns a resource's index. A resource that the run did not begin with is put behind the others.
    fn step(&mut self, resource: &str) -> usize {
        match self.steps.iter().position(|step| step.resource == resource) {
            Some(index) => index,
            None if self.steps.len() >= STEPS_MAX => STEPS_MAX - 1,
            None => {
                self.steps.push(StepProgress { resource: resource.to_owned(), ..StepProgress::default() });
                self.steps.len() - 1
            }
        }
    }

    fn count<'a>(&mut self, at: Timestamp, cells: impl Iterator<Item = &'a Cell>) {
        self.last_at = self.last_at.max(at);
        let mut moved = vec![Moved::default(); self.steps.len()];
        let mut all = Counts::default();
        for cell in cells {
            let index = self.step(&cell.resource);
            let step = &mut self.steps[index];
            step.counts.add(&cell.counts);
            step.recent.add(at, cell.counts.calls());
            for (going, pages) in step.going.iter_mut().zip(&cell.counts.pages) {
                going.add(pages.calls, pages.went_on);
            }
            all.add(&cell.counts);
            if moved.len() <= index {
                moved.resize(index + 1, Moved::default());
            }
            moved[index].add(&cell.counts);
            self.count_tenant(at, index, cell);
            if let Some(value) = &cell.cursor {
                self.raise(cell, value);
            }
        }
        self.recent.add(at, all.calls());
        if all.calls() > 0 {
            self.delivered.add(at, &all);
        }
        for index in 0..self.steps.len() {
            let parent = self.steps[index].parent.as_deref();
            let Some(parent) = parent.and_then(|parent| self.steps.iter().position(|step| step.resource == parent))
            else {
                continue;
            };
            let moved_of = |index: usize| moved.get(index).copied().unwrap_or_default();
            let (calls, made) = (moved_of(parent).calls, moved_of(index).made);
            for (fan, (calls, made)) in self.steps[index].fans.iter_mut().zip(calls.into_iter().zip(made)) {
                fan.add(calls, made);
            }
        }
    }

    fn count_tenant(&mut self, at: Timestamp, index: usize, cell: &Cell) {
        if cell.tenant.is_empty() {
            return;
        }
        if !self.tenants.contains_key(&cell.tenant) && self.tenants.len() >= TENANTS_KEPT_MAX {
            self.others.add(&cell.counts);
            return;
        }
        let tenant = self.tenants.entry(cell.tenant.clone()).or_default();
        tenant.totals.add(&cell.counts);
        if tenant.steps.len() <= index {
            tenant.steps.resize(index + 1, (0, 0));
        }
        let (tasks, ended) = &mut tenant.steps[index];
        *tasks += cell.counts.tasks();
        *ended += cell.counts.ended();
        tenant.recent.add(at, cell.counts.calls());
    }

    fn raise(&mut self, cell: &Cell, value: &serde_json::Value) {
        let known = self.cursors.get(&cell.resource).is_some_and(|tenants| tenants.contains_key(&cell.tenant));
        // A value that is too large is left out; the next run begins a little earlier then, which is safe.
        if (!known && self.cursor_count >= CURSORS_MAX) || value.to_string().len() > CURSOR_BYTES_MAX {
            self.cursors_left_out += 1;
            return;
        }
        self.cursor_count += usize::from(!known);
        let of_resource = self.cursors.entry(cell.resource.clone()).or_default();
        let mut slot = of_resource.remove(&cell.tenant);
        cursor::raise(&mut slot, value);
        if let Some(value) = slot {
            of_resource.insert(cell.tenant.clone(), value);
        }
    }

    /// Returns when the run began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Returns how and when it ended.
    pub fn ended(&self) -> Option<(End, Timestamp)> {
        self.ended
    }

    /// Returns when its last event was counted.
    pub fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Returns its resources, in the order in which the run named them: parents before children.
    pub fn steps(&self) -> &[StepProgress] {
        &self.steps
    }

    /// Returns how many tasks have not ended.
    pub fn open_tasks(&self) -> u64 {
        let (tasks, ended) = self
            .steps
            .iter()
            .fold((0, 0), |(tasks, ended), step| (tasks + step.counts.tasks(), ended + step.counts.ended()));
        tasks.saturating_sub(ended)
    }

    /// Returns the sum over its resources.
    pub fn totals(&self) -> Totals {
        let mut counts = Counts::default();
        self.steps.iter().for_each(|step| counts.add(&step.counts));
        Totals::from(&counts)
    }

    /// Returns what was counted by resource: what the machine keeps of a run.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.steps.iter().map(|step| (step.resource.clone(), step.counts.clone())).collect()
    }

    /// Returns the tenants that are kept apart, by name.
    pub fn tenants(&self) -> &BTreeMap<String, TenantProgress> {
        &self.tenants
    }

    /// Returns the sum over all tenants that are not kept apart.
    pub fn other_tenants(&self) -> Option<Totals> {
        (self.others != Counts::default()).then(|| Totals::from(&self.others))
    }

    /// Returns the largest values of the incremental cursors, and how often one was left out for want of room.
    pub fn cursors(&self) -> (&Cursors, u64) {
        (&self.cursors, self.cursors_left_out)
    }

    /// Returns calls per second over the last seconds.
    pub fn recent(&self) -> Recent {
        self.recent
    }

    /// Returns how fast calls came while the vendor answered.
    pub fn delivered(&self) -> &Delivered {
        &self.delivered
    }
}

impl StepProgress {
    #[cfg(test)]
    pub(crate) fn of(resource: &str, counts: Counts) -> Self {
        Self { resource: resource.to_owned(), counts, ..Self::default() }
    }

    /// Returns the resource's name.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the resource above it.
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_deref()
    }

    /// Returns what was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns calls of the resource above and tasks that they made, in batches of consecutive calls: first pages, and further
    /// ones.
    pub fn fans(&self) -> &[Fan; 2] {
        &self.fans
    }

    /// Returns calls and those that led to a further page, in batches of consecutive calls, by class of page.
    pub fn going(&self) -> &[Fan; PAGE_CLASSES] {
        &self.going
    }

    /// Returns calls per second over the last seconds.
    pub fn recent(&self) -> Recent {
        self.recent
    }
}

impl TenantProgress {
    /// Returns what came of its tasks.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns its open tasks by step, in the run's order; steps at the end may be missing.
    pub fn open(&self) -> impl Iterator<Item = u64> + '_ {
        self.steps.iter().map(|(tasks, ended)| tasks.saturating_sub(*ended))
    }

    /// Returns calls per second over the last seconds.
    pub fn recent(&self) -> Recent {
        self.recent
    }
}
