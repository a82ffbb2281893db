//! Warnings about what a configuration declares, and nothing is the worse for.

use std::collections::BTreeSet;
use std::sync::Arc;

use hcl_edit::Span;
use weir_types::{ApiName, LookupName};

use super::{Declared, Known};
use crate::block::function::Flow;
use crate::block::{crawl, noun};
use crate::diagnostic::Report;
use crate::eval::Scope;
use crate::{Diagnostic, Place, TablePlan, TableSource};

/// What may refer to blocks.
pub(super) struct Around<'a> {
    pub(super) functions: &'a Known<Flow>,
    pub(super) tables: &'a Known<TablePlan>,
    pub(super) crawls: &'a Known<crawl::Flow>,
}

/// Warns of blocks that nothing refers to. A queue may be its clients' alone, and a stream, function or table has a use
/// of its own.
pub(super) fn check(scope: &Scope<'_>, declared: &[Declared<'_>], around: &Around<'_>, report: &mut Report) {
    let Around { functions, tables, crawls } = around;
    let flows = || functions.values().flatten();
    let rollups = tables.values().flatten().filter_map(|table| match &table.source {
        TableSource::Rollup(rollup) => Some(rollup),
        _ => None,
    });
    let of_rollups = rollups.flat_map(|rollup| &rollup.reads).map(LookupName::as_str);
    let read: BTreeSet<&str> = flows().flat_map(|flow| &flow.reads).map(String::as_str).chain(of_rollups).collect();
    let on = |kind: &str, name: &str| {
        flows().filter_map(|flow| flow.on.as_ref()).any(|on| on.target.kind == kind && on.target.name == name)
    };
    let fills = |name: &str| {
        let of_files = format!("_files-{name}");
        tables
            .values()
            .flatten()
            .any(|table| matches!(&table.source, TableSource::Stream(stream) if stream.as_str() == of_files))
    };
    let called = |name: &str| {
        let crawled = crawls.values().flatten().filter_map(|flow| flow.api.as_deref());
        let plans = flows().filter_map(|flow| flow.plan.as_ref());
        crawled.chain(plans.flat_map(|plan| &plan.apis).map(ApiName::as_str)).any(|api| api == name)
    };
    let used = scope.used.borrow();
    for block in declared {
        let (unused, hint) = match block.kind {
            "lookup" => (!read.contains(block.name), "join with it in a function's SQL, or remove it"),
            "variable" => (!used.contains(block.name), "refer to it as `var.NAME`, or remove it"),
            "schedule" => (!on("schedule", block.name), "let a handler run on it: `on = schedule.NAME`, or remove it"),
            "api" => (!called(block.name), "let a crawl call it: `api = api.NAME`, or remove it"),
            "files" => (
                !on("files", block.name) && !fills(block.name),
                "let a function run on it: `on = files.NAME`, or remove it",
            ),
            _ => continue,
        };
        if unused {
            let span = block.block.ident.span().unwrap_or_default();
            let place = Place::new(Arc::clone(block.source), span);
            let message = format!("{} \"{}\" is not used", noun(block.kind), block.name);
            report.push(Diagnostic::warning(message).at(place).hint(hint));
        }
    }
}
