//! From `weir.hcl` to a checked plan.
//!
//! [`load`] reads a folder's `*.hcl` files as one, evaluates them, and checks everything that can be checked without
//! starting anything: names, values, references, schemas, SQL, and the columns that flow along each edge. Invariant: a
//! [`Plan`] is whole and consistent; whatever is wrong is a [`Diagnostic`] with its place and the next step, and as many
//! of them are found at once as can be told apart from their consequences. Nothing in a file is ignored: what this version
//! does not know is refused.
//!
//! Reads files (configuration, schemas, SQL, lookups) and nothing else: the environment is the caller's ([`Inputs`]).
//! Values of secrets are neither kept nor printed. Knows no HTTP, no logs, no tables.
//!
//! ```
//! use weir_config::{Inputs, load};
//!
//! let dir = tempfile::tempdir().unwrap();
//! std::fs::write(dir.path().join("weir.hcl"), "stream \"clicks\" {\n  shema = \"click.avsc\"\n}\n").unwrap();
//! let diagnostics = load(dir.path(), &Inputs::default()).unwrap_err();
//! assert_eq!(
//!     diagnostics[1].render(),
//!     "error: unknown attribute `shema` in stream \"clicks\"
//!   --> weir.hcl:2:3
//!    |
//!  2 |   shema = \"click.avsc\"
//!    |   ^^^^^
//!   hint: did you mean `schema`?
//! "
//! );
//! ```

mod block;
mod diagnostic;
mod eval;
mod files;
mod flow;
mod inputs;
mod limits;
mod load;
mod nearest;
mod oneline;
mod place;
mod plan;
mod rows;
mod sql;
mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use inputs::{Inputs, SECRET_PREFIX};
pub use load::load;
pub use place::{Place, Source};
pub use plan::{
    ApiPlan, ArchivePlan, BadRows, BatchPlan, Body, CompactionPlan, CrawlOutputPlan, CrawlPlan, DeadLetterPlan,
    EnvironmentValue, Evolve, FifoPlan, FilesContent, FilesFormat, FilesPlan, FilesStart, FunctionPlan, HandlerPlan,
    IfEmpty, Keep, LookupPlan, Network, On, OutputPlan, PartitionBy, Plan, QueuePlan, RefreshPlan, RetryPlan,
    RollupPlan, RollupScope, Rule, RuntimePlan, SchedulePlan, Start, StreamPlan, TablePlan, TableSource, To,
    VariablePlan, Visible,
};
