//! Follows the event time through a plan, and refuses what would mix partitions.
//!
//! For each node it knows which columns are made of the event time, and how ([`Derivation`]). What looks across rows (groups,
//! windows, `distinct`) must hold such a column, so that all rows it looks at end in one partition. What it doesn't know is
//! refused: better a query too many than a wrong row.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, Join, LogicalPlan};

use super::derive::{DAY_US, Derivation, HOUR_US, Step};
use super::{Rollup, reads_source};
use crate::SqlError;

/// Names of time zones in which days and hours begin as in UTC.
const UTC: [&str; 5] = ["UTC", "Etc/UTC", "Z", "+00:00", "+00"];

/// Per column how it is made of the event time, if it is.
type Columns = Vec<Option<Derivation>>;

/// What is known of the times in a node's rows.
#[derive(Default)]
struct Times {
    columns: Columns,
    /// Of each window below the times that its rows share: one of them must decide the partition.
    windows: Vec<Vec<Derivation>>,
}

impl Times {
    fn with(self, columns: Columns) -> Self {
        Self { columns, ..self }
    }

    fn has_none(&self) -> bool {
        self.columns.iter().all(Option::is_none)
    }
}

struct Walk<'a> {
    sql: &'a str,
    source: &'a str,
    time: &'a str,
}

pub(super) fn follow(rollup: &Rollup, time: &str, (partition, width): (&str, i64)) -> Result<Derivation, SqlError> {
    let walk = Walk { sql: &rollup.sql, source: &rollup.source, time };
    let times = walk.times(&rollup.logical)?;
    let index = rollup.output.index_of(partition).ok();
    let found = index.and_then(|index| times.columns.get(index).cloned().flatten()).ok_or_else(|| {
        SqlError::new(format!("it can't be told which rows of `{}` column `{partition}` comes from", rollup.source))
            .at_word(&rollup.sql, &[partition])
            .hint(format!(
                "make it of the event time by rounding alone: `date_trunc('day', {time}) as {partition}`, or `{time}` itself"
            ))
    })?;
    let decided = found.clone().then(Step::Width(width));
    match times.windows.iter().all(|held| held.iter().any(|held| held.decides(&decided))) {
        true => Ok(found),
        false => Err(walk.across_window()),
    }
}

impl Walk<'_> {
    fn failed(&self, error: &DataFusionError) -> SqlError {
        SqlError::from_datafusion(self.sql, error)
    }

    fn across(&self, what: &str, words: &[&str], hint: String) -> SqlError {
        SqlError::new(format!("{what}, so that one partition can't be computed without the others"))
            .at_word(self.sql, words)
            .hint(hint)
    }

    fn across_window(&self) -> SqlError {
        let hint = format!("let it hold the event time: `over (partition by date_trunc('day', {}), ...)`", self.time);
        self.across("a window looks across partitions", &["over"], hint)
    }

    /// Returns the times of a node's rows; an error if these depend on more than one partition.
    fn times(&self, plan: &LogicalPlan) -> Result<Times, SqlError> {
        let width = plan.schema().fields().len();
        if !reads_source(plan, self.sql, self.source)? {
            return Ok(Times::default().with(vec![None; width]));
        }
        self.refuse_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => {
                let fields = scan.projected_schema.fields().iter();
                let columns = fields.map(|field| (field.name() == self.time).then(Derivation::default));
                Ok(Times::default().with(columns.collect()))
            }
            LogicalPlan::Projection(inner) => {
                let (below, schema) = (self.times(&inner.input)?, inner.input.schema());
                let columns = inner.expr.iter().map(|expression| derived(expression, schema, &below.columns)).collect();
                Ok(below.with(columns))
            }
            LogicalPlan::Filter(inner) => self.times(&inner.input),
            LogicalPlan::SubqueryAlias(inner) => self.times(&inner.input),
            LogicalPlan::Repartition(inner) => self.times(&inner.input),
            LogicalPlan::Aggregate(inner) => {
                let below = self.times(&inner.input)?;
                self.aggregate(&inner.group_expr, inner.input.schema(), below, width)
            }
            LogicalPlan::Window(inner) => {
                let below = self.times(&inner.input)?;
                self.window(&inner.window_expr, inner.input.schema(), below)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let below = self.times(input)?;
                if below.has_none() {
                    let hint = format!("select `{0}` too, or `date_trunc('day', {0})`", self.time);
                    return Err(self.across("`distinct` looks across partitions", &["distinct", "union"], hint));
                }
                Ok(below)
            }
            LogicalPlan::Union(inner) => self.union(&inner.inputs),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Unnest(inner) => {
                let (below, schema) = (self.times(&inner.input)?, inner.input.schema());
                let time = |column: &Column| below.columns.get(schema.maybe_index_of_column(column)?)?.clone();
                let columns = plan.schema().columns();
                let columns = columns.iter().map(|column| {
                    let untouched = !inner.exec_columns.contains(column);
                    untouched.then(|| time(column)).flatten()
                });
                let columns = columns.collect();
                Ok(below.with(columns))
            }
            LogicalPlan::Limit(_) => Err(self.across(
                "`limit` counts rows of all partitions",
                &["limit", "fetch", "offset"],
                "remove it, or leave out `partition_by`: the rollup is then one partition, computed whole".to_owned(),
            )),
            LogicalPlan::Sort(inner) => self.times(&inner.input),
            other => Err(self.across(
                &format!("it can't be told what `{}` reads", kind(other)),
                &[],
                "write it with joins of lookups, `group by` and window functions".to_owned(),
            )),
        }
    }

    fn refuse_subqueries(&self, plan: &LogicalPlan) -> Result<(), SqlError> {
        let mut reads = false;
        let walked = plan.apply_expressions(|expression| {
            expression.apply(|part| {
                let subquery = match part {
                    Expr::ScalarSubquery(subquery) => Some(subquery),
                    Expr::InSubquery(inner) => Some(&inner.subquery),
                    Expr::Exists(inner) => Some(&inner.subquery),
                    Expr::SetComparison(inner) => Some(&inner.subquery),
                    _ => None,
                };
                if let Some(subquery) = subquery {
                    reads |= crate::sql::purity::reads_table(&subquery.subquery, self.source)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        walked.map_err(|error| self.failed(&error))?;
        if !reads {
            return Ok(());
        }
        let hint = "use a window function: `sum(x) over (partition by ...)`; subqueries may read lookups".to_owned();
        Err(self.across(&format!("a subquery reads `{}` as a whole", self.source), &["exists", "in"], hint))
    }

    fn aggregate(&self, groups: &[Expr], schema: &DFSchema, below: Times, width: usize) -> Result<Times, SqlError> {
        if groups.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
            let hint = "write one rollup for each grouping".to_owned();
            let words = ["rollup", "cube", "grouping"];
            return Err(self.across("grouping sets add rows of all partitions together", &words, hint));
        }
        let mut columns: Columns = groups.iter().map(|group| derived(group, schema, &below.columns)).collect();
        if columns.iter().all(Option::is_none) {
            let what = match groups {
                [] => "it adds rows of all partitions together",
                _ => "its groups span partitions",
            };
            let words = ["group", "count", "sum", "avg", "min", "max"];
            let hint = format!("group by the event time too: `date_trunc('hour', {})`", self.time);
            return Err(self.across(what, &words, hint));
        }
        columns.resize(width, None);
        Ok(below.with(columns))
    }

    /// A window's rows must end in one partition, so that the times which they share must decide it.
    fn window(&self, windows: &[Expr], schema: &DFSchema, mut below: Times) -> Result<Times, SqlError> {
        for window in windows {
            let mut held: Vec<Derivation> = Vec::new();
            let walked = window.apply(|part| {
                if let Expr::WindowFunction(call) = part {
                    held.extend(call.params.partition_by.iter().filter_map(|by| derived(by, schema, &below.columns)));
                }
                Ok(TreeNodeRecursion::Continue)
            });
            walked.map_err(|error| self.failed(&error))?;
            if held.is_empty() {
                return Err(self.across_window());
            }
            below.windows.push(held);
        }
        below.columns.resize(below.columns.len() + windows.len(), None);
        Ok(below)
    }

    fn union(&self, inputs: &[Arc<LogicalPlan>]) -> Result<Times, SqlError> {
        let mut all: Option<Times> = None;
        for input in inputs {
            if !reads_source(input, self.sql, self.source)? {
                let hint = format!("select from `{}` in each part", self.source);
                let what = format!("a part of the `union` does not read `{}`", self.source);
                return Err(SqlError::new(what).at_word(self.sql, &["union"]).hint(hint));
            }
            let mut times = self.times(input)?;
            if let Some(all) = all {
                // Where the parts differ, nothing is known of a row's time.
                let pairs = all.columns.into_iter().zip(times.columns);
                times.columns = pairs.map(|(a, b)| a.filter(|a| b.as_ref() == Some(a))).collect();
                times.windows.extend(all.windows);
            }
            all = Some(times);
        }
        Ok(all.unwrap_or_default())
    }

    fn join(&self, join: &Join) -> Result<Times, SqlError> {
        let (left, right) =
            (reads_source(&join.left, self.sql, self.source)?, reads_source(&join.right, self.sql, self.source)?);
        if left && right {
            let hint = "use window functions, such as `sum(x) over (partition by ...)`, or make a rollup of the rollup";
            let what = format!("`{}` is joined with itself", self.source);
            return Err(self.across(&what, &["join", "intersect", "except"], hint.to_owned()));
        }
        let keeps_other = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => right,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => left,
            JoinType::Full => true,
        };
        if keeps_other {
            let hint =
                format!("write `from {} left join ...`: a lookup's other rows belong to no partition", self.source);
            return Err(SqlError::new("the join keeps the lookup's rows that no row matches")
                .at_word(self.sql, &["right", "full", "left", "join"])
                .hint(hint));
        }
        let of_left = self.times(&join.left)?;
        let of_right = self.times(&join.right)?;
        let columns = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => of_left.columns,
            JoinType::RightSemi | JoinType::RightAnti => of_right.columns,
            JoinType::LeftMark => of_left.columns.into_iter().chain([None]).collect(),
            JoinType::RightMark => of_right.columns.into_iter().chain([None]).collect(),
            _ => of_left.columns.into_iter().chain(of_right.columns).collect(),
        };
        Ok(Times { columns, windows: of_left.windows.into_iter().chain(of_right.windows).collect() })
    }
}

fn kind(plan: &LogicalPlan) -> String {
    plan.display().to_string().split([':', ' ']).next().unwrap_or_default().to_owned()
}

/// Returns how an expression is made of the event time, by rounding down alone.
fn derived(expression: &Expr, schema: &DFSchema, below: &Columns) -> Option<Derivation> {
    match expression {
        Expr::Alias(inner) => derived(&inner.expr, schema, below),
        Expr::Column(column) => below.get(schema.maybe_index_of_column(column)?)?.clone(),
        Expr::Cast(inner) => cast(&inner.expr, inner.field.data_type(), schema, below),
        Expr::TryCast(inner) => cast(&inner.expr, inner.field.data_type(), schema, below),
        Expr::ScalarFunction(call) => function(call, schema, below),
        _ => None,
    }
}

fn is_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) | DataType::Date32 => true,
        DataType::Timestamp(_, Some(zone)) => UTC.contains(&zone.as_ref()),
        _ => false,
    }
}

fn cast(inner: &Expr, to: &DataType, schema: &DFSchema, below: &Columns) -> Option<Derivation> {
    let time = derived(inner, schema, below)?;
    let from = inner.get_type(schema).ok()?;
    if from == *to {
        return Some(time);
    }
    if !is_time(&from) || !is_time(to) {
        return None;
    }
    match (&from, to) {
        (_, DataType::Date32) => Some(time.then(Step::Width(DAY_US))),
        (DataType::Date32, DataType::Timestamp(..)) => Some(time),
        // Coarser units cut towards zero: a moment before 1970 would end in another partition.
        (DataType::Timestamp(..), DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)) => Some(time),
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) if from == to => Some(time),
        _ => None,
    }
}

fn function(call: &ScalarFunction, schema: &DFSchema, below: &Columns) -> Option<Derivation> {
    let time_of = |argument: &Expr| {
        let time = derived(argument, schema, below)?;
        is_time(&argument.get_type(schema).ok()?).then_some(time)
    };
    match (call.func.name(), call.args.as_slice()) {
        ("date_trunc", [unit, time]) => Some(time_of(time)?.then(trunc(unit)?)),
        ("date_bin", [width, time]) => Some(time_of(time)?.then(bin(width)?)),
        // Columns of longs that are times hold milliseconds.
        ("to_timestamp_millis", [time]) if time.get_type(schema).ok()? == DataType::Int64 => {
            derived(time, schema, below)
        }
        _ => None,
    }
}

fn trunc(unit: &Expr) -> Option<Step> {
    let Expr::Literal(ScalarValue::Utf8(Some(unit)) | ScalarValue::Utf8View(Some(unit)), _) = unit else {
        return None;
    };
    Some(match unit.to_ascii_lowercase().as_str() {
        "microsecond" => Step::Width(1),
        "millisecond" => Step::Width(1000),
        "second" => Step::Width(1_000_000),
        "minute" => Step::Width(60_000_000),
        "hour" => Step::Width(HOUR_US),
        "day" => Step::Width(DAY_US),
        "week" => Step::Week,
        "month" => Step::Months(1),
        "quarter" => Step::Months(3),
        "year" => Step::Months(12),
        _ => return None,
    })
}

/// Bins are counted from 1970, like our widths, unless they are of months.
fn bin(width: &Expr) -> Option<Step> {
    let micros = match width {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(width)), _) if width.months == 0 => {
            if width.nanoseconds % 1000 != 0 {
                return None;
            }
            i64::from(width.days).checked_mul(DAY_US)?.checked_add(width.nanoseconds / 1000)?
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(width)), _) => {
            i64::from(width.days).checked_mul(DAY_US)?.checked_add(i64::from(width.milliseconds) * 1000)?
        }
        _ => return None,
    };
    (micros > 0).then_some(Step::Width(micros))
}
