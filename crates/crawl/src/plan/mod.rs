//! A crawl, compiled: tasks become requests, answers become items and further tasks.
//!
//! ```text
//!     Client, Crawl --compile--> Plan --roots--> tasks
//!                                 |
//!     task --request--> Request --(transport)--> Answer --read--> items, children, next page
//!                                                     \--signal--> what the budget learns
//! ```
//!
//! Invariants: everything that can be known to be wrong is refused by [`Plan::compile`]; a task carries all values that it
//! and what hangs below it need, so that any process can call it; no value of the vendor's changes the shape of a path,
//! adds a header, or sends credentials to another origin; what is not certainly data is a failure.

mod children;
mod compile;
mod error;
mod fill;
mod interpret;
mod request;
mod resource;
mod roots;
mod shape;
mod signal;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use url::Url;

pub use error::{RequestError, RunError, SpecError};
pub use shape::{Output, Step};

use crate::spec::{Client, Crawl};
use crate::template::Template;
use resource::Compiled;

/// A compiled crawl. Immutable; one serves all workers.
///
/// ```
/// use std::time::Duration;
/// use weir_crawl::spec::{Client, Crawl, Resource};
/// use weir_crawl::{Answer, Plan, Read, RunValues};
/// use weir_types::Timestamp;
///
/// let client = Client::new("https://vendor.example/v1".parse().unwrap());
/// let crawl = Crawl::new("devices", vec![
///     Resource::new("group", "/groups"),
///     Resource::new("device", "/groups/{resources.group.id}/devices"),
/// ]);
/// let plan = Plan::compile(&client, &crawl).unwrap();
/// let run = RunValues::new(1, Timestamp(0));
///
/// let task = plan.roots(&run).remove(0);
/// assert_eq!(plan.request(&task, &run).unwrap().url.as_str(), "https://vendor.example/v1/groups");
///
/// let body = r#"{"items": [{"id": "a/b"}]}"#.into();
/// let answer = Answer { status: 200, headers: Vec::new(), body, latency: Duration::ZERO };
/// let Read::Data(page) = plan.read(&task, &run, &answer) else { panic!() };
/// let below = plan.request(&page.children[0], &run).unwrap();
/// assert_eq!(below.url.as_str(), "https://vendor.example/v1/groups/a%2Fb/devices");
/// ```
#[derive(Debug, Clone)]
pub struct Plan {
    name: String,
    base: Base,
    resources: Vec<Compiled>,
    by_name: HashMap<String, usize>,
    params: BTreeMap<String, String>,
    /// Tenants that the crawl names, in its order, with their values.
    tenants: Vec<(String, BTreeMap<String, String>)>,
    tenant_rule: Option<TenantRule>,
    steps: Vec<Step>,
}

/// Where all requests go.
#[derive(Debug, Clone)]
struct Base {
    /// Without query and fragment.
    url: Url,
    /// Its path without the slash at its end.
    path: String,
    /// The parameter of the API key, if that is where it goes.
    key_param: Option<String>,
}

impl Base {
    /// Returns scheme, host and port, for people.
    fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// How the tenant of what hangs below a resource's items is named.
#[derive(Debug, Clone)]
struct TenantRule {
    template: Template,
    /// The resource whose items name it.
    resource: usize,
}

impl Plan {
    /// Compiles a crawl.
    ///
    /// # Errors
    /// All that is wrong with it, each with its resource, its attribute, and the next step.
    pub fn compile(client: &Client, crawl: &Crawl) -> Result<Self, Vec<SpecError>> {
        compile::compile(client, crawl)
    }

    /// Returns the crawl's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the resources as a tree, each before those below it.
    pub fn shape(&self) -> &[Step] {
        &self.steps
    }

    /// Returns what comes out of the resources, in the crawl's order.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.resources.iter().map(|resource| &resource.output)
    }

    /// Returns how often a task of a resource is tried; one for a resource that isn't there.
    pub fn attempts(&self, resource: &str) -> u32 {
        self.resource(resource).map_or(1, |resource| resource.attempts)
    }

    /// Returns the larger of two cursors of a resource, the first where they can't be compared. For the fold over pages.
    pub fn larger(&self, resource: &str, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        let cursor = self.resource(resource).and_then(|resource| resource.cursor.as_ref());
        match (a, b, cursor) {
            (Some(a), Some(b), Some(cursor)) => Some(cursor.larger(a, b)),
            (a, b, _) => a.or(b),
        }
    }

    fn resource(&self, name: &str) -> Option<&Compiled> {
        self.by_name.get(name).map(|index| &self.resources[*index])
    }
}
