//! Refused SQL: the message, the place in the text, and what to do.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use weir_types::nearest;

/// SQL that can't be a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// What is wrong.
    pub message: String,
    /// Where: line and column (in characters) in the SQL, both from 1.
    pub at: Option<(usize, usize)>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SqlError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Places the error at the first word of `sql` that equals one of `words`, whatever their case.
    pub(crate) fn at_word(mut self, sql: &str, words: &[&str]) -> Self {
        self.at = find_word(sql, words);
        self
    }

    /// Places the error at the first word of `sql` that equals `word`, whatever its case.
    #[must_use]
    pub fn placed_at(self, sql: &str, word: &str) -> Self {
        self.at_word(sql, &[word])
    }

    /// Explains an error of DataFusion's about `sql`, placed where DataFusion says where.
    pub fn from_datafusion(sql: &str, error: &DataFusionError) -> Self {
        let place = error.diagnostic().and_then(|found| found.span);
        let mut refused = match error.find_root() {
            DataFusionError::SQL(parser, _) => {
                return syntax(sql, &parser.to_string());
            }
            DataFusionError::SchemaError(schema, _) => schema_error(sql, schema),
            root => plain(sql, root),
        };
        if let Some(span) = place {
            refused.at = Some((to_usize(span.start.line), to_usize(span.start.column)));
        }
        refused
    }
}

fn plain(sql: &str, root: &DataFusionError) -> SqlError {
    let text = root.message();
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    // DataFusion appends its advice to the message after a line break.
    let (message, advice) = text.split_once('\n').unwrap_or((text, ""));
    let advice = advice.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.trim_end();
    let subject = message.split('\'').nth(1).unwrap_or_default();
    let mut refused = match message.strip_prefix("Invalid function ") {
        Some(_) => SqlError::new(format!("unknown function `{subject}`")),
        None => SqlError::new(message),
    };
    refused.at = find_word(sql, &[subject]);
    match advice.strip_prefix("Did you mean '").and_then(|rest| rest.strip_suffix("'?")) {
        Some(near) => refused.hint(format!("did you mean `{near}`?")),
        None if advice.is_empty() => refused,
        None => refused.hint(advice),
    }
}

fn schema_error(sql: &str, error: &SchemaError) -> SqlError {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return SqlError::new(error.to_string());
    };
    let refused = SqlError::new(format!("unknown column `{}`", field.flat_name())).at_word(sql, &[&field.name]);
    let known: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
    if let Some(cased) = known.iter().find(|name| name.eq_ignore_ascii_case(&field.name) && **name != field.name) {
        return refused.hint(format!("SQL lowers names without quotes: write \"{cased}\" in double quotes"));
    }
    match nearest(&field.name, known.iter().copied()) {
        Some(near) => refused.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => refused,
        None => refused.hint(format!("columns here: {}", list(known))),
    }
}

/// Reads sqlparser's text, whose errors end in ` at Line: 1, Column: 8`.
pub(super) fn syntax(sql: &str, text: &str) -> SqlError {
    let text = text.strip_prefix("sql parser error: ").unwrap_or(text);
    let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
    let at = place.split_once(", Column: ").and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    let end = || {
        let sql = sql.trim_end();
        let last = sql.rsplit('\n').next().unwrap_or_default();
        (sql.matches('\n').count() + 1, last.chars().count() + 1)
    };
    let at = at.or_else(|| message.ends_with("found: EOF").then(end));
    let message = message.replace("found: EOF", "found: the end");
    SqlError { message: format!("syntax: {message}"), at, hint: None }
}

fn find_word(sql: &str, words: &[&str]) -> Option<(usize, usize)> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    tokens.iter().find_map(|token| match &token.token {
        Token::Word(word) if words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted)) => {
            Some((to_usize(token.span.start.line), to_usize(token.span.start.column)))
        }
        _ => None,
    })
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Names listed in an error.
const LISTED_MAX: usize = 20;

/// Lists names in order, the first [`LISTED_MAX`] of them.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<&str> = names.into_iter().collect();
    let mut text = names.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - LISTED_MAX));
    }
    text
}
