//! One call that is to be made, as it stands in the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// At a URL, whole.
    Url(String),
    /// Behind a cursor.
    Cursor(Value),
    /// At an offset.
    Offset(u64),
    /// At a page's number.
    Page(u64),
    /// Behind a cursor whose parameter was found by looking at the answer that had it.
    Found {
        /// The parameter that it is sent back in.
        param: String,
        /// The cursor.
        value: Value,
    },
}

/// One call. Small: only the values that its own templates, and those of what hangs below it, need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The run's number.
    #[serde(rename = "r")]
    pub run: u64,
    /// The resource's name.
    #[serde(rename = "s")]
    pub resource: String,
    /// The tenant's name; empty without tenants.
    #[serde(rename = "t", default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// Values of items above it, by `RESOURCE.FIELD`; of an incremental resource, from where it asks, by `$start`.
    #[serde(rename = "v", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
    /// Where its list goes on; none: it begins.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub page: Option<PageState>,
    /// The page's number, from zero.
    #[serde(rename = "n", default)]
    pub pages: u64,
    /// Attempts that failed.
    #[serde(rename = "a", default)]
    pub attempt: u32,
}
