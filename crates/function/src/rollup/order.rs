//! Refuses a rollup whose rows would depend on the clock, on chance, or on the order in which rows are read.
//!
//! Files are read in any order, and by several threads. So `first_value(x)` without an order is another row each time, and
//! so is `limit` without one; a sorted result means nothing to a table, which has no order. Over lookups, whose rows have one, all
//! of it is allowed.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, WindowFunctionDefinition};

use crate::SqlError;
use crate::sql::purity;

/// Aggregates whose value depends on the order of their rows, if none is asked for.
const ORDERED: [&str; 5] = ["array_agg", "first_value", "last_value", "nth_value", "string_agg"];

pub(super) fn check(sql: &str, plan: &LogicalPlan, source: &str) -> std::result::Result<(), SqlError> {
    let failed = |error: DataFusionError| SqlError::from_datafusion(sql, &error);
    let mut refused = None;
    let walked = plan.apply_with_subqueries(|node| {
        refused = match purity::volatile(sql, node)? {
            Some(refused) => {
                Some(refused.hint("a rollup computed again must give the same rows: use the rows' own times"))
            }
            None if purity::reads_table(node, source)? => unordered(sql, node)?,
            None => None,
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(failed)?;
    if refused.is_none() {
        refused = sorted(sql, plan, source).map_err(failed)?;
    }
    refused.map_or(Ok(()), Err)
}

/// Refuses a node whose rows depend on the order of those below.
fn unordered(sql: &str, node: &LogicalPlan) -> Result<Option<SqlError>> {
    if let LogicalPlan::Limit(limit) = node
        && !is_sorted(&limit.input)
    {
        return Ok(Some(
            SqlError::new("`limit` without `order by` takes other rows each time")
                .at_word(sql, &["limit", "fetch", "offset"])
                .hint("say which rows come first: `order by ... limit ...`, or leave the limit out"),
        ));
    }
    if let LogicalPlan::Distinct(Distinct::On(_)) = node {
        return Ok(Some(
            SqlError::new("`distinct on` keeps one of several rows, by chance where they tie")
                .at_word(sql, &["distinct"])
                .hint(
                    "number the rows instead: `row_number() over (partition by ... order by ...)`, and keep the first",
                ),
        ));
    }
    let mut found = None;
    node.apply_expressions(|expression| {
        expression.apply(|part| {
            found = match part {
                Expr::AggregateFunction(call)
                    if call.params.order_by.is_empty() && ORDERED.contains(&call.func.name()) =>
                {
                    let name = call.func.name().to_owned();
                    let hint = format!("say in which order: `{name}(... order by ...)`");
                    Some((name, hint))
                }
                Expr::WindowFunction(call) if call.params.order_by.is_empty() => {
                    let (name, depends) = match &call.fun {
                        WindowFunctionDefinition::AggregateUDF(function) => {
                            (function.name(), ORDERED.contains(&function.name()))
                        }
                        WindowFunctionDefinition::WindowUDF(function) => (function.name(), true),
                    };
                    let hint = format!("say in which order: `{name}(...) over (... order by ...)`");
                    depends.then(|| (name.to_owned(), hint))
                }
                _ => None,
            };
            Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found.map(|(name, hint)| {
        SqlError::new(format!("`{name}` depends on the order of rows, and there is none"))
            .at_word(sql, &[&name])
            .hint(hint)
    }))
}

/// Whether rows come in an order, once columns are chosen and named.
fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(inner) => is_sorted(&inner.input),
        LogicalPlan::SubqueryAlias(inner) => is_sorted(&inner.input),
        _ => false,
    }
}

/// Refuses to sort what no limit cuts off.
fn sorted(sql: &str, plan: &LogicalPlan, source: &str) -> Result<Option<SqlError>> {
    let mut at = plan;
    loop {
        at = match at {
            LogicalPlan::Projection(inner) => &inner.input,
            LogicalPlan::SubqueryAlias(inner) => &inner.input,
            LogicalPlan::Sort(inner) if inner.fetch.is_none() && purity::reads_table(&inner.input, source)? => {
                return Ok(Some(
                    SqlError::new("`order by` has no meaning here: the rows of a table have no order")
                        .at_word(sql, &["order"])
                        .hint("remove it, and say how files are sorted by the table's `sort_by`; or add a `limit`"),
                ));
            }
            _ => return Ok(None),
        };
    }
}
