//! Which columns of the input a query passes on as they are.

use std::collections::BTreeMap;

use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use super::names::INPUT;

/// Returns, by the name of each output column that is one of the input's, unchanged, the name that it has there.
pub(super) fn passed(plan: &LogicalPlan) -> BTreeMap<String, String> {
    let fields = plan.schema().fields();
    let named =
        fields.iter().enumerate().filter_map(|(index, field)| Some((field.name().clone(), origin(plan, index)?)));
    named.collect()
}

fn origin(plan: &LogicalPlan, index: usize) -> Option<String> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(index)?;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            let Expr::Column(column) = expr else { return None };
            origin(&projection.input, projection.input.schema().index_of_column(column).ok()?)
        }
        LogicalPlan::TableScan(scan) if scan.table_name.table() == INPUT => {
            Some(plan.schema().fields().get(index)?.name().clone())
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => None,
                _ if index < left => origin(&join.left, index),
                _ => origin(&join.right, index - left),
            }
        }
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, index),
        LogicalPlan::Filter(filter) => origin(&filter.input, index),
        LogicalPlan::Sort(sort) => origin(&sort.input, index),
        _ => None,
    }
}
