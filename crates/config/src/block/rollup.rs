//! `table "NAME" { sql or sql_file, partition_by, ... }`: a table that is made of another one, by partition.
//!
//! Rollups are read after the tables that they are made of, whatever order they are written in. Invariant: a rollup's
//! partitions can each be computed from the partitions of its source that its plan names, or it has one partition.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use weir_function::rollup::{self, DAY_US, HOUR_US};
use weir_function::{Rollup, SqlError};
use weir_types::{LookupName, TableName};

use super::table::{self, Rows};
use super::{Attributes, Spanned, compaction, function};
use crate::diagnostic::Report;
use crate::load::Known;
use crate::sql::Sql;
use crate::{Diagnostic, LookupPlan, PartitionBy, RollupPlan, RollupScope, TablePlan, TableSource, nearest, rows};

/// What makes a table a rollup.
const OF_SQL: [&str; 2] = ["sql", "sql_file"];

/// What a rollup may refer to, its source aside.
pub(crate) struct Around<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) tables: &'a table::Around<'a>,
    pub(crate) lookups: &'a Known<LookupPlan>,
}

/// A rollup's block, until its source is known.
pub(crate) struct Draft<'a> {
    pub(crate) block: Attributes<'a>,
    pub(crate) name: TableName,
}

/// A draft whose SQL was read, and the table that it is made of.
struct Sourced<'a> {
    draft: Draft<'a>,
    sql: Sql,
    source: String,
}

/// Whether a table's block is a rollup's.
pub(crate) fn is(block: &Attributes<'_>) -> bool {
    block.has_any(&OF_SQL)
}

/// Reads rollups, each after its source, into `tables`.
pub(crate) fn read(drafts: Vec<Draft<'_>>, around: &Around<'_>, tables: &mut Known<TablePlan>, report: &mut Report) {
    let mut waiting: Vec<Sourced<'_>> = drafts.into_iter().filter_map(|draft| sourced(draft, around, report)).collect();
    while !waiting.is_empty() {
        let names: BTreeSet<String> = waiting.iter().map(|sourced| sourced.draft.block.name.to_owned()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|sourced| !names.contains(&sourced.source));
        if ready.is_empty() {
            refuse_loops(&rest, report);
            return;
        }
        for sourced in ready {
            // A source that was refused has told why.
            let Some(source) = tables.get(&sourced.source).and_then(Option::as_ref) else { continue };
            let name = sourced.draft.block.name.to_owned();
            let plan = one(&sourced, source, around, report);
            tables.insert(name, plan);
        }
        waiting = rest;
    }
}

/// Reads the query, and finds which table it is over.
fn sourced<'a>(draft: Draft<'a>, around: &Around<'_>, report: &mut Report) -> Option<Sourced<'a>> {
    let block = &draft.block;
    let only = ["from", "unique_by", "buckets", "keep", "lookback", "late", "timeless", "visible", "allow_empty"];
    let message =
        |name: &str| format!("`{name}` is for tables that rows are added to, and {block} is what its SQL gives");
    block.forbid(only, message, "remove it: the SQL says which rows there are, from which table", report);
    if let Some(writer) = table::feeders(block.name, around.tables).first().map(table::Feeder::writer) {
        let message = format!("{block} has two sources: its SQL and {writer}");
        block.refuse("sql", message, "let it write to a table of its own, and select from that", report);
    }
    let example = "select date_trunc('day', at) as day, count(*) as events from events group by 1";
    let sql = function::query(block, around.dir, example, report)?;
    let reads = match rollup::reads(&sql.text) {
        Ok(reads) => reads,
        Err(error) => {
            refuse_sql(block, &sql, error, None, report);
            return None;
        }
    };
    let names = around.tables.names;
    let mut known = true;
    for read in reads.iter().filter(|read| !names.has("table", read) && !names.has("lookup", read)) {
        known = false;
        if !names.partial {
            let tables: Vec<&str> = names.of("table").filter(|name| *name != block.name).collect();
            let hint = match weir_types::nearest(read, tables.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => nearest::there_are(tables, "tables"),
            };
            let error =
                SqlError { message: format!("there is no table or lookup `{read}`"), at: None, hint: Some(hint) };
            refuse_sql(block, &sql, error, Some(read), report);
        }
    }
    let mut sources = reads.iter().filter(|read| names.has("table", read));
    match (sources.next(), sources.next()) {
        (Some(source), None) if known => {
            let source = source.clone();
            Some(Sourced { draft, sql, source })
        }
        (Some(first), Some(second)) => {
            let message = format!("the query reads two tables, `{first}` and `{second}`");
            let hint =
                "a rollup is over one table, and may join it with lookups: join the streams' records in a function";
            let error = SqlError { message, at: None, hint: Some(hint.to_owned()) };
            refuse_sql(block, &sql, error, Some(second), report);
            None
        }
        (None, _) if known => {
            let message = "the query reads no table".to_owned();
            let error = SqlError { message, at: None, hint: Some(format!("select from a table: `{example}`")) };
            refuse_sql(block, &sql, error, None, report);
            None
        }
        _ => None,
    }
}

fn refuse_sql(block: &Attributes<'_>, sql: &Sql, error: SqlError, word: Option<&str>, report: &mut Report) {
    let error = match word {
        Some(word) if error.at.is_none() => error.placed_at(&sql.text, word),
        _ => error,
    };
    let hint = error.hint.unwrap_or_else(|| "write one query over a table and lookups".to_owned());
    let message = format!("the SQL of {block}: {}", error.message);
    report.push(Diagnostic::error(message).at(sql.place(error.at)).hint(hint));
}

/// Names a loop of rollups once, from its first table on; what only hangs on it is not told.
fn refuse_loops(waiting: &[Sourced<'_>], report: &mut Report) {
    let source_of: BTreeMap<&str, &Sourced<'_>> =
        waiting.iter().map(|sourced| (sourced.draft.block.name, sourced)).collect();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for start in source_of.keys().copied() {
        let mut way = vec![start];
        let mut at = start;
        // Each has one source, among those that wait.
        while let Some(next) = source_of.get(at).map(|sourced| sourced.source.as_str()) {
            if next == start || way.contains(&next) {
                at = next;
                break;
            }
            way.push(next);
            at = next;
        }
        if at != start || told.contains(start) {
            continue;
        }
        told.extend(&way);
        way.push(start);
        // As data flows: from source to rollup.
        way.reverse();
        let shown: Vec<String> = way.iter().map(|name| format!("table.{name}")).collect();
        let message = format!("data would flow in a loop: {}", shown.join(" -> "));
        let hint = "a rollup is made of a table that is there without it: select from another table in one of them";
        if let Some(sourced) = source_of.get(start) {
            report.push(Diagnostic::error(message).at(sourced.draft.block.place()).hint(hint));
        }
    }
}

fn one(sourced: &Sourced<'_>, source: &TablePlan, around: &Around<'_>, report: &mut Report) -> Option<TablePlan> {
    let Sourced { draft: Draft { block, name }, sql, .. } = sourced;
    let freshness = table::freshness(block, report);
    let location = table::location(block, report);
    let target_file_size = table::target_file_size(block, report);
    let tags = block.text_map("tags", report).unwrap_or_default().into_iter().collect();
    let partition_by = table::partition_by(block, report);
    let lookups = lookups(sql, source, around)?;
    let columns = stored(&source.columns);
    let planned = match Rollup::plan(&sql.text, (source.name.as_str(), &columns), &lookups) {
        Ok(planned) => planned,
        Err(mut error) => {
            error.hint.get_or_insert_with(|| {
                let listed: Vec<String> = columns.fields().iter().map(|field| format!("`{}`", field.name())).collect();
                format!("the columns of table \"{}\" are {}", source.name, listed.join(", "))
            });
            refuse_sql(block, sql, error, None, report);
            return None;
        }
    };
    for refused in rows::refused(&planned.output()) {
        let message = format!("the SQL of {block}: {}", refused.message);
        report.push(Diagnostic::error(message).at(sql.place(None)).hint(refused.hint));
    }
    let rows = Rows { stream: None, columns: planned.output(), mend: "select it in the table's SQL", brought: None };
    let (partition_by, scope) = match partition_by {
        Some((by, column)) => {
            table::check_time(block, "partition_by", &column, &rows, report);
            let scope = by_partition(sourced, &planned, source, (&by, &column), report)?;
            (by, scope)
        }
        None if block.has("partition_by") => return None,
        None => {
            warn_of_whole(block, &planned, source, report);
            (PartitionBy::None, RollupScope::Whole)
        }
    };
    let compaction = compaction::read(block, &rows, partition_by.column(), false, report);
    Some(TablePlan {
        name: name.clone(),
        source: TableSource::Rollup(RollupPlan {
            sql: sql.text.clone(),
            source: source.name.clone(),
            source_columns: columns.fields().iter().map(|field| field.name().clone()).collect(),
            reads: planned.reads().to_vec(),
            scope,
        }),
        stream: None,
        columns: rows.columns,
        event_time: partition_by.column().map(str::to_owned),
        partition_by,
        buckets: 1,
        lookback: None,
        unique_by: Vec::new(),
        freshness,
        late: crate::Rule::Keep,
        timeless: crate::Rule::Keep,
        evolve: crate::Evolve::default(),
        location,
        target_file_size,
        compaction,
        visible: crate::Visible::AtOnce,
        if_empty: crate::IfEmpty::Keep,
        tags,
        place: block.place(),
    })
}

/// Returns the columns of the lookups that the query reads; none if one of them was refused.
fn lookups(sql: &Sql, source: &TablePlan, around: &Around<'_>) -> Option<BTreeMap<LookupName, SchemaRef>> {
    let reads = rollup::reads(&sql.text).unwrap_or_default();
    let named = reads.iter().filter(|read| *read != source.name.as_str());
    named
        .map(|read| {
            let lookup = around.lookups.get(read)?.as_ref()?;
            Some((lookup.name.clone(), Arc::clone(&lookup.columns)))
        })
        .collect()
}

/// Tables store every column as one that may be null.
fn stored(columns: &SchemaRef) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| Field::clone(field).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn width(by: &PartitionBy) -> Option<(&str, i64, &'static str)> {
    match by {
        PartitionBy::None => None,
        PartitionBy::Day(column) => Some((column, DAY_US, "day")),
        PartitionBy::Hour(column) => Some((column, HOUR_US, "hour")),
    }
}

fn by_partition(
    sourced: &Sourced<'_>,
    planned: &Rollup,
    source: &TablePlan,
    (by, column): (&PartitionBy, &Spanned<String>),
    report: &mut Report,
) -> Option<RollupScope> {
    let block = &sourced.draft.block;
    let place = || block.place_of(Some(column.span.clone()));
    let Some((time, from, from_unit)) = width(&source.partition_by) else {
        let hint = format!(
            "set `partition_by` of table \"{}\" too; or remove it here, and the rollup is computed whole each time",
            source.name
        );
        let message = format!("{block} can't be computed by partition: table \"{}\" has one partition", source.name);
        report.push(Diagnostic::error(message).at(place()).hint(hint));
        return None;
    };
    let (_, to, to_unit) = width(by)?;
    // Where the column is missing or no time, that was told.
    let field = planned.output().field_with_name(&column.value).cloned().ok()?;
    if !rows::is_time(field.data_type()) {
        return None;
    }
    let derivation = match planned.by_partition(time, (&column.value, to)) {
        Ok(derivation) => derivation,
        Err(error) => {
            let at = match error.at {
                Some(_) => sourced.sql.place(error.at),
                None => place(),
            };
            let hint = error.hint.unwrap_or_default();
            report.push(Diagnostic::error(format!("the SQL of {block}: {}", error.message)).at(at).hint(hint));
            return None;
        }
    };
    if !derivation.keeps_whole(from, to) {
        let message = format!(
            "{block} is partitioned by {to_unit}, and table \"{}\" by {from_unit}: one {from_unit} would feed several \
             partitions",
            source.name
        );
        let hint = match to_unit {
            "hour" => format!("write `partition_by = \"{from_unit}({})\"`", column.value),
            _ => "round to whole hours or days that begin with the partitions".to_owned(),
        };
        report.push(Diagnostic::error(message).at(place()).hint(hint));
        return None;
    }
    Some(RollupScope::Partition(derivation))
}

fn warn_of_whole(block: &Attributes<'_>, planned: &Rollup, source: &TablePlan, report: &mut Report) {
    let message =
        format!("{block} has one partition: all of it is computed again whenever \"{}\" changes", source.name);
    let fit = width(&source.partition_by).and_then(|(time, from, unit)| {
        let output = planned.output();
        let mut names = output.fields().iter().map(|field| field.name());
        let fits = |name: &&String| {
            planned.by_partition(time, (name, DAY_US)).is_ok_and(|derivation| derivation.keeps_whole(from, DAY_US))
        };
        let name = names.find(fits)?.clone();
        Some((name, if unit == "hour" { "day" } else { unit }))
    });
    let hint = match fit {
        Some((name, unit)) => format!("write `partition_by = \"{unit}({name})\"`"),
        None => {
            "that is right for a small table; else group by the source's event time, and partition by it".to_owned()
        }
    };
    report.push(Diagnostic::warning(message).at(block.place()).hint(hint));
}
