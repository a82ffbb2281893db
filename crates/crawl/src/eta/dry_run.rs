//! How many calls a run would make, and how long that would take: before any is made.

use serde::{Deserialize, Serialize};
use weir_types::{SequenceNumber, Timestamp};

use super::Eta;
use super::estimate::Estimator;
use super::prior::Prior;
use super::supply::Supply;
use crate::Task;
use crate::progress::{Event, Progress, Step};
use crate::runs::Run;
use crate::status::Expected;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How long it would take, and how many calls in all.
    pub eta: Eta,
    /// Tasks by resource, parents before children.
    pub steps: Vec<PlannedStep>,
    /// What it rests on.
    pub rests_on: RestsOn,
}

/// What a run would do of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The resource's name.
    pub resource: String,
    /// Its tasks.
    pub tasks: Expected,
}

/// What a dry run rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestsOn {
    /// The numbers of the complete runs that were looked at; none: only the roots are known.
    pub runs: Vec<u64>,
    /// The same in words.
    pub text: String,
}

/// Estimates a run that has not begun, from complete runs of the history (the oldest first) and the tasks that it would begin
/// with.
pub fn dry_run(
    history: &[Run],
    tenants: Option<&[String]>,
    steps: Vec<Step>,
    roots: &[Task],
    supply: Supply<'_>,
    now: Timestamp,
) -> Plan {
    let prior = Prior::of(history, tenants);
    let mut progress = Progress::default();
    progress.apply(SequenceNumber::ZERO, &Event::started(0, now, steps, roots));
    let Some(run) = progress.run(0) else { unreachable!("it has just begun") };
    let estimate = Estimator { prior: &prior, supply, now }.run(run);
    let runs = prior.runs();
    let text = match runs.as_slice() {
        [] => "no run was complete yet: only the first calls are known".to_owned(),
        [one] => format!("run {one}"),
        [first, .., last] => format!("runs {first} to {last}, the last one's numbers and how they changed"),
    };
    let steps = estimate.steps.into_iter().map(|(resource, tasks)| PlannedStep { resource, tasks }).collect();
    Plan { eta: estimate.eta, steps, rests_on: RestsOn { runs, text } }
}
