//! The machine: commands in, outcomes out, and the state between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::Timestamp;

use super::command::{Change, Command, Outcome, Overlap, Start};
use super::run::{By, Cursors, Run, State};
use super::{CURSOR_BYTES_MAX, CURSORS_MAX, HISTORY_MAX, PARAMS_BYTES_MAX, REASON_BYTES_MAX, TENANTS_NAMED_MAX};
use crate::progress::Counts;

const VERSION: u32 = 1;

/// The runs of all crawls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    crawls: BTreeMap<String, CrawlRuns>,
    /// The last numbers of crawls that were forgotten.
    #[serde(default)]
    forgotten: BTreeMap<String, u64>,
}

/// The runs of one crawl.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CrawlRuns {
    /// The last number that was used.
    last: u64,
    active: Option<Run>,
    waiting: Option<Run>,
    /// The oldest first.
    history: Vec<Run>,
    cursors: Cursors,
    seen: Option<Timestamp>,
    skipped: u64,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    runs: Runs,
}

impl Runs {
    /// Returns one crawl's runs; none: nothing was ever asked of it.
    pub fn crawl(&self, crawl: &str) -> Option<&CrawlRuns> {
        self.crawls.get(crawl)
    }

    /// Returns all crawls, by name.
    pub fn crawls(&self) -> impl Iterator<Item = (&str, &CrawlRuns)> {
        self.crawls.iter().map(|(name, runs)| (name.as_str(), runs))
    }

    fn start(&mut self, at: At, start: Start) -> Outcome {
        if let Some(what) = too_large(&start) {
            return Outcome::TooLarge(what);
        }
        self.known(start.crawl.clone()).start(at, start)
    }

    /// Returns a crawl's runs; those of a new one, or one that was forgotten, are empty.
    fn known(&mut self, crawl: String) -> &mut CrawlRuns {
        let Self { crawls, forgotten } = self;
        crawls.entry(crawl).or_insert_with_key(|crawl| {
            let last = forgotten.remove(crawl).unwrap_or(0);
            CrawlRuns { last, ..CrawlRuns::default() }
        })
    }

    fn forget(&mut self, crawl: &str) -> Outcome {
        let Some(runs) = self.crawls.get(crawl) else { return Outcome::NoRun };
        if let Some(run) = runs.active.as_ref().or(runs.waiting.as_ref()) {
            return Outcome::UnderWay(run.number);
        }
        self.forgotten.insert(crawl.to_owned(), runs.last);
        self.crawls.remove(crawl);
        Outcome::Done
    }
}

fn too_large(start: &Start) -> Option<String> {
    let params: usize = start.params.iter().map(|(name, value)| name.len() + value.len()).sum();
    let tenants = start.tenants.as_ref().map_or(0, Vec::len);
    if params > PARAMS_BYTES_MAX {
        return Some(format!("params of {params} bytes; {PARAMS_BYTES_MAX} may be given"));
    }
    if tenants > TENANTS_NAMED_MAX {
        return Some(format!("{tenants} tenants; {TENANTS_NAMED_MAX} may be named"));
    }
    None
}

fn short(mut reason: String) -> String {
    let mut end = REASON_BYTES_MAX.min(reason.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

impl CrawlRuns {
    /// Returns the run that holds the crawl: running, paused or being cancelled.
    pub fn active(&self) -> Option<&Run> {
        self.active.as_ref()
    }

    /// Returns the run that waits for its end.
    pub fn waiting(&self) -> Option<&Run> {
        self.waiting.as_ref()
    }

    /// Returns the runs that are over, the oldest first.
    pub fn history(&self) -> &[Run] {
        &self.history
    }

    /// Returns a run by its number.
    pub fn run(&self, number: u64) -> Option<&Run> {
        self.active.iter().chain(&self.waiting).chain(&self.history).find(|run| run.number == number)
    }

    /// Returns where the next run's incremental resources begin.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Returns up to when the schedule is dealt with: `last` of [`weir_schedule::Schedule::due`]. None: never looked at.
    pub fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// Returns how many starts were left out because a run was under way.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn start(&mut self, at: At, start: Start) -> Outcome {
        if let By::Schedule(time) = start.by {
            if let Some(seen) = self.seen.filter(|seen| time <= *seen) {
                return Outcome::Past { seen };
            }
            // With what comes of it in one command: a time starts one run, or is left out once.
            self.seen = Some(time);
        }
        if start.request.is_some() {
            let all = self.active.iter().chain(&self.waiting).chain(&self.history);
            if let Some(known) = all.into_iter().find(|run| run.request == start.request) {
                return Outcome::Known(Box::new(known.clone()));
            }
        }
        let under_way = self.active.as_ref().map(|run| run.number);
        match (under_way, start.overlap) {
            (None, _) => {
                let run = self.make(at, start);
                self.begin(at, run.clone());
                Outcome::Started(Box::new(self.active.clone().unwrap_or(run)))
            }
            (Some(under_way), Overlap::Skip) => {
                self.skipped += 1;
                Outcome::Skipped { under_way, waiting: None }
            }
            (Some(behind), Overlap::Queue) => {
                if let Some(waiting) = &self.waiting {
                    self.skipped += 1;
                    return Outcome::Skipped { under_way: behind, waiting: Some(waiting.number) };
                }
                let run = self.make(at, start);
                self.waiting = Some(run.clone());
                Outcome::Queued { run: Box::new(run), behind }
            }
            (Some(cancelling), Overlap::Replace) => {
                let run = self.make(at, start);
                let reason = format!("replaced by run {}", run.number);
                if let Some(waiting) = self.waiting.take() {
                    self.put_away(at, Run { reason: Some(reason.clone()), ..waiting }, State::Cancelled);
                }
                if let Some(active) = self.active.as_mut().filter(|active| active.state != State::Cancelling) {
                    active.unpause(at);
                    active.state = State::Cancelling;
                    active.reason = Some(reason);
                }
                self.waiting = Some(run.clone());
                Outcome::Replaces { run: Box::new(run), cancelling }
            }
        }
    }

    fn make(&mut self, at: At, start: Start) -> Run {
        self.last += 1;
        Run {
            number: self.last,
            by: start.by,
            params: start.params,
            tenants: start.tenants,
            request: start.request,
            state: State::Waiting,
            asked_at: at.time,
            started_at: None,
            paused_at: None,
            paused_ms: 0,
            ended_at: None,
            reason: None,
            starts: Cursors::new(),
            counts: BTreeMap::new(),
        }
    }

    fn begin(&mut self, at: At, run: Run) {
        let starts = self.cursors.clone();
        self.active = Some(Run { state: State::Running, started_at: Some(at.time), starts, ..run });
    }

    /// Takes a run into the history.
    fn put_away(&mut self, at: At, mut run: Run, state: State) -> Run {
        run.unpause(at);
        run.state = state;
        run.ended_at = Some(at.time);
        run.starts = Cursors::new();
        self.history.push(run.clone());
        let surplus = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..surplus);
        run
    }

    /// Ends the active run, and lets the one that waits begin.
    fn end(&mut self, at: At, mut run: Run, state: State, counts: BTreeMap<String, Counts>) -> Outcome {
        run.counts = counts;
        let run = self.put_away(at, run, state);
        let next = self.waiting.take();
        if let Some(next) = next {
            self.begin(at, next);
        }
        Outcome::Ended { run: Box::new(run), next: self.active.clone().map(Box::new) }
    }

    /// Takes over the cursors of a complete run, as far as there is room. Those of tenants that it did not see stay.
    fn take_over(&mut self, cursors: Cursors) {
        let mut count: usize = self.cursors.values().map(BTreeMap::len).sum();
        for (resource, tenants) in cursors {
            for (tenant, value) in tenants {
                if value.to_string().len() > CURSOR_BYTES_MAX {
                    continue;
                }
                let of_resource = self.cursors.entry(resource.clone()).or_default();
                match of_resource.get_mut(&tenant) {
                    Some(known) => *known = value,
                    None if count < CURSORS_MAX => {
                        of_resource.insert(tenant, value);
                        count += 1;
                    }
                    None => {}
                }
            }
        }
        self.cursors.retain(|_, tenants| !tenants.is_empty());
    }

    /// Changes the run of this number, whatever its state.
    fn change(&mut self, at: At, number: u64, change: Change) -> Outcome {
        if self.active.as_ref().is_some_and(|run| run.number == number) {
            return self.change_active(at, change);
        }
        if let Some(waiting) = self.waiting.take_if(|run| run.number == number) {
            return self.change_waiting(at, waiting, change);
        }
        match self.run(number) {
            Some(run) => Outcome::NotInState(Box::new(run.clone())),
            None => Outcome::NoRun,
        }
    }

    fn change_waiting(&mut self, at: At, waiting: Run, change: Change) -> Outcome {
        match change {
            Change::Cancel { reason } => {
                let run = Run { reason: reason.map(short), ..waiting };
                let run = self.put_away(at, run, State::Cancelled);
                Outcome::Ended { run: Box::new(run), next: None }
            }
            _ => {
                let known = Box::new(waiting.clone());
                self.waiting = Some(waiting);
                Outcome::NotInState(known)
            }
        }
    }

    fn change_active(&mut self, at: At, change: Change) -> Outcome {
        let Some(mut run) = self.active.take() else { return Outcome::NoRun };
        match (run.state, change) {
            (State::Running, Change::Pause) => {
                run.state = State::Paused;
                run.paused_at = Some(at.time);
            }
            (State::Paused, Change::Resume) => {
                run.unpause(at);
                run.state = State::Running;
            }
            (State::Running | State::Paused, Change::Cancel { reason }) => {
                run.unpause(at);
                run.state = State::Cancelling;
                run.reason = reason.map(short);
            }
            // The marker in the crawl's stream says how a run ended: one that was complete before it could be cancelled is
            // complete.
            (State::Running | State::Paused | State::Cancelling, Change::Complete { counts, cursors }) => {
                run.reason = None;
                self.take_over(cursors);
                return self.end(at, run, State::Complete, counts);
            }
            (State::Cancelling, Change::Cancelled { counts }) => return self.end(at, run, State::Cancelled, counts),
            (_, Change::Fail { reason, counts }) => {
                run.reason = Some(short(reason));
                return self.end(at, run, State::Failed, counts);
            }
            _ => {
                let known = Box::new(run.clone());
                self.active = Some(run);
                return Outcome::NotInState(known);
            }
        }
        self.active = Some(run.clone());
        Outcome::Changed(Box::new(run))
    }

    fn rewind(&mut self, resource: Option<&str>) {
        match resource {
            Some(resource) => drop(self.cursors.remove(resource)),
            None => self.cursors.clear(),
        }
    }
}

impl Run {
    fn unpause(&mut self, at: At) {
        if let Some(since) = self.paused_at.take() {
            self.paused_ms += u64::try_from(at.time.since(since).as_millis()).unwrap_or(u64::MAX);
        }
    }
}

impl Machine for Runs {
    const NAME: &'static str = "crawls";
    type Command = Command;
    type Outcome = Outcome;

    fn apply(&mut self, at: At, command: Command) -> Outcome {
        match command {
            Command::Start(start) => self.start(at, start),
            Command::Change { crawl, run, change } => match self.crawls.get_mut(&crawl) {
                Some(runs) => runs.change(at, run, change),
                None => Outcome::NoRun,
            },
            Command::Seen { crawl, time } => {
                let runs = self.known(crawl);
                runs.seen = runs.seen.max(Some(time));
                Outcome::Done
            }
            Command::Rewind { crawl, resource } => {
                let Some(runs) = self.crawls.get_mut(&crawl) else { return Outcome::NoRun };
                runs.rewind(resource.as_deref());
                Outcome::Done
            }
            Command::Forget { crawl } => self.forget(&crawl),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&Snapshot { version: VERSION, runs: self.clone() }).expect("texts and numbers serialise")
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let error = |reason: String| RestoreError { machine: Self::NAME, reason };
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))?;
        if snapshot.version != VERSION {
            return Err(error(format!("it has version {}, and this weir reads {VERSION}", snapshot.version)));
        }
        Ok(snapshot.runs)
    }
}
