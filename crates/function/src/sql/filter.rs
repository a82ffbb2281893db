//! A query with a condition on its rows: how one query feeds several outputs.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::error::{SqlError, syntax};
use super::names::{NESTING_MAX, SQL_BYTES_MAX};

/// A query whose rows are those of another that meet a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// The query.
    pub sql: String,
    /// Lines of it before the condition's first.
    lines_before: usize,
}

impl Filtered {
    /// Turns an error about [`Filtered::sql`] into one about the condition: its place is in the condition, or nowhere.
    #[must_use]
    pub fn of_condition(&self, mut error: SqlError) -> SqlError {
        error.at = error.at.and_then(|(line, column)| {
            let line = line.checked_sub(self.lines_before).filter(|line| *line > 0)?;
            Some((line, column))
        });
        error
    }
}

/// Returns the query whose rows are those of `sql` that meet `condition`, an expression over its columns. `sql` is one
/// that [`SqlFunction::plan`](super::SqlFunction::plan) took; what comes out has still to be planned.
///
/// # Errors
/// If `condition` is not one expression, from its first letter to its last; places are in the condition.
pub fn filter(sql: &str, condition: &str) -> Result<Filtered, SqlError> {
    if condition.len() > SQL_BYTES_MAX {
        let bytes = condition.len();
        return Err(SqlError::new(format!("the condition has {bytes} bytes, and may have {SQL_BYTES_MAX}")));
    }
    // Parsed on its own first: what closes the parentheses around it would be more than a condition.
    expression(condition).map_err(|error| syntax(condition, &error.to_string()))?;
    let before = format!("select * from (\n{}\n) as \"output\" where (\n", without_end(sql));
    // Its own lines, so that a comment at the end of either stays there.
    Ok(Filtered { lines_before: before.matches('\n').count(), sql: format!("{before}{condition}\n)") })
}

fn expression(condition: &str) -> Result<(), ParserError> {
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).try_with_sql(condition)?;
    parser.parse_expr()?;
    let rest: TokenWithSpan = parser.peek_token();
    if rest.token == Token::EOF { Ok(()) } else { parser.expected("the end of the condition", rest) }
}

/// Returns the statement without the `;` behind it, and whatever follows that.
fn without_end(sql: &str) -> &str {
    // It was parsed before.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() else { return sql };
    let Some(end) = tokens.iter().find(|token| token.token == Token::SemiColon) else { return sql };
    let before = usize::try_from(end.span.start.line).unwrap_or(1).saturating_sub(1);
    let start: usize = sql.split_inclusive('\n').take(before).map(str::len).sum();
    let column = usize::try_from(end.span.start.column).unwrap_or(1).saturating_sub(1);
    let within = sql[start..].char_indices().nth(column).map_or(sql.len() - start, |(at, _)| at);
    &sql[..start + within]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

    use super::*;
    use crate::{Lookups, SqlFunction};

    fn columns() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("region", DataType::Utf8, true),
            Field::new("miles", DataType::Int64, true),
        ]))
    }

    fn planned(sql: &str, condition: &str) -> Result<SqlFunction, SqlError> {
        let filtered = filter(sql, condition)?;
        SqlFunction::plan(&filtered.sql, columns(), &BTreeMap::new()).map_err(|error| filtered.of_condition(error))
    }

    fn kept(sql: &str, condition: &str) -> Vec<i64> {
        let batch = RecordBatch::try_new(
            columns(),
            vec![Arc::new(StringArray::from(vec!["EU", "US", "EU"])), Arc::new(Int64Array::from(vec![1, 2, 3]))],
        );
        let function = planned(sql, condition).unwrap();
        let rows = futures::executor::block_on(function.run(batch.unwrap(), &Lookups::default())).unwrap();
        let miles = rows.iter().flat_map(|rows| rows["miles"].as_primitive::<Int64Type>().values().to_vec());
        miles.collect()
    }

    #[test]
    fn rows_that_meet_the_condition_are_kept_whatever_stands_around_the_query() {
        for sql in [
            "select * from input",
            "select * from input; -- ; over",
            "/* ; */ select region, miles\nfrom input -- all of them",
            "with all_of as (select * from input)\nselect * from all_of\n ;\n",
            "select 'ä;' as semi, region, miles from input;",
        ] {
            assert_eq!(kept(sql, "region = 'EU' -- not 'US'"), [1, 3], "{sql}");
            assert_eq!(kept(sql, "region = 'US' or\n \"output\".miles > 2"), [2, 3], "{sql}");
        }
    }

    #[test]
    fn what_is_more_than_an_expression_is_refused() {
        for condition in [
            "true) or (select 1",
            "true; drop table input",
            "true order by miles",
            "true union select * from input",
            "",
            " -- nothing",
            "/* open",
            "region = 'EU",
            "miles >",
            "where miles > 1",
        ] {
            assert!(filter("select * from input", condition).is_err(), "{condition}");
        }
    }

    #[test]
    fn places_are_those_of_the_condition() {
        let error = planned("select *\nfrom input", "region = 'EU'\n  and milse > 1").unwrap_err();
        assert_eq!((error.message.as_str(), error.at), ("unknown column `milse`", Some((2, 7))));
        let error = filter("select * from input", "region = 'EU')").unwrap_err();
        assert_eq!(error.at, Some((1, 14)), "{error}");
    }

    #[test]
    fn the_rules_for_functions_hold_in_conditions() {
        for condition in [
            "random() > 0.5",
            "region in (select region from input)",
            "count(*) > 1",
            "row_number() over () = 1",
            "miles",
        ] {
            assert!(planned("select * from input", condition).is_err(), "{condition}");
        }
    }
}
