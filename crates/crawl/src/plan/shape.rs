//! How the resources of a crawl hang together, and what comes out of them.

use crate::spec::WriteDisposition;

/// One resource in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The resource's name.
    pub resource: String,
    /// The resource for whose items it is called; none: once per run and tenant.
    pub parent: Option<String>,
    /// Resources above it.
    pub depth: usize,
}

/// What comes out of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The resource's name.
    pub resource: String,
    /// What tells items apart.
    pub primary_key: Vec<String>,
    /// What becomes of earlier rows.
    pub write_disposition: WriteDisposition,
    /// Fields that items get from their parents, `_PARENT_FIELD`.
    pub from_parent: Vec<String>,
    /// The incremental cursor's path, if it has one.
    pub cursor: Option<String>,
}
