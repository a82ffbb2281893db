//! Refuses SQL whose rows for a record would depend on more than the record and the lookups.
//!
//! How records fall into batches is chance: it depends on speed, restarts and retries. So whatever looks across the
//! records of a batch (aggregates, windows, distinct, limits, joining the input with itself) is refused, and so is what
//! returns a lookup's rows that no record asked for, and the clock and chance. All of these are allowed over lookups, in
//! a subquery.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinType, Result};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::error::SqlError;
use super::names::INPUT;

const AGGREGATE_LATER: &str =
    "a function sees records in batches of any size: let it turn each record, and aggregate when you query the table";

pub(crate) fn check(sql: &str, plan: &LogicalPlan) -> std::result::Result<(), SqlError> {
    let mut refused = None;
    let walked = plan.apply_with_subqueries(|node| {
        refused = volatile(sql, node)?;
        if refused.is_none() {
            refused = across_records(sql, node)?;
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| SqlError::from_datafusion(sql, &error))?;
    let reads = reads_table(plan, INPUT).map_err(|error| SqlError::from_datafusion(sql, &error))?;
    match refused {
        Some(refused) => Err(refused),
        None if !reads => Err(SqlError::new("the query does not read `input`")
            .hint("a function turns the records of its batch: select from `input`")),
        None => Ok(()),
    }
}

/// Refuses an expression of the node that depends on the clock or on chance.
pub(crate) fn volatile(sql: &str, node: &LogicalPlan) -> Result<Option<SqlError>> {
    let mut found = None;
    node.apply_expressions(|expression| {
        use datafusion::common::tree_node::TreeNode;
        expression.apply(|part| {
            if let Expr::ScalarFunction(call) = part
                && call.func.signature().volatility != Volatility::Immutable
            {
                found = Some(call.func.name().to_owned());
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found.map(|name| {
        // The parser turns `current_timestamp` into `now`.
        let words: &[&str] = if name == "now" { &["now", "current_timestamp"] } else { &[&name] };
        SqlError::new(format!("`{name}` gives another value each time"))
            .at_word(sql, words)
            .hint("a replay must give the same rows: use the record's own fields, such as its event time")
    }))
}

fn across_records(sql: &str, node: &LogicalPlan) -> Result<Option<SqlError>> {
    let refuse = |message: &str, words: &[&str]| Some(SqlError::new(message).at_word(sql, words).hint(AGGREGATE_LATER));
    Ok(match node {
        LogicalPlan::Aggregate(inner) if reads_input(&inner.input)? => refuse(
            "aggregates over `input` depend on which records share a batch",
            &["group", "count", "sum", "avg", "min", "max"],
        ),
        LogicalPlan::Window(inner) if reads_input(&inner.input)? => {
            refuse("window functions over `input` depend on which records share a batch", &["over"])
        }
        LogicalPlan::Distinct(_) if reads_input(node)? => {
            refuse("`distinct` over `input` depends on which records share a batch", &["distinct", "union"])
        }
        LogicalPlan::Limit(inner) if reads_input(&inner.input)? => {
            refuse("`limit` over `input` depends on which records share a batch", &["limit", "fetch", "offset"])
        }
        LogicalPlan::RecursiveQuery(_) if reads_input(node)? => {
            refuse("a recursive query over `input` depends on which records share a batch", &["recursive"])
        }
        LogicalPlan::Subquery(inner) if reads_input(&inner.subquery)? => {
            refuse("a subquery over `input` depends on which records share a batch", &["exists", "in"])
        }
        LogicalPlan::Union(inner) => {
            let mut reading = 0;
            for branch in &inner.inputs {
                reading += usize::from(reads_input(branch)?);
            }
            (reading > 0 && reading < inner.inputs.len()).then(|| {
                SqlError::new("a part of the `union` does not read `input`")
                    .at_word(sql, &["union"])
                    .hint("its rows would come out again with every batch: select from `input` in each part")
            })
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (reads_input(&join.left)?, reads_input(&join.right)?);
            let preserved = match join.join_type {
                JoinType::Inner => (false, false),
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, false),
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (false, true),
                JoinType::Full => (true, true),
            };
            if left && right {
                refuse("joining `input` with itself depends on which records share a batch", &["join"])
            } else if (left && preserved.1) || (right && preserved.0) {
                Some(
                    SqlError::new("the join keeps the lookup's rows that no record matches")
                        .at_word(sql, &["right", "full", "left", "join"])
                        .hint("those would come out again with every batch: write `from input left join ...`"),
                )
            } else {
                None
            }
        }
        _ => None,
    })
}

fn reads_input(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    reads_table(plan, INPUT)
}

/// Whether a plan, or a subquery in it, reads a table.
pub(crate) fn reads_table(plan: &LogicalPlan, table: &str) -> Result<bool, DataFusionError> {
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == table) {
            reads = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}
