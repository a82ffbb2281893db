//! A query, its outputs' conditions, and the columns that flow along each edge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use weir_function::{SqlError, SqlFunction};
use weir_schema::columns::Misfit;
use weir_schema::{Schema, misfits};
use weir_types::LookupName;

use super::on::Arrival;
use super::output::{Draft, Target};
use super::{Around, Feed, Made};
use crate::block::{Attributes, Spanned};
use crate::diagnostic::Report;
use crate::sql::Sql;
use crate::{Body, Diagnostic, OutputPlan, StreamPlan, files, rows};

const CONDITION_HINT: &str = "write one condition that is true or false, such as `region = 'EU'`";

/// Reads the query, and types it and each output. `reads` takes the lookups that are named.
pub(super) fn read(
    block: &Attributes<'_>,
    arrival: Option<&Arrival<'_>>,
    drafts: Vec<Draft<'_>>,
    reads: &mut BTreeSet<String>,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Made> {
    let sql = query(block, around.dir, "select * from input", report)?;
    reads.extend(weir_function::reads(&sql.text).unwrap_or_default());
    let conditions: Vec<Option<Condition>> = drafts
        .iter()
        .map(|draft| {
            let condition = draft.condition.as_ref()?;
            let condition = Condition::read(block, &sql, condition, report)?;
            reads.extend(weir_function::reads(&condition.filtered.sql).unwrap_or_default());
            Some(condition)
        })
        .collect();
    // A stream that was refused has no columns to check the SQL against, and a lookup none to join with.
    let Some(Arrival::Stream(stream)) = arrival else { return None };
    if !lookups_are_known(reads, around) {
        return None;
    }
    let planner = Planner { block, stream, lookups: lookups(around) };
    let function = planner.plan(&sql.text, report, |error| (sql.place(error.at), error))?;
    let columns = function.output();
    let mut read: BTreeSet<LookupName> = function.reads().cloned().collect();
    let mut outputs = Vec::with_capacity(drafts.len());
    for (draft, condition) in drafts.into_iter().zip(conditions) {
        let mut text = sql.text.clone();
        if let Some(condition) = condition {
            let filtered = planner.plan(&condition.filtered.sql, report, |error| {
                let mut error = condition.filtered.of_condition(error);
                error.hint.get_or_insert_with(|| CONDITION_HINT.to_owned());
                (condition.sql.place(error.at), error)
            });
            read.extend(filtered.iter().flat_map(SqlFunction::reads).cloned());
            text = condition.filtered.sql;
        }
        let Some(target) = &draft.target else { continue };
        planner.check(&sql, &columns, target, report);
        let output = OutputPlan {
            name: draft.name,
            to: target.to(),
            sql: Some(text),
            columns: Some(Arc::clone(&columns)),
            schema: target.schema().cloned(),
            place: draft.place,
        };
        outputs.push((output, Feed { place: sql.place(None), mend: "select it in the function's SQL" }));
    }
    let body = Body::Sql { sql: sql.text, reads: read.into_iter().collect(), output: columns };
    Some((body, outputs))
}

/// Reads the query's text, from `sql` or `sql_file`, one of which is set.
pub(in crate::block) fn query(block: &Attributes<'_>, dir: &Path, example: &str, report: &mut Report) -> Option<Sql> {
    if block.has("sql") {
        if block.has("sql_file") {
            block.refuse("sql_file", format!("{block} has both `sql` and `sql_file`"), "remove one of the two", report);
            return None;
        }
        let text = block.text("sql", example, report)?;
        return Some(Sql::of_attribute(text.value, Arc::clone(block.evaluator.source), text.span));
    }
    let file = block.name_text("sql_file", "enrich.sql", report)?.value;
    match files::read_text(dir, &file) {
        Ok(source) => Some(Sql::of_file(source)),
        Err(error) => {
            if error.place.as_ref().and_then(crate::Place::span).is_some() {
                report.push(*error);
            } else {
                let message = error.message.replacen("the file", &format!("`{file}`"), 1);
                block.refuse("sql_file", message, "paths are relative to the folder of weir.hcl", report);
            }
            None
        }
    }
}

/// An output's `where`.
struct Condition {
    sql: Sql,
    filtered: weir_function::Filtered,
}

impl Condition {
    fn read(block: &Attributes<'_>, query: &Sql, text: &Spanned<String>, report: &mut Report) -> Option<Self> {
        let source = Arc::clone(block.evaluator.source);
        let sql = Sql::of_attribute(text.value.clone(), source, text.span.clone());
        match weir_function::filter(&query.text, &sql.text) {
            Ok(filtered) => Some(Self { sql, filtered }),
            Err(error) => {
                let message = format!("`where` of {block}: {}", error.message);
                let hint = error.hint.unwrap_or_else(|| CONDITION_HINT.to_owned());
                report.push(Diagnostic::error(message).at(sql.place(error.at)).hint(hint));
                None
            }
        }
    }
}

fn lookups_are_known(reads: &BTreeSet<String>, around: &Around<'_>) -> bool {
    reads.iter().all(|read| match around.lookups.get(read) {
        Some(lookup) => lookup.is_some(),
        None => !around.names.partial,
    })
}

fn lookups(around: &Around<'_>) -> BTreeMap<LookupName, SchemaRef> {
    let known = around.lookups.values().flatten();
    known.map(|lookup| (lookup.name.clone(), Arc::clone(&lookup.columns))).collect()
}

/// What a function's queries are planned with.
struct Planner<'a> {
    block: &'a Attributes<'a>,
    stream: &'a StreamPlan,
    lookups: BTreeMap<LookupName, SchemaRef>,
}

impl Planner<'_> {
    /// Plans a query; `place` says where an error of it is.
    fn plan(
        &self,
        sql: &str,
        report: &mut Report,
        place: impl Fn(SqlError) -> (crate::Place, SqlError),
    ) -> Option<SqlFunction> {
        match SqlFunction::plan(sql, Arc::clone(&self.stream.columns), &self.lookups) {
            Ok(function) => Some(function),
            Err(error) => {
                let (place, error) = place(error);
                let message = format!("the SQL of {}: {}", self.block, error.message);
                let hint = error.hint.unwrap_or_else(|| {
                    let columns = listed(&self.stream.columns);
                    format!("`input` is stream \"{}\"; its columns are {columns}", self.stream.name)
                });
                report.push(Diagnostic::error(message).at(place).hint(hint));
                None
            }
        }
    }

    /// Checks that a target can take the columns.
    fn check(&self, sql: &Sql, columns: &SchemaRef, target: &Target<'_>, report: &mut Report) {
        let refused = match target {
            Target::Table(_) => rows::refused(columns),
            Target::Stream(stream) => not_of_stream(&stream.schema, stream.name.as_str(), columns),
            Target::Queue(_) => rows::nameless(columns),
        };
        for refused in refused {
            let message = format!("the SQL of {}: {}", self.block, refused.message);
            report.push(Diagnostic::error(message).at(sql.place(None)).hint(refused.hint));
        }
    }
}

/// Returns why rows can't become a stream's records.
fn not_of_stream(schema: &Schema, stream: &str, columns: &SchemaRef) -> Vec<rows::Refused> {
    let found = match misfits(schema, columns) {
        Ok(found) => found,
        // Streams whose schemas have no columns are refused where they are declared.
        Err(_) => return Vec::new(),
    };
    let refused = found.into_iter().map(|misfit| match misfit {
        Misfit::Unknown { column } => {
            let fields = || schema.fields().iter().map(|field| field.name.as_str());
            let near = weir_types::nearest(&column, fields());
            rows::Refused {
                message: format!("stream \"{stream}\" has no field for column `{column}`"),
                hint: match near {
                    Some(near) => format!("did you mean `{near}`? Name it so: `... as {near}`"),
                    None => "leave it out of the SQL, or add it to the stream's schema".to_owned(),
                },
                column,
            }
        }
        Misfit::Missing { field } => rows::Refused {
            message: format!("field `{field}` of stream \"{stream}\" has no column, no default, and may not be null"),
            hint: format!("select it, `... as {field}`, or give the field a default in the stream's schema"),
            column: field,
        },
        Misfit::Type { column, found, wanted } => rows::Refused {
            message: format!(
                "column `{column}` is {}, and the field of stream \"{stream}\" is {}",
                rows::describe(&found),
                rows::describe(&wanted)
            ),
            hint: rows::cast_hint(&column, &found, &wanted),
            column,
        },
    });
    refused.chain(rows::nameless(columns)).collect()
}

fn listed(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ")
}
