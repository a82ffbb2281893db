//! Dead letters: what tables gave up, against the rows of `dead_letters`.
//!
//! An account is a table, a source, an hour of arrival and a cause. Letters of rows that a table's rule refused are not
//! compared: the same row refused twice is one letter, and has no place.

use weir_ledger::{Balance, Choice, Fault, Finding, Hop, Wrong};
use weir_types::{Hour, Tally};
use xxhash_rust::xxh3::xxh3_128;

use super::verify::{Letters, letter};
use crate::dead::{Cause, DEAD_LETTERS};
use crate::node::Node;
use crate::pipeline::{Pipeline, chain};

/// Sequence numbers that are tried for the letters that are missing.
const TRIED_MAX: u64 = 10_000_000;

impl Node {
    /// Compares the letters that were booked with those that are kept.
    pub(super) async fn verify_letters(&self, choice: &Choice, beyond: &mut Balance, unchecked: &mut Vec<String>) {
        // The books first: a letter is kept before it is booked.
        let booked = self.letters_booked(choice);
        if booked.is_empty() {
            return;
        }
        let kept = match self.letters_kept(&booked).await {
            Ok(kept) => kept,
            Err(error) => return unchecked.push(format!("the dead letters could not be read: {error}")),
        };
        for ((table, source, hour, cause), expected) in &booked {
            let found = kept.get(&(table.clone(), source.clone(), *hour, cause.clone())).copied().unwrap_or_default();
            if found == *expected {
                continue;
            }
            let what = match found.count == expected.count {
                true => format!(
                    "`{DEAD_LETTERS}` has as many letters of table `{table}` ({cause}) of records of {hour} in `{source}` as were \
                     given up, and not the same"
                ),
                false => format!(
                    "`{DEAD_LETTERS}` has {} letters of table `{table}` ({cause}) of records of {hour} in `{source}`, and {} were \
                     given up",
                    found.count, expected.count
                ),
            };
            let mut finding = Finding::new(Hop::DeadLetters, DEAD_LETTERS, Fault::Letters, what)
                .amounts(expected.count, found.count)
                .next(format!("replay {hour} into table `{table}`: what fails again is a letter again"));
            (finding.source, finding.hour) = (Some(source.clone()), Some(*hour));
            self.name_letters(&mut finding, table, source, *hour, *expected, found);
            beyond.findings.push(finding);
        }
    }

    fn letters_booked(&self, choice: &Choice) -> Letters {
        let mut booked = Letters::new();
        for (name, pipeline) in self.pipelines().iter().filter(|(name, _)| name.as_str() != DEAD_LETTERS) {
            let aside = pipeline.aside().map(|aside| &aside.table);
            let sources = std::iter::once(pipeline.table()).chain(aside).flat_map(|table| {
                let (name, commits) = (table.spec().name.as_str(), table.commits());
                let sources = self.books().read(|ledger| ledger.tables.get(name).map(|book| book.sources(commits)));
                sources.unwrap_or_default()
            });
            for (source, book) in sources {
                for (hour, counts) in book.hours.iter().filter(|(hour, _)| choice.takes_hour(**hour)) {
                    for (cause, tally) in &counts.letters {
                        booked.insert((name.to_string(), source.clone(), *hour, cause.clone()), *tally);
                    }
                }
            }
        }
        booked
    }

    /// Adds up the letters that are kept, of records that the tables have passed.
    async fn letters_kept(&self, booked: &Letters) -> Result<Letters, String> {
        let sql = format!(
            "select distinct id, source, sequence, target, cause, arrived_at from {DEAD_LETTERS} \
             where sequence is not null and cause <> '{}' and target like 'table/%'",
            Cause::RefusedByTable.as_str()
        );
        let mut answer = self.query(&sql).await.map_err(|error| chain(&error))?;
        let mut kept = Letters::new();
        while let Some(batch) = answer.next().await {
            let batch = batch.map_err(|error| chain(&error))?;
            let columns = crate::dead::Columns(&batch);
            for row in 0..batch.num_rows() {
                let read = || -> Result<_, crate::dead::FindError> {
                    let text = |name| Ok::<_, crate::dead::FindError>(columns.text(name, row)?.unwrap_or_default());
                    let arrived_at = columns.time("arrived_at", row)?.unwrap_or_default();
                    let sequence = columns.long("sequence", row)?.unwrap_or_default().cast_unsigned();
                    Ok((text("id")?, text("source")?, sequence, text("target")?, text("cause")?, arrived_at))
                };
                let (id, source, sequence, target, cause, arrived_at) = read().map_err(|error| chain(&error))?;
                let table = target.strip_prefix("table/").unwrap_or_default().to_owned();
                if self.passed(&table, &source) > sequence {
                    let key = (table, source, Hour::of(arrived_at), cause);
                    // Accounts that the books don't have any more are none of ours; memory stays bounded by theirs.
                    if booked.contains_key(&key) {
                        kept.entry(key).or_default().add(xxh3_128(id.as_bytes()));
                    }
                }
            }
        }
        Ok(kept)
    }

    /// Returns how far a table has committed a source.
    fn passed(&self, table: &str, source: &str) -> u64 {
        let pipeline = self.pipelines().iter().find(|(name, _)| name.as_str() == table);
        let read = |(_, pipeline): (_, &Pipeline)| {
            let known = pipeline.sources().iter().find(|known| known.source().as_str() == source);
            match known {
                Some(known) => pipeline.committed(known).map(|next| next.0),
                None => pipeline.table().positions().get(&weir_table::SourceId::new(source)).copied(),
            }
        };
        pipeline.and_then(read).unwrap_or(0)
    }

    /// Names the letter that is missing or too much, if it is one alone: of the hour's sequence numbers, the one whose letter
    /// has the digest that the sums differ by.
    fn name_letters(
        &self,
        finding: &mut Finding,
        table: &str,
        source: &str,
        hour: Hour,
        expected: Tally,
        found: Tally,
    ) {
        let (wrong, difference) = match expected.count.cmp(&found.count) {
            std::cmp::Ordering::Greater if expected.count - found.count == 1 => {
                (Wrong::Missing, expected.sum.wrapping_sub(found.sum))
            }
            std::cmp::Ordering::Less if found.count - expected.count == 1 => {
                (Wrong::Extra, found.sum.wrapping_sub(expected.sum))
            }
            _ => {
                finding.more = true;
                return;
            }
        };
        let range = source
            .parse()
            .ok()
            .and_then(|log| self.books().read(|ledger| Some(*ledger.shards.get(&log)?.hours.get(&hour)?)));
        let Some(range) = range else { return };
        for sequence in (range.first..range.end).take(usize::try_from(TRIED_MAX).unwrap_or(usize::MAX)) {
            let id = format!("{source}@{sequence}>table/{table}");
            if xxh3_128(id.as_bytes()) == difference {
                let mut named = letter(id, wrong);
                (named.log, named.sequence, named.hour) = (Some(source.to_owned()), Some(sequence), Some(hour));
                finding.name_id(named);
                return;
            }
        }
    }
}
