//! Tables of crawls whose schemas are not pinned yet: they are left out of the plan, with a word.

use std::collections::BTreeSet;
use std::sync::Arc;

use hcl_edit::Span;

use super::{Declared, Known};
use crate::block::crawl::Flow;
use crate::diagnostic::Report;
use crate::{Diagnostic, Place, TablePlan, To};

/// Takes out the tables that wait for a schema, and warns of those that are made of them.
pub(super) fn leave_out(
    crawls: &Known<Flow>,
    declared: &[Declared<'_>],
    tables: &mut Known<TablePlan>,
    report: &mut Report,
) {
    let plans = crawls.values().flatten().filter_map(|flow| flow.plan.as_ref());
    let outputs = plans.flat_map(|plan| &plan.outputs).filter(|output| output.schema.is_none());
    let unpinned: BTreeSet<String> = outputs
        .filter_map(|output| match &output.to {
            To::Table(table) => Some(table.as_str().to_owned()),
            _ => None,
        })
        .collect();
    if unpinned.is_empty() {
        return;
    }
    let missing: Vec<String> = tables.iter().filter(|(_, plan)| plan.is_none()).map(|(name, _)| name.clone()).collect();
    for name in missing {
        tables.remove(&name);
        if unpinned.contains(&name) {
            // Its resource's schema was warned of.
            continue;
        }
        let Some(block) = declared.iter().find(|block| block.kind == "table" && block.name == name) else { continue };
        let place = Place::new(Arc::clone(block.source), block.block.ident.span().unwrap_or_default());
        let message = format!("table \"{name}\" is left out: it is made of one whose schema is not pinned yet");
        report.push(Diagnostic::warning(message).at(place).hint("pin the schema first"));
    }
}
