//! Old hours are summed up into one.

use std::time::Duration;

use weir_ledger::Command;
use weir_types::Hour;

use super::Books;
use crate::node::Node;

/// How long hours are told apart.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// Sums up what has grown too old, once an hour at most.
pub(super) async fn fold(node: &Node, books: &Books) {
    let before = Hour::of(node.env().now().before(KEPT));
    let oldest = books.read(|ledger| {
        let shards = ledger.shards.values().filter_map(|book| book.hours.keys().next());
        let doors = ledger.doors.values().filter_map(|hours| hours.keys().next());
        // A door's sum is kept under the hour before the first.
        shards.map(|hour| Hour(hour.0 + 1)).chain(doors.map(|hour| Hour(hour.0 + 2))).min()
    });
    if oldest.is_some_and(|oldest| oldest <= before)
        && let Err(error) = books.submit(Command::Folded { before }).await
    {
        tracing::warn!(%error, "old hours could not be summed up");
    }
}
