//! What a pipeline has read and applied, page by page, until the commit that makes it durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use weir_ledger::{Counts, SourceEntry};
use weir_types::Hour;

/// What became of one page, or of records that were gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoveredPage {
    pub from: u64,
    pub to: u64,
    /// The hour in which its records arrived; none: they were gone before they could be read.
    pub hour: Option<Hour>,
    pub counts: Counts,
}

/// The pages behind a table's last commit, by source.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    pages: Mutex<BTreeMap<String, VecDeque<CoveredPage>>>,
    /// Counts pages, so that a commit can wait for one whose rows are in the table and which is not here yet.
    arrived: watch::Sender<u64>,
}

impl Covered {
    /// Notes a page whose rows are in the table's buffer.
    pub fn push(&self, source: &str, page: CoveredPage) {
        {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            let of = match pages.get_mut(source) {
                Some(of) => of,
                None => pages.entry(source.to_owned()).or_default(),
            };
            of.push_back(page);
        }
        self.arrived.send_modify(|count| *count += 1);
    }

    /// Tells whether all pages of a source up to `to` are here, if any of it was ever.
    fn reaches(&self, source: &str, to: u64) -> bool {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(source).is_none_or(|pages| pages.back().is_some_and(|last| last.to >= to))
    }

    /// Waits until all pages of a source up to `to` are here.
    pub async fn wait_for(&self, source: &str, to: u64) {
        let mut arrived = self.arrived.subscribe();
        while !self.reaches(source, to) {
            if arrived.changed().await.is_err() {
                return;
            }
        }
    }

    /// Expects pages of a source: commits wait for them from here on.
    pub fn expect(&self, source: &str) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).entry(source.to_owned()).or_default();
    }

    /// Adds up what was read of a source from its committed position `from` to `to`, and forgets what lies before.
    pub fn entry(&self, source: &str, from: u64, to: u64) -> SourceEntry {
        let mut entry =
            SourceEntry { source: source.to_owned(), from, to, hours: Vec::new(), lost: Vec::new(), holes: Vec::new() };
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pages) = pages.get_mut(source) else { return entry };
        while pages.front().is_some_and(|page| page.to <= from) {
            pages.pop_front();
        }
        let mut hours: BTreeMap<Hour, Counts> = BTreeMap::new();
        let mut next = from;
        for page in pages.iter().take_while(|page| page.to <= to) {
            if page.from > next {
                entry.holes.push((next, page.from));
            }
            match page.hour {
                Some(hour) => hours.entry(hour).or_default().merge(&page.counts),
                None => entry.lost.push((page.from, page.to)),
            }
            next = page.to;
        }
        if next < to {
            entry.holes.push((next, to));
        }
        entry.hours = hours.into_iter().collect();
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(from: u64, to: u64, hour: i64) -> CoveredPage {
        let mut counts = Counts { rows: to - from, added: to - from, ..Counts::default() };
        (from..to).for_each(|place| counts.read.add(u128::from(place)));
        CoveredPage { from, to, hour: Some(Hour(hour)), counts }
    }

    #[test]
    fn an_entry_has_the_pages_between_two_positions_and_may_be_made_again() {
        let covered = Covered::default();
        for (from, to, hour) in [(0, 10, 1), (10, 15, 1), (15, 30, 2), (30, 40, 2)] {
            covered.push("s", page(from, to, hour));
        }
        let first = covered.entry("s", 0, 30);
        assert_eq!(first, covered.entry("s", 0, 30));
        let rows: Vec<(Hour, u64)> = first.hours.iter().map(|(hour, counts)| (*hour, counts.rows)).collect();
        assert_eq!(rows, [(Hour(1), 15), (Hour(2), 15)]);
        assert!(first.holes.is_empty() && first.lost.is_empty());
        let second = covered.entry("s", 30, 40);
        assert_eq!(second.hours.len(), 1);
        assert_eq!(covered.pages.lock().unwrap()["s"].len(), 1);
    }

    #[test]
    fn what_was_passed_over_is_a_hole_and_what_was_gone_is_lost() {
        let covered = Covered::default();
        covered.push("s", page(0, 10, 1));
        covered.push("s", page(12, 15, 1));
        covered.push("s", CoveredPage { from: 15, to: 18, hour: None, counts: Counts::default() });
        let entry = covered.entry("s", 0, 20);
        assert_eq!((entry.holes, entry.lost), (vec![(10, 12), (18, 20)], vec![(15, 18)]));
        assert_eq!(covered.entry("unknown", 3, 9).hours, []);
    }
}
