//! `resource "NAME" { path, method, params, ..., to }`, over what `resource_defaults` says.
//!
//! An attribute of the resource hides that of the defaults; maps are joined, entry by entry.

use weir_crawl::Method;
use weir_crawl::spec::{Resource, WriteDisposition};
use weir_types::CrawlName;

use super::{Around, RESOURCES_MAX, SECRET_HINT, action, incremental, target};
use crate::block::function::Edge;
use crate::block::json::{self, Holder};
use crate::block::{Attributes, Inner, Shape, Times, api, paginator};
use crate::diagnostic::Report;
use crate::value::Kind;
use crate::{CrawlOutputPlan, Diagnostic};

pub(super) const RESOURCE: Shape = Shape {
    attributes: &[
        "path",
        "method",
        "params",
        "headers",
        "body",
        "data_selector",
        "paginator",
        "include_from_parent",
        "primary_key",
        "write_disposition",
        "attempts",
        "pages_max",
        "to",
        "schema",
    ],
    later: &["processing_steps", "data_maps", "merge_key"],
    blocks: &INNER,
};

pub(super) const DEFAULTS: Shape = Shape {
    attributes: &[
        "method",
        "params",
        "headers",
        "data_selector",
        "paginator",
        "include_from_parent",
        "primary_key",
        "write_disposition",
        "attempts",
        "pages_max",
    ],
    later: &["processing_steps", "data_maps", "merge_key"],
    blocks: &INNER,
};

const INNER: [Inner; 3] = [
    paginator::INNER,
    Inner { kind: "incremental", times: Times::Once },
    Inner { kind: "response_action", times: Times::Repeated },
];

const METHODS: [(&str, Method); 6] = [
    ("GET", Method::Get),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
    ("PATCH", Method::Patch),
    ("HEAD", Method::Head),
];

const DISPOSITIONS: [(&str, WriteDisposition); 3] =
    [("append", WriteDisposition::Append), ("replace", WriteDisposition::Replace), ("merge", WriteDisposition::Merge)];

const ATTEMPTS_DEFAULT: u32 = 8;
const ATTEMPTS_MAX: u32 = 100;
const PAGES_DEFAULT: u32 = 10_000;
const PAGES_MAX: u32 = 1_000_000_000;

const BODY: Holder = Holder { attribute: "body", secret_hint: SECRET_HINT };

/// The resources of a crawl.
pub(super) struct Read {
    /// Where their items go; `None` for a target that was refused.
    pub(super) to: Vec<(String, Option<Edge>)>,
    pub(super) outputs: Vec<CrawlOutputPlan>,
    /// None if one was refused.
    pub(super) resources: Option<Vec<Resource>>,
}

pub(super) fn read_all(crawl: &Attributes<'_>, name: &CrawlName, around: &Around<'_>, report: &mut Report) -> Read {
    let defaults = crawl.inner("resource_defaults", &DEFAULTS, report);
    let blocks = crawl.inner("resource", &RESOURCE, report);
    if blocks.is_empty() {
        let message = format!("{crawl} has no resource");
        let hint = "say what it calls: `resource \"items\" { path = \"/items\"  to = table.items }`";
        report.push(Diagnostic::error(message).at(crawl.place()).hint(hint));
    }
    if blocks.len() > RESOURCES_MAX {
        let message = format!("{crawl} has {} resources, and may have {RESOURCES_MAX}", blocks.len());
        report.push(Diagnostic::error(message).at(crawl.place()).hint("make several crawls of it"));
    }
    let mut read = Read { to: Vec::new(), outputs: Vec::new(), resources: Some(Vec::new()) };
    for block in &blocks {
        let layered = Layered { own: block, defaults: defaults.first() };
        let resource = one(&layered, report);
        if let Some(target) = target::read(block, name, around, report) {
            read.to.push((block.name.to_owned(), target.edge));
            match target.output {
                Some(output) => read.outputs.push(output),
                None => read.resources = None,
            }
        }
        match (&mut read.resources, resource) {
            (Some(resources), Some(resource)) => resources.push(resource),
            (resources, _) => *resources = None,
        }
    }
    if !blocks.is_empty() && read.to.is_empty() {
        let message = format!("{crawl} keeps nothing: none of its resources has a `to`");
        let hint = "name where the items of one go: `to = table.NAME`, or a stream";
        report.push(Diagnostic::warning(message).at(crawl.place()).hint(hint));
    }
    read
}

/// A resource over the defaults of its crawl.
struct Layered<'b, 'a> {
    own: &'b Attributes<'a>,
    defaults: Option<&'b Attributes<'a>>,
}

impl<'b, 'a> Layered<'b, 'a> {
    /// Returns the block that says what an attribute is: the defaults only where the resource is silent.
    fn of(&self, name: &str) -> &'b Attributes<'a> {
        self.of_those(|block| block.is_written(name))
    }

    fn of_those(&self, says: impl Fn(&Attributes<'a>) -> bool) -> &'b Attributes<'a> {
        match self.defaults {
            Some(defaults) if !says(self.own) && says(defaults) => defaults,
            _ => self.own,
        }
    }

    /// Reads a list, which may be one.
    fn texts(&self, name: &str, example: &str, report: &mut Report) -> Option<Vec<String>> {
        let block = self.of(name);
        if !block.has(name) {
            return Some(Vec::new());
        }
        Some(block.one_or_more(name, example, report)?.into_iter().map(|text| text.value).collect())
    }

    /// Reads a map, the resource's entries instead of the defaults' of the same key.
    fn map(&self, name: &str, report: &mut Report) -> Option<Vec<(String, String)>> {
        let mut read = |block: &Attributes<'_>| match block.has(name) {
            true => block.plain_map(name, SECRET_HINT, report),
            false => Some(Vec::new()),
        };
        let own = read(self.own)?;
        let mut joined = self.defaults.map_or(Some(Vec::new()), &mut read)?;
        joined.retain(|(key, _)| own.iter().all(|(known, _)| known != key));
        joined.extend(own);
        Some(joined)
    }
}

/// Reads one resource; `None` if something was refused.
fn one(layered: &Layered<'_, '_>, report: &mut Report) -> Option<Resource> {
    let block = layered.own;
    if !block.has("path") {
        block.missing("path", "say what it calls, behind the base URL: `path = \"/items\"`", report);
    }
    let path = block.text("path", "/groups/{resources.group.id}/devices", report).map(|text| text.value);
    let method = layered.of("method").choice("method", &METHODS, report).unwrap_or_default();
    let params = layered.map("params", report);
    let headers = headers(layered, report);
    let body = body(block, method, report);
    let data_selector = layered.of("data_selector").name_text("data_selector", "data.items", report);
    let paginator = paginator::read(layered.of_those(paginator::is_in), report);
    let include_from_parent = layered.texts("include_from_parent", "\"id\"", report);
    let primary_key = layered.texts("primary_key", "\"id\"", report);
    let write_disposition =
        layered.of("write_disposition").choice("write_disposition", &DISPOSITIONS, report).unwrap_or_default();
    let has_incremental = |block: &Attributes<'_>| !block.inner_names("incremental").is_empty();
    let incremental = incremental::read(layered.of_those(has_incremental), report);
    let attempts = layered.of("attempts").whole_number("attempts", 1..=ATTEMPTS_MAX, report);
    let pages_max = layered.of("pages_max").whole_number("pages_max", 1..=PAGES_MAX, report);
    let mut response_actions = action::read_all(block, report)?;
    if let Some(defaults) = layered.defaults {
        // The first that fits holds.
        response_actions.extend(action::read_all(defaults, report)?);
    }
    let primary_key = primary_key?;
    if write_disposition == WriteDisposition::Merge && primary_key.is_empty() {
        let message = format!("{block} merges, and has no `primary_key`");
        let hint = "say what tells its items apart: `primary_key = \"id\"`";
        layered.of("write_disposition").refuse("write_disposition", message, hint, report);
        return None;
    }
    Some(Resource {
        name: block.name.to_owned(),
        path: path?,
        method,
        params: params?,
        headers: headers?,
        body: body?,
        data_selector: data_selector.map(|text| text.value),
        paginator: paginator?,
        include_from_parent: include_from_parent?,
        primary_key,
        write_disposition,
        incremental: incremental?,
        response_actions,
        attempts: attempts.unwrap_or(ATTEMPTS_DEFAULT),
        pages_max: pages_max.unwrap_or(PAGES_DEFAULT).into(),
    })
}

fn headers(layered: &Layered<'_, '_>, report: &mut Report) -> Option<Vec<(String, String)>> {
    let headers = layered.map("headers", report)?;
    for (name, _) in &headers {
        if let Some((message, hint)) = api::wrong_header(name) {
            layered.of("headers").refuse("headers", message, hint, report);
            return None;
        }
    }
    Some(headers)
}

/// Reads the body; the outer `None` says that it was refused.
fn body(block: &Attributes<'_>, method: Method, report: &mut Report) -> Option<Option<serde_json::Value>> {
    // A secret in it is refused below, with its own hint.
    let Some(value) = block.any_value("body", report) else { return Some(None) };
    match value.kind {
        Kind::Null => return Some(None),
        Kind::Unknown => return None,
        _ => {}
    }
    if matches!(method, Method::Get | Method::Head) {
        let hint = "set `method = \"POST\"`, or put it into `params`";
        block.refuse("body", format!("{block} has a body, and its method sends none"), hint, report);
        return None;
    }
    let mut text = String::new();
    json::write(block, &value, &BODY, &mut text, report)?;
    // What was written as JSON is JSON.
    serde_json::from_str(&text).ok().map(Some)
}
