//! Warnings about what a configuration declares, and nothing is the worse for.

use std::collections::BTreeSet;
use std::sync::Arc;

use hcl_edit::Span;
use weir_types::LookupName;

use super::{Declared, Known};
use crate::block::function::Flow;
use crate::block::noun;
use crate::diagnostic::Report;
use crate::eval::Scope;
use crate::{Diagnostic, Place, TablePlan, TableSource};

/// Warns of blocks that nothing refers to. A queue may be its clients' alone, and a stream, function or table has a use
/// of its own.
pub(super) fn check(
    scope: &Scope<'_>,
    declared: &[Declared<'_>],
    functions: &Known<Flow>,
    tables: &Known<TablePlan>,
    report: &mut Report,
) {
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
    let used = scope.used.borrow();
    for block in declared {
        let (unused, hint) = match block.kind {
            "lookup" => (!read.contains(block.name), "join with it in a function's SQL, or remove it"),
            "variable" => (!used.contains(block.name), "refer to it as `var.NAME`, or remove it"),
            "schedule" => (!on("schedule", block.name), "let a handler run on it: `on = schedule.NAME`, or remove it"),
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
