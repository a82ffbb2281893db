//! Budgets: what a vendor's account allows, shared by all that call it, and never exceeded.
//!
//! Knows no HTTP: it gives permits, and learns from [`Signal`]s.

mod settings;
mod signal;

pub use settings::{Pace, Quota, QuotaPeriod, Rate, Settings, Window};
pub use signal::{LimitHeaders, Outcome, Signal};
