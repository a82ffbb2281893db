//! Application transactions: what a table keeps in the Delta log beside its files.
//!
//! Names and numbers, of which the newest counts; checkpoints keep them all. Source of the form: the Delta protocol,
//! "Transaction Identifiers".

use std::collections::BTreeMap;

use crate::outcome::SourceId;
use crate::partition;

/// The application transaction that counts commits of rows: it tells two writers apart even if they read different
/// sources.
pub(crate) const COMMITS_APP: &str = "weir";
/// Before a source's name: its application transaction.
pub(crate) const SOURCE_APP: &str = "weir/";
/// Before a partition's name: the number of the last commit of rows that changed its rows.
pub(crate) const CHANGED_APP: &str = "weir:changed/";
/// The last version of ours: what came after it was not looked through for other writers' rows.
pub(crate) const SEEN_APP: &str = "weir:seen";

/// The application transactions of a version.
#[derive(Default)]
pub(crate) struct Applications {
    pub(crate) positions: BTreeMap<SourceId, u64>,
    pub(crate) commits: Option<u64>,
    pub(crate) changed: BTreeMap<partition::Key, u64>,
    pub(crate) seen: Option<u64>,
}

impl Applications {
    /// Takes one, unless a newer one was taken: the newest comes first.
    pub(crate) fn take(&mut self, app: &str, version: u64) {
        if app == COMMITS_APP {
            self.commits.get_or_insert(version);
        } else if app == SEEN_APP {
            self.seen.get_or_insert(version);
        } else if let Some(name) = app.strip_prefix(CHANGED_APP) {
            if let Some(key) = partition::parse(name) {
                self.changed.entry(key).or_insert(version);
            }
        } else if let Some(source) = app.strip_prefix(SOURCE_APP) {
            self.positions.entry(SourceId::new(source)).or_insert(version);
        }
    }
}
