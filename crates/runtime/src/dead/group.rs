//! Letters by what they have in common: cause, target, and the error without its numbers.

use serde::Serialize;
use weir_types::Timestamp;

use super::filter::Filter;
use super::find::FindError;
use super::rows::Columns;
use crate::node::Node;

/// Groups of one answer, the largest first.
pub const GROUPS_MAX: usize = 1000;
/// How much of an error counts, in characters.
const ERROR_CHARACTERS: usize = 300;

/// Letters that have cause, target and error in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetterGroup {
    /// Their cause.
    pub cause: String,
    /// Their target.
    pub target: String,
    /// The beginning of their error, with `#` for each number.
    pub error: String,
    /// How many there are.
    pub count: u64,
    /// When the first of them failed.
    #[serde(serialize_with = "time")]
    pub first: Timestamp,
    /// When the last of them failed.
    #[serde(serialize_with = "time")]
    pub last: Timestamp,
    /// The id of one of them.
    pub example: String,
}

fn time<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl Node {
    /// Groups letters that pass a filter, the largest group first: up to [`GROUPS_MAX`].
    ///
    /// # Errors
    /// See [`FindError`].
    pub async fn letter_groups(&self, filter: &Filter) -> Result<Vec<LetterGroup>, FindError> {
        let columns = format!(
            "m.cause, m.target, regexp_replace(substr(m.error, 1, {ERROR_CHARACTERS}), '[0-9]+', '#', 'g') as pattern, \
             m.failed_at, m.id"
        );
        let letters = filter.select(&self.queries, self.env().now(), &columns)?;
        // The filter's lines stay where they are: an error in it has its place.
        let (matching, select) = letters.split_once("\nselect ").unwrap_or((letters.as_str(), ""));
        let sql = format!(
            "{matching}, found as (\nselect {select})\n\
             select cause, target, pattern, count(*) as letters, min(failed_at) as first_at, max(failed_at) as last_at, \
             min(id) as example from found group by cause, target, pattern \
             order by letters desc, cause, target, pattern limit {GROUPS_MAX}"
        );
        let mut groups = Vec::new();
        for batch in self.ask(&sql).await? {
            let columns = Columns(&batch);
            for row in 0..batch.num_rows() {
                let text = |name| columns.text(name, row).map(Option::unwrap_or_default);
                groups.push(LetterGroup {
                    cause: text("cause")?,
                    target: text("target")?,
                    error: text("pattern")?,
                    count: columns.long("letters", row)?.unwrap_or_default().unsigned_abs(),
                    first: columns.time("first_at", row)?.unwrap_or_default(),
                    last: columns.time("last_at", row)?.unwrap_or_default(),
                    example: text("example")?,
                });
            }
        }
        Ok(groups)
    }
}
