//! `function "NAME" { on, sql or sql_file, to }`: what turns a stream's records into a table's rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_function::SqlFunction;
use weir_types::{FunctionName, LookupName};

use super::{Attributes, Reference, Spanned};
use crate::diagnostic::Report;
use crate::load::{Known, Names};
use crate::sql::Sql;
use crate::{
    BatchPlan, Body, Diagnostic, FunctionPlan, LookupPlan, On, OutputPlan, RetryPlan, Start, StreamPlan, To, files,
    rows,
};

pub(crate) const KNOWN: [&str; 4] = ["on", "sql", "sql_file", "to"];
pub(crate) const LATER: [&str; 8] =
    ["handler", "code", "runtime", "memory", "timeout", "concurrency", "on_failure", "environment"];

/// What a function may refer to.
pub(crate) struct Around<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) streams: &'a Known<StreamPlan>,
    pub(crate) lookups: &'a Known<LookupPlan>,
}

/// A function's flow, which is known even if its SQL is not.
pub(crate) struct Flow {
    pub(crate) to: Option<Spanned<String>>,
    pub(crate) reads: Vec<String>,
    pub(crate) plan: Option<(FunctionPlan, Sql)>,
}

pub(crate) fn read(block: &Attributes<'_>, name: FunctionName, around: &Around<'_>, report: &mut Report) -> Flow {
    let on = on(block, around, report);
    let to = to(block, around, report);
    let sql = sql(block, around.dir, report);
    let reads = sql.as_ref().and_then(|sql| weir_function::reads(&sql.text).ok()).unwrap_or_default();
    let mut flow = Flow { to, reads: reads.into_iter().collect(), plan: None };
    let Some(sql) = sql else { return flow };
    // A stream that was refused has no columns to check the SQL against.
    let Some(stream) = on.and_then(|on| around.streams.get(&on.value)?.as_ref()) else { return flow };
    let refused_lookup = flow.reads.iter().any(|read| match around.lookups.get(read) {
        Some(lookup) => lookup.is_none(),
        None => around.names.partial,
    });
    if refused_lookup {
        return flow;
    }
    let lookups: BTreeMap<LookupName, SchemaRef> =
        around.lookups.values().flatten().map(|lookup| (lookup.name.clone(), Arc::clone(&lookup.columns))).collect();
    let function = match SqlFunction::plan(&sql.text, Arc::clone(&stream.columns), &lookups) {
        Ok(function) => function,
        Err(error) => {
            let message = format!("the SQL of {block}: {}", error.message);
            let hint = error.hint.unwrap_or_else(|| {
                format!("`input` is stream \"{}\"; its columns are {}", stream.name, columns(&stream.columns))
            });
            report.push(Diagnostic::error(message).at(sql.place(error.at)).hint(hint));
            return flow;
        }
    };
    let refused = rows::refused(&function.output());
    for refused in &refused {
        let message = format!("the SQL of {block}: {}", refused.message);
        report.push(Diagnostic::error(message).at(sql.place(None)).hint(&refused.hint));
    }
    if let (Some(to), true) = (&flow.to, refused.is_empty())
        && let Ok(to) = to.value.parse()
    {
        let output = OutputPlan {
            name: "default".to_owned(),
            to: To::Table(to),
            sql: Some(sql.text.clone()),
            columns: Some(function.output()),
            schema: None,
            place: block.value_place("to"),
        };
        let reads = function.reads().cloned().collect();
        let plan = FunctionPlan {
            name,
            on: On::Stream { stream: stream.name.clone(), start: Start::Oldest },
            body: Body::Sql { sql: sql.text.clone(), reads, output: function.output() },
            outputs: vec![output],
            on_failure: None,
            batch: BatchPlan { size: 100, window: Duration::ZERO, parallel: 1, concurrency: None },
            retry: RetryPlan { attempts: Some(3), age: None, bisect: true },
            place: block.place(),
        };
        flow.plan = Some((plan, sql));
    }
    flow
}

fn on(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Option<Spanned<String>> {
    let later = |reference: &Reference| {
        (
            format!("a function on a {} is not yet supported by this version", reference.kind),
            "functions run on streams: `on = stream.NAME`".to_owned(),
        )
    };
    if !block.has("on") {
        block.missing("on", "name the stream whose records it turns: `on = stream.NAME`", report);
    }
    let on = block.reference("on", &["stream"], later, report)?;
    let known = around.names.check("stream", &on.value.name, || block.value_place("on"), report);
    known.then_some(Spanned { value: on.value.name, span: on.span })
}

fn to(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Option<Spanned<String>> {
    let later = |reference: &Reference| {
        (
            format!("a {} as the target of a function is not yet supported by this version", reference.kind),
            "functions write to tables: `to = table.NAME`".to_owned(),
        )
    };
    if !block.has("to") {
        block.missing("to", "name the table that its rows go to: `to = table.NAME`", report);
    }
    let to = block.reference("to", &["table"], later, report)?;
    let known = around.names.check("table", &to.value.name, || block.value_place("to"), report);
    known.then_some(Spanned { value: to.value.name, span: to.span })
}

fn sql(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<Sql> {
    match (block.has("sql"), block.has("sql_file")) {
        (true, true) => {
            block.refuse("sql_file", format!("{block} has both `sql` and `sql_file`"), "remove one of the two", report);
            None
        }
        (false, false) => {
            if !block.has("handler") {
                block.missing("sql", "write its query: `sql = \"select * from input\"`", report);
            }
            None
        }
        (true, false) => {
            let text = block.text("sql", "select * from input", report)?;
            Some(Sql::of_attribute(text.value, Arc::clone(block.evaluator.source), text.span))
        }
        (false, true) => {
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
    }
}

fn columns(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ")
}
