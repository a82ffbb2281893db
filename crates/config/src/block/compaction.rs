//! `compact`, `sort_by`, `keep` of a table: how its files are compacted.

use std::time::Duration;

use super::table::{Rows, missing_column};
use super::{Attributes, Spanned};
use crate::diagnostic::Report;
use crate::{CompactionPlan, Diagnostic, Keep, rows};

const EVERY_DEFAULT: Duration = Duration::from_secs(3600);
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const KEEP: [(&str, Keep); 2] = [("first", Keep::First), ("last", Keep::Last)];

/// Reads how a table is compacted. `event_time` is what it is sorted by unless it says otherwise; `is_unique` says whether
/// rows have an id.
pub(super) fn read(
    block: &Attributes<'_>,
    of: &Rows<'_>,
    event_time: Option<&str>,
    is_unique: bool,
    report: &mut Report,
) -> CompactionPlan {
    let every = block.span("compact", EVERY_MIN..=EVERY_MAX, report).unwrap_or(EVERY_DEFAULT);
    let keep = block.choice("keep", &KEEP, report).unwrap_or_default();
    if keep == Keep::Last && !is_unique {
        let message = format!("`keep` says which row of an id stays, and {block} has no id");
        let hint = match of.stream {
            Some(_) => "set the `id` of the stream, or `unique_by`, or remove `keep`",
            None => "set `unique_by`, or remove `keep`",
        };
        block.refuse("keep", message, hint, report);
    }
    let sort_by = match block.texts("sort_by", "\"carrier\", \"time_hour\"", report) {
        Some(columns) => sort_by(block, columns, of, report),
        None => event_time.map(str::to_owned).into_iter().collect(),
    };
    CompactionPlan { every, sort_by, keep }
}

fn sort_by(block: &Attributes<'_>, columns: Vec<Spanned<String>>, of: &Rows<'_>, report: &mut Report) -> Vec<String> {
    for (index, column) in columns.iter().enumerate() {
        let place = block.place_of(Some(column.span.clone()));
        let name = column.value.as_str();
        let (message, hint) = match of.columns.field_with_name(name) {
            Err(_) => {
                let message = format!("`sort_by` of {block}: its rows have no column `{name}`");
                (message, missing_column(name, of))
            }
            Ok(field) if field.data_type().is_nested() => {
                let is = rows::describe(field.data_type());
                (format!("column `{name}` is {is}, which has no order"), "sort by other columns".to_owned())
            }
            Ok(_) if columns[..index].iter().any(|before| before.value == name) => {
                (format!("`sort_by` of {block} names `{name}` twice"), "remove one".to_owned())
            }
            Ok(_) => continue,
        };
        report.push(Diagnostic::error(message).at(place).hint(hint));
    }
    columns.into_iter().map(|column| column.value).collect()
}
