//! What the runs are asked to do, and what they answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

use super::run::{By, Cursors, Run};
use crate::progress::Counts;

/// What becomes of a run that is asked for while another one of its crawl is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is left out, which is counted.
    #[default]
    Skip,
    /// It waits for the other's end; one waits at most.
    Queue,
    /// The other one is cancelled, and it begins then.
    Replace,
}

/// What is asked for by a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The crawl's name.
    pub crawl: String,
    /// Who asks.
    pub by: By,
    /// Values for `{params.NAME}` that are not the plan's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The tenants that are meant; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Tells a call that is made again from a second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What becomes of it while another run is under way.
    pub overlap: Overlap,
}

/// A change of the runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Asks for a run.
    Start(Start),
    /// Changes a run.
    Change {
        /// The crawl's name.
        crawl: String,
        /// The run's number.
        run: u64,
        /// How.
        change: Change,
    },
    /// Notes up to when a schedule is dealt with, without a run: a new one begins at its first sight, and skipped times are
    /// past.
    Seen {
        /// The crawl's name.
        crawl: String,
        /// The last time that is dealt with.
        time: Timestamp,
    },
    /// Lets the next run begin where the first one did.
    Rewind {
        /// The crawl's name.
        crawl: String,
        /// The resource; none: all.
        resource: Option<String>,
    },
    /// Forgets a crawl that is no longer in the plan: history, cursors, schedule. Its numbers are not used again.
    Forget {
        /// The crawl's name.
        crawl: String,
    },
}

/// A change of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It waits: calls under way end, and no others are made.
    Pause,
    /// It goes on.
    Resume,
    /// It is ended: what waits is dropped, what is under way ends.
    Cancel {
        /// Why, in words.
        reason: Option<String>,
    },
    /// Nothing of it is open any more, and its marker says so.
    Complete {
        /// What came of it, by resource.
        counts: BTreeMap<String, Counts>,
        /// Where the next run begins.
        cursors: Cursors,
    },
    /// It was being cancelled, and nothing of it is open any more.
    Cancelled {
        /// What came of it, by resource.
        counts: BTreeMap<String, Counts>,
    },
    /// It can't go on.
    Fail {
        /// Why, in words.
        reason: String,
        /// What came of it, by resource.
        counts: BTreeMap<String, Counts>,
    },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The run is under way from now on.
    Started(Box<Run>),
    /// The same start was made before, and this is its run as it is now.
    Known(Box<Run>),
    /// It was left out, because this run is under way.
    Skipped {
        /// The run that is under way.
        under_way: u64,
        /// The run that waits already, where the rule is to queue.
        waiting: Option<u64>,
    },
    /// It waits for the end of another.
    Queued {
        /// It.
        run: Box<Run>,
        /// The one under way.
        behind: u64,
    },
    /// It begins when another, which is being cancelled for it, has ended.
    Replaces {
        /// It.
        run: Box<Run>,
        /// The one that is being cancelled.
        cancelling: u64,
    },
    /// The schedule's time was dealt with before.
    Past {
        /// Up to when times are dealt with.
        seen: Timestamp,
    },
    /// The run as it is now.
    Changed(Box<Run>),
    /// The run is over.
    Ended {
        /// It.
        run: Box<Run>,
        /// The one that waited for it, and is under way from now on.
        next: Option<Box<Run>>,
    },
    /// What was asked of the crawl as a whole is done.
    Done,
    /// Nobody knows such a run.
    NoRun,
    /// The run's state has no place for that; the run as it is.
    NotInState(Box<Run>),
    /// The crawl can't be forgotten while this run is under way or waits.
    UnderWay(u64),
    /// It is larger than what is kept; what and how much, in words.
    TooLarge(String),
}
