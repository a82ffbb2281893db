//! The one statement that a function is, and the tables that it names.

use std::collections::BTreeSet;

use datafusion::common::TableReference;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use weir_types::LookupName;

use weir_types::nearest;

use super::error::{SqlError, list};

/// The name under which a function's SQL reads its batch.
pub const INPUT: &str = "input";

/// A function's SQL, in bytes.
pub const SQL_BYTES_MAX: usize = 64 * 1024;

/// Nested expressions and queries in a function's SQL.
pub(super) const NESTING_MAX: usize = 50;

/// Returns the names of the tables that `sql` reads, [`INPUT`] aside: the lookups that it needs.
///
/// # Errors
/// If it is not one query.
pub fn reads(sql: &str) -> Result<BTreeSet<String>, SqlError> {
    let (_, names) = parse(sql)?;
    Ok(names.into_iter().filter(|name| name != INPUT).collect())
}

pub(crate) fn parse(sql: &str) -> Result<(Statement, BTreeSet<String>), SqlError> {
    parse_as(sql, &FUNCTION)
}

/// What errors call the one who has the SQL.
pub(crate) struct Role {
    /// Such as `a function`.
    pub(crate) noun: &'static str,
    /// A query that it may be.
    pub(crate) example: &'static str,
    /// What its SQL may read.
    pub(crate) tables: &'static str,
}

const FUNCTION: Role = Role {
    noun: "a function",
    example: "write a query that reads `input`, such as `select * from input`",
    tables: "tables of a function have plain names: `input` and the lookups'",
};

pub(crate) fn parse_as(sql: &str, role: &Role) -> Result<(Statement, BTreeSet<String>), SqlError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(SqlError::new(format!("the SQL has {} bytes, and may have {SQL_BYTES_MAX}", sql.len())));
    }
    let refused = |error| SqlError::from_datafusion(sql, &error);
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(NESTING_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(refused)?;
    let Some(statement) = statements.pop_front() else {
        return Err(SqlError::new("there is no SQL").hint(role.example));
    };
    if !statements.is_empty() {
        return Err(SqlError::new("there is more than one statement")
            .hint(format!("{} is one query: remove what follows the `;`", role.noun)));
    }
    match &statement {
        Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)) => {}
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default();
            return Err(SqlError::new(format!("`{verb}` is not a query"))
                .at_word(sql, &[verb])
                .hint(format!("{} is one query: it starts with `select` or `with`", role.noun)));
        }
    }
    let (references, _) = resolve_table_references(&statement, true).map_err(refused)?;
    let mut names = BTreeSet::new();
    for reference in references {
        match reference {
            TableReference::Bare { table } => names.insert(table.to_string()),
            qualified => {
                return Err(SqlError::new(format!("unknown table `{qualified}`"))
                    .at_word(sql, &[qualified.table()])
                    .hint(role.tables));
            }
        };
    }
    Ok((statement, names))
}

/// Refuses a name that is neither the input nor a lookup.
pub(crate) fn check_known<'a>(
    sql: &str,
    names: &BTreeSet<String>,
    lookups: impl Iterator<Item = &'a LookupName> + Clone,
) -> Result<(), SqlError> {
    let known = || std::iter::once(INPUT).chain(lookups.clone().map(LookupName::as_str));
    for name in names {
        if known().any(|known| known == name) {
            continue;
        }
        let refused = SqlError::new(format!("unknown table `{name}`")).at_word(sql, &[name]);
        let hint = match known().find(|known| known.eq_ignore_ascii_case(name)) {
            Some(cased) => format!("SQL lowers names without quotes: write \"{cased}\" in double quotes"),
            None => match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a function reads `input` and lookups; there are: {}", list(known())),
            },
        };
        return Err(refused.hint(hint));
    }
    Ok(())
}
