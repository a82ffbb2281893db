//! What earlier runs say about this one.

use std::collections::BTreeMap;

use crate::progress::Counts;
use crate::runs::{Run, State};

/// Runs that are looked at: the newest complete ones.
const RUNS_MAX: usize = 5;
/// How far a ratio may differ from one run to the next, as a part of it, where less than three runs show it.
const CHANGE: f64 = 0.2;
/// However alike the last runs were: a vendor's data may change by so much.
const CHANGE_MIN: f64 = 0.03;

/// Counts by resource of complete runs of one crawl, the newest last.
#[derive(Debug, Clone, Default)]
pub struct Prior<'a> {
    runs: Vec<&'a Run>,
}

/// A number that an earlier run had, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    pub value: f64,
    pub variance: f64,
}

impl<'a> Prior<'a> {
    /// Takes the newest complete runs of a history (the oldest first) that were of the same tenants as this one.
    pub fn of(history: &'a [Run], tenants: Option<&[String]>) -> Self {
        let alike = |run: &&Run| run.state == State::Complete && run.tenants.as_deref() == tenants;
        let mut runs: Vec<&Run> = history.iter().rev().filter(alike).take(RUNS_MAX).collect();
        runs.reverse();
        Self { runs }
    }

    /// Returns the numbers of the runs that it rests on.
    pub fn runs(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.number).collect()
    }

    /// Returns the newest run's counts of a resource.
    pub(super) fn counts(&self, resource: &str) -> Option<&'a Counts> {
        self.runs.last()?.counts.get(resource)
    }

    /// Returns all counts of the newest run.
    pub(super) fn newest(&self) -> Option<&'a BTreeMap<String, Counts>> {
        Some(&self.runs.last()?.counts)
    }

    /// Returns how many tasks of a resource each first page, and each further page, of the one above made in the newest run, and
    /// how much that changes between runs.
    pub(super) fn fan(&self, parent: &str, resource: &str) -> [Option<Known>; 2] {
        let of = |run: &Run| {
            let (above, below) = (run.counts.get(parent)?, run.counts.get(resource)?);
            let ([first, further], [by_first, by_further]) = (above.calls_by_page(), below.made_by_page());
            Some([(first, by_first), (further, by_further)])
        };
        let fans: Vec<[(u64, u64); 2]> = self.runs.iter().filter_map(|run| of(run)).collect();
        [0, 1].map(|index| {
            let means: Vec<f64> = fans
                .iter()
                .map(|fan| fan[index])
                .filter(|fan| fan.0 > 0)
                .map(|fan| fan.1 as f64 / fan.0 as f64)
                .collect();
            let (value, calls) = (*means.last()?, fans.last()?[index].0.max(1) as f64);
            let deviation = change(&means) * value;
            // A ratio of a thousandth is not known to a fifth of that by one run.
            Some(Known { value, variance: deviation * deviation + value.max(1e-9) / calls })
        })
    }
}

/// Returns the relative change from run to run: the root mean square of the logarithms of neighbours' ratios.
fn change(values: &[f64]) -> f64 {
    let changes: Vec<f64> = values
        .windows(2)
        .filter(|pair| pair[0] > 0.0 && pair[1] > 0.0)
        .map(|pair| (pair[1] / pair[0]).ln().powi(2))
        .collect();
    match changes.len() {
        0 | 1 => CHANGE,
        count => (changes.iter().sum::<f64>() / count as f64).sqrt().max(CHANGE_MIN),
    }
}
