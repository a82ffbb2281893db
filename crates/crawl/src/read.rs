//! What an answer, or the lack of one, means.

use serde_json::Value;

use crate::Task;

/// The most problems of one page that are named; what is beyond is counted.
pub const PROBLEMS_MAX: usize = 20;

/// What an answer means for its task.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// It is data: the task is done.
    Data(Box<Page>),
    /// The crawl says that such answers are passed over: the task is done, without items. Its list ends here.
    Ignored {
        /// The answer's status.
        status: u16,
    },
    /// It is worth trying again. Uses up an attempt.
    Retry(Failure),
    /// The vendor asks for a slower pace. Uses up no attempt.
    Throttled(Failure),
    /// Trying again would bring the same: the task is a dead letter.
    Dead(Failure),
}

/// One page of items, and what follows from it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The items, in the vendor's order, each a JSON object. What was none is `{"value": x}`, as in dlt.
    pub items: Vec<Value>,
    /// A task for each item and each resource below.
    pub children: Vec<Task>,
    /// Where the list goes on. None: it ends here.
    pub next: Option<Task>,
    /// The largest value of the incremental cursor. Of a resource without one: none.
    pub largest: Option<Value>,
    /// Items below the incremental start, which are not among `items`.
    pub dropped: u64,
    /// What is wrong with single items; the first [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many problems there were.
    pub problems_count: u64,
}

/// What is wrong with one item. The item itself is among the page's, and the others are not held up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {index}: field `{field}` {problem}, so that {lost}")]
pub struct Problem {
    /// Which of the page's items, as the vendor sent them, from zero.
    pub index: usize,
    /// Path of the field in the item.
    pub field: String,
    /// What is wrong with it.
    pub problem: FieldProblem,
    /// What can't be done for it.
    pub lost: Lost,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// It isn't there, or null.
    #[error("is missing")]
    Missing,
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It is a list or an object, where a text is filled in.
    #[error("is a list or an object")]
    Nested,
    /// It is a number that JSON readers round.
    #[error("is too large a number to be exact")]
    Inexact,
    /// It is longer than a name may be.
    #[error("is too long")]
    TooLong,
    /// It can't be compared with the cursor that was seen before.
    #[error("is no cursor of the same kind as the others")]
    Incomparable,
}

/// What an item's problem costs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No task of this resource was made for the item.
    #[error("`{0}` was not called for it")]
    Child(String),
    /// The tenant of what hangs below is unknown: nothing below was called.
    #[error("nothing below it was called, for its tenant is unknown")]
    Tenant,
    /// The item does not count for the next incremental start, and is kept.
    #[error("the next incremental start does not know of it")]
    Cursor,
}

/// Why an answer is no data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A status of refusal or failure.
    #[error("status {status}{excerpt}")]
    Status {
        /// The status.
        status: u16,
        /// The answer's beginning, behind a colon; empty without.
        excerpt: String,
    },
    /// A response action says so.
    #[error("status {status} is `{action}` by the resource's `response_action`{excerpt}")]
    Action {
        /// The status.
        status: u16,
        /// The action's name.
        action: &'static str,
        /// The answer's beginning, behind a colon; empty without.
        excerpt: String,
    },
    /// A body that is no JSON, or ends before its end.
    #[error("status {status} with a body that is no JSON ({reason}){excerpt}")]
    NotJson {
        /// The status.
        status: u16,
        /// Where, and what is wrong.
        reason: String,
        /// The answer's beginning, behind a colon; empty without.
        excerpt: String,
    },
    /// The selector finds nothing.
    #[error("`data_selector` `{selector}` finds nothing in the answer, which {found}")]
    NothingSelected {
        /// The selector.
        selector: String,
        /// What the answer has instead.
        found: String,
    },
    /// An error in an answer whose status says that all is well.
    #[error("status {status} with an error as its body{excerpt}")]
    Disguised {
        /// The status.
        status: u16,
        /// The answer's beginning, behind a colon.
        excerpt: String,
    },
    /// There is no selector, and the items could be in several places.
    #[error("the items may be in {}: name one as `data_selector`", .candidates.join(" or "))]
    AmbiguousData {
        /// Paths of lists, in backticks.
        candidates: Vec<String>,
    },
    /// The list goes on, and it can't be seen how.
    #[error("the list does not end here ({sign}), and how it goes on can't be seen: name its `paginator`")]
    UnknownPaginator {
        /// What says so.
        sign: String,
    },
    /// The next page is where this one is: the list would never end.
    #[error("the next page, {next}, is this one again")]
    Loop {
        /// Where it was said to be.
        next: String,
    },
    /// The next page is on another host.
    #[error("the next page, `{link}`, is not on `{origin}`: credentials don't go elsewhere")]
    ForeignLink {
        /// The link.
        link: String,
        /// Scheme, host and port of the base URL.
        origin: String,
    },
    /// What says how the list goes on is of the wrong type.
    #[error("`{path}` {problem}")]
    Pagination {
        /// Its path, or header.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There was no whole answer.
    #[error("{reason}")]
    Transport {
        /// The transport's words.
        reason: String,
    },
}
