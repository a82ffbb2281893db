//! `crawl "NAME" { api, schedule, ..., resource_defaults { ... }, resource "NAME" { ... } }`: what is pulled from a vendor.
//!
//! ```text
//! mod.rs         when it runs, for whom, and with which share
//! resource.rs    one kind of call, over the defaults of all
//! incremental.rs only what is new
//! action.rs      what becomes of certain answers
//! target.rs      where items go, and the schema that is pinned for them
//! compile.rs     the crawl as a whole: templates, parents, selectors
//! ```
//!
//! Texts hold templates, `{resources.group.id}`, which are not HCL's own `${...}`: they are filled in call by call.
//! Invariant: nothing secret is in a crawl. What opens the account is the api's.

mod action;
mod compile;
mod incremental;
mod resource;
mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use weir_crawl::runs::Overlap;
use weir_crawl::spec::{self, Tenant};
use weir_schedule::Schedule;
use weir_types::CrawlName;

use super::function::Edge;
use super::{Attributes, Inner, Reference, Shape, Times, noun};
use crate::diagnostic::Report;
use crate::load::{Known, Names};
use crate::{ApiPlan, CrawlOutputPlan, CrawlPlan, Diagnostic, StreamPlan};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &["api", "schedule", "timezone", "overlap", "weight", "timeout", "params", "tenant"],
    later: &["tags", "start", "end"],
    blocks: &[
        Inner { kind: "tenant", times: Times::Named },
        Inner { kind: "resource_defaults", times: Times::Once },
        Inner { kind: "resource", times: Times::Named },
    ],
};

const TENANT: Shape = Shape { attributes: &["weight", "params"], later: &[], blocks: &[] };

const OVERLAPS: [(&str, Overlap); 3] =
    [("skip", Overlap::Skip), ("queue", Overlap::Queue), ("replace", Overlap::Replace)];

const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const WEIGHT_MAX: u32 = 1000;
const RESOURCES_MAX: usize = 64;
const TENANTS_MAX: usize = 1000;

const SECRET_HINT: &str = "secrets are the api's: set `auth` or `headers` there";

/// What a crawl may refer to.
pub(crate) struct Around<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) streams: &'a Known<StreamPlan>,
    pub(crate) apis: &'a Known<ApiPlan>,
}

/// Where a crawl's items go, which is known even if the crawl was refused.
pub(crate) struct Flow {
    /// The name of the account that it calls, if there is one of this name.
    pub(crate) api: Option<String>,
    /// Where a resource's items go, by its name; `None` for a target that was refused.
    pub(crate) to: Vec<(String, Option<Edge>)>,
    pub(crate) plan: Option<CrawlPlan>,
}

impl Flow {
    /// Tells whether the crawl may write to more than is known.
    pub(crate) fn is_partial(&self) -> bool {
        self.to.iter().any(|(_, edge)| edge.is_none())
    }

    /// Returns what the crawl says of a resource that has a target.
    pub(crate) fn output(&self, resource: &str) -> Option<(&CrawlOutputPlan, &spec::Resource)> {
        let plan = self.plan.as_ref()?;
        let output = plan.outputs.iter().find(|output| output.resource == resource)?;
        let resource = plan.spec.resources.iter().find(|known| known.name == resource)?;
        Some((output, resource))
    }
}

/// Reads one crawl; `before` is how many errors there were before its block was opened.
pub(crate) fn read(
    block: &Attributes<'_>,
    name: CrawlName,
    around: &Around<'_>,
    before: usize,
    report: &mut Report,
) -> Flow {
    let api = api(block, around, report);
    let schedule = schedule(block, report);
    let overlap = block.choice("overlap", &OVERLAPS, report).unwrap_or_default();
    let weight = block.whole_number("weight", 1..=WEIGHT_MAX, report).unwrap_or(1);
    let timeout = block.span("timeout", TIMEOUT_MIN..=TIMEOUT_MAX, report);
    let params = params(block, report);
    let tenant = block.name_text("tenant", "{resources.group.customer}", report).map(|text| text.value);
    let tenants = tenants(block, report);
    let read = resource::read_all(block, &name, around, report);
    let mut flow = Flow { api: api.clone(), to: read.to, plan: None };
    let (Some(params), Some(tenants), Some(resources), Some(schedule)) = (params, tenants, read.resources, schedule)
    else {
        return flow;
    };
    let Some(account) = api.and_then(|api| around.apis.get(&api)).and_then(Option::as_ref) else { return flow };
    let spec = spec::Crawl { name: name.as_str().to_owned(), resources, tenants, tenant, params };
    // What was refused already would be refused once more, in other words.
    if report.errors() > before || !compile::check(block, &account.client, &spec, report) {
        return flow;
    }
    flow.plan = Some(CrawlPlan {
        spec,
        name,
        api: account.name.clone(),
        schedule,
        overlap,
        weight,
        timeout,
        outputs: read.outputs,
        place: block.place(),
    });
    flow
}

/// Reads the account's name; `None` if there is none of this name.
fn api(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Option<String> {
    if !block.has("api") {
        block.missing("api", "name the account that it calls: `api = api.NAME`", report);
    }
    let other = |reference: &Reference| {
        (format!("a crawl can't call a {}", noun(&reference.kind)), "name an account: `api = api.NAME`".to_owned())
    };
    let name = block.reference("api", &["api"], other, report)?.value.name;
    around.names.check("api", &name, || block.value_place("api"), report).then_some(name)
}

/// Reads when it runs; the outer `None` says that something was refused.
fn schedule(block: &Attributes<'_>, report: &mut Report) -> Option<Option<Schedule>> {
    if !block.has("schedule") {
        let message = |_: &str| "`timezone` is of a `schedule`, and there is none".to_owned();
        block.forbid(["timezone"], message, "remove it, or set `schedule`", report);
        return Some(None);
    }
    let text = block.name_text("schedule", "cron(0 2 * * ? *)", report)?;
    let zone = block.name_text("timezone", "Europe/Berlin", report);
    if zone.is_none() && block.has("timezone") {
        return None;
    }
    match Schedule::parse(&text.value, zone.as_ref().map(|zone| zone.value.as_str())) {
        Ok(schedule) => Some(Some(schedule)),
        Err(error) => {
            super::schedule::refuse(block, "schedule", text, error, report);
            None
        }
    }
}

fn params(block: &Attributes<'_>, report: &mut Report) -> Option<Vec<(String, String)>> {
    match block.has("params") {
        true => block.plain_map("params", SECRET_HINT, report),
        false => Some(Vec::new()),
    }
}

fn tenants(block: &Attributes<'_>, report: &mut Report) -> Option<Vec<Tenant>> {
    let blocks = block.inner("tenant", &TENANT, report);
    if blocks.len() > TENANTS_MAX {
        let message = format!("{block} has {} tenants, and may have {TENANTS_MAX}", blocks.len());
        let hint = "let an item name them: `tenant = \"{resources.group.customer}\"`";
        report.push(Diagnostic::error(message).at(block.place()).hint(hint));
        return None;
    }
    let mut tenants = BTreeMap::new();
    for inner in &blocks {
        let weight = inner.whole_number("weight", 1..=WEIGHT_MAX, report).unwrap_or(1);
        let params = params(inner, report)?;
        tenants.insert(inner.name, Tenant { name: inner.name.to_owned(), weight, params });
    }
    Some(tenants.into_values().collect())
}
