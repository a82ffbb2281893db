//! Budgets: what a vendor's account allows, shared by all that call it, and never exceeded.
//!
//! ```text
//!   flows --permit--> fair queue --> pacer: "now" or "nobody before T, because R" --> Permit
//!                                      ^                                                |
//!                                      +------------- Signal: what the answer said -----+
//! ```
//!
//! A [`Budget`] is one account. Who calls it holds a [`Flow`] (a crawl or function, and a tenant of it), waits for a
//! [`Permit`] just before a call is written, and ends it with a [`Signal`]. Knows no HTTP, but [`read_headers`] turns the names and
//! values of headers into what a signal says. What has to survive a restart is a machine, [`Budgets`].
//!
//! Invariants: in any window of length `w`, also over restarts, there are at most burst + rate x `w` permits of each configured rate; no
//! period has more permits than its quota; what was learned only lowers what was configured.
//!
//! ```
//! use std::sync::Arc;
//! use weir_budget::{Budget, Budgets, Outcome, Settings, Share, Signal};
//! # use weir_env::Env; use weir_log::{Engine, MemoryEngine}; use weir_machine::{Options, Owner, Snapshots};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let env = Env::system();
//! # let engine = MemoryEngine::new(env.clone());
//! # let log = engine.log(&weir_types::LogName::machine("budgets")).await.unwrap();
//! # let store = Arc::new(object_store::memory::InMemory::new());
//! # let snapshots = Snapshots::new(store, object_store::path::Path::from("snapshots"));
//! let facts: Owner<Budgets> = Owner::open(log, snapshots, env.clone(), Options::default()).await.unwrap();
//! let budget = Budget::open("monitor".parse().unwrap(), Settings::default(), facts, env);
//! let flow = budget.flow(&[Share { name: "crawl/devices", weight: 1 }, Share { name: "tenant-7", weight: 1 }]);
//! let permit = flow.permit().await;
//! // ... the call ...
//! let verdict = permit.end(Signal::of(Outcome::Answered));
//! assert!(!verdict.vendor_down);
//! # }
//! ```

mod budget;
mod facts;
mod fair;
mod headers;
mod pacer;
mod settings;
mod signal;
mod status;

pub use budget::{Budget, Flow, Permit, Share};
pub use facts::{BudgetCommand, Budgets, Facts, Learned, QuotaKey};
pub use headers::{RESET_MAX, RETRY_AFTER_MAX, Said, read_headers};
pub use pacer::{CONCURRENCY_DEFAULT, Hold, Now, OUTAGE_MAX, Pacer, Reservation, Ticket};
pub use settings::{Pace, Quota, QuotaPeriod, Rate, Settings, Window};
pub use signal::{LimitHeaders, Outcome, Signal, Verdict};
pub use status::{BreakerState, Estimate, FLOWS_SHOWN_MAX, FlowStatus, PaceSource, QuotaStatus, Status, Wait};
