//! The deep check: what is in the files, the dead letters and the archives, against the books.

use std::collections::BTreeMap;

use weir_ledger::{Audited, Balance, Choice, Command, Fault, Finding, Hop, Live, NamedId, Wrong};
use weir_table::{Finding as Found, Known, Table};

use super::key_of;
use crate::node::Node;
use crate::pipeline::chain;

impl Node {
    /// Reads what the choice is about into `live`, and returns what is wrong beside.
    pub(super) async fn verify(&self, choice: &Choice, live: &mut Live, unchecked: &mut Vec<String>) -> Balance {
        let mut beyond = Balance::default();
        for (name, table) in self.all_tables() {
            if choice.takes(Hop::Table, name) {
                self.audit(name, table, live, &mut beyond.findings, unchecked).await;
            }
        }
        self.verify_archives(choice, live, &mut beyond.findings, unchecked).await;
        if choice.hop.is_none_or(|hop| hop == Hop::DeadLetters) {
            self.verify_letters(choice, &mut beyond, unchecked).await;
        }
        beyond
    }

    async fn audit(
        &self,
        name: &str,
        table: &Table,
        live: &mut Live,
        findings: &mut Vec<Finding>,
        unchecked: &mut Vec<String>,
    ) {
        let audited = self.books().read(|ledger| ledger.tables.get(name).and_then(|book| book.audited));
        let known = audited.map(|(version, commits, mark)| Known { version, commits, mark });
        let audit = match table.audit(known).await {
            Ok(audit) => audit,
            Err(error) => return unchecked.push(format!("table `{name}` could not be looked at: {}", chain(&error))),
        };
        if let Some(table) = live.tables.get_mut(name) {
            table.commits = audit.known.commits;
            table.places = Some(audit.places.iter().map(|(place, tally)| (key_of(*place), *tally)).collect());
            table.partitions = None;
        }
        for found in &audit.findings {
            match finding_of(name, found) {
                Some(finding) => findings.push(finding),
                // It would not be found a second time: what was seen is remembered.
                None => {
                    let (hop, name, what) = (Hop::Table, name.to_owned(), format!("table `{name}`: {found}"));
                    if let Err(error) = self.books().submit(Command::Noticed { hop, name, what }).await {
                        unchecked.push(format!("what was noticed could not be booked: {found}: {}", chain(&error)));
                    }
                }
            }
        }
        if audit.more > 0 {
            let what = format!("table `{name}` has {} findings more than are listed", audit.more);
            findings.push(Finding::new(Hop::Table, name, Fault::File, what).next("mend those that are listed first"));
        }
        let Known { version, commits, mark } = audit.known;
        let audited = Audited { table: name.to_owned(), version, commits, mark };
        if let Err(error) = self.books().submit(Command::Audited(audited)).await {
            unchecked.push(format!("what table `{name}` is could not be booked: {}", chain(&error)));
        }
    }
}

/// Returns a finding that would be found again; none if it is of a moment alone.
fn finding_of(table: &str, found: &Found) -> Option<Finding> {
    let (fault, place, path, next) = match found {
        Found::Missing { path, place, .. } => {
            let next = "bring the file back from a copy, or replay the hours of the rows that are named";
            (Fault::File, place, path, next)
        }
        Found::Resized { path, place, .. } | Found::Damaged { path, place, .. } => {
            let next = "bring the file back from a copy; or remove it from the table and replay the hours of its rows";
            (Fault::File, place, path, next)
        }
        Found::Foreign { path, place, .. } => {
            let next = "compaction removes repeats; if the rows are meant, accept the table as it is with `weir ledger accept`";
            (Fault::OtherWriter, place, path, next)
        }
        Found::ForeignVersion { .. }
        | Found::VersionWentBack { .. }
        | Found::CommitsWentBack { .. }
        | Found::VersionRewritten { .. }
        | Found::VersionMissing { .. } => return None,
    };
    let mut finding = Finding::new(Hop::Table, table, fault, format!("table `{table}`: {found}")).next(next);
    match found {
        Found::Missing { rows, .. } => finding.missing = rows.unwrap_or(0),
        Found::Foreign { rows, .. } => finding.extra = *rows,
        _ => {}
    }
    finding.partition = Some(key_of(*place).to_string());
    finding.source = Some(path.clone());
    Some(finding)
}

/// Dead letters of one account: how many, and the sum of their ids.
pub(super) type Letters = BTreeMap<(String, String, weir_types::Hour, String), weir_types::Tally>;

/// Names a letter.
pub(super) fn letter(id: String, wrong: Wrong) -> NamedId {
    NamedId { wrong, id, log: None, sequence: None, hour: None }
}
