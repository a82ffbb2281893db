//! Vendors' accounts and crawls.

use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_crawl::runs::Overlap;
use weir_schedule::Schedule;
use weir_schema::Schema;
use weir_types::{ApiName, CrawlName};

use super::To;
use crate::Place;

/// An `api` block: a vendor's account.
#[derive(Debug)]
pub struct ApiPlan {
    /// Its name.
    pub name: ApiName,
    /// Where it is, and how it is shown who calls.
    pub client: weir_crawl::spec::Client,
    /// What it allows.
    pub budget: weir_budget::Settings,
    /// Where the block is.
    pub place: Place,
}

/// A `crawl` block.
#[derive(Debug)]
pub struct CrawlPlan {
    /// Its name.
    pub name: CrawlName,
    /// The account that it calls.
    pub api: ApiName,
    /// What it calls.
    pub spec: weir_crawl::spec::Crawl,
    /// When it runs; none: by hand.
    pub schedule: Option<Schedule>,
    /// What becomes of a run that is due too early.
    pub overlap: Overlap,
    /// Its share of the account's budget.
    pub weight: u32,
    /// After how long a run is cancelled; none: never.
    pub timeout: Option<Duration>,
    /// Where its items go. Resources without a target only lead to others.
    pub outputs: Vec<CrawlOutputPlan>,
    /// Where the block is.
    pub place: Place,
}

/// Where a resource's items go.
#[derive(Debug)]
pub struct CrawlOutputPlan {
    /// The resource's name.
    pub resource: String,
    /// A stream or a table.
    pub to: To,
    /// What items are encoded with: the target stream's, or for a table the one that is pinned. None: it is not pinned yet.
    pub schema: Option<Schema>,
    /// The file that it is pinned in, for a table.
    pub schema_path: Option<PathBuf>,
    /// Its columns.
    pub columns: Option<SchemaRef>,
    /// Where it is written.
    pub place: Place,
}

/// When a table's readers see what a run brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visible {
    /// As it comes.
    #[default]
    AtOnce,
    /// When the run is complete, on top of what was there.
    Complete,
    /// When the run is complete, in place of what was there.
    Instead,
}

/// What a run that brought no row does to a table that runs replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfEmpty {
    /// Nothing: the rows of the run before stay, and the status says so.
    #[default]
    Keep,
    /// It empties the table.
    Replace,
}
