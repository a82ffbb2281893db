//! How a column is made of the event time: which times of the source end in which times of the rollup.
//!
//! Each step rounds down, by a width or by the calendar, in UTC. Invariant: steps are kept in their shortest form, so that
//! two derivations that are the same by their steps are equal.

use weir_types::civil::{civil_from_days, days_from_civil};

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// 1970-01-01 was a Thursday: three days into its week.
const DAYS_INTO_WEEK: i64 = 3;

/// Rounds a time down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To a multiple of so many microseconds since 1970.
    Width(i64),
    /// To the Monday.
    Week,
    /// To the first of so many months, counted from January: 1, 3 or 12.
    Months(i64),
}

impl Step {
    fn apply(self, micros: i64) -> i64 {
        let days = micros.div_euclid(DAY_US);
        match self {
            Self::Width(width) => micros.div_euclid(width).saturating_mul(width),
            Self::Week => (days - (days + DAYS_INTO_WEEK).rem_euclid(7)).saturating_mul(DAY_US),
            Self::Months(months) => {
                let (year, month, _) = civil_from_days(days);
                days_from_civil(year, (month - 1) / months * months + 1, 1).saturating_mul(DAY_US)
            }
        }
    }

    /// Whether each of its intervals is made of whole intervals of `finer`, so that rounding by `finer` before or after
    /// changes nothing.
    fn holds(self, finer: Self) -> bool {
        match (self, finer) {
            (Self::Width(width), Self::Width(finer)) => width % finer == 0,
            (Self::Week | Self::Months(_), Self::Width(finer)) => DAY_US % finer == 0,
            (Self::Months(months), Self::Months(finer)) => months % finer == 0,
            (Self::Week, Self::Week) => true,
            _ => false,
        }
    }
}

/// How a column is made of the event time, step by step. Without steps it is the event time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derivation {
    steps: Vec<Step>,
}

impl Derivation {
    /// Returns this with one more step.
    #[must_use]
    pub(crate) fn then(mut self, step: Step) -> Self {
        while let Some(last) = self.steps.last() {
            if last.holds(step) {
                return self;
            }
            if !step.holds(*last) {
                break;
            }
            self.steps.pop();
        }
        self.steps.push(step);
        self
    }

    /// Whether `coarser` depends on this alone.
    pub(crate) fn decides(&self, coarser: &Self) -> bool {
        coarser.steps.iter().fold(self.clone(), |derived, step| derived.then(*step)) == *coarser
    }

    /// Whether all times of one interval of `from` microseconds, of those that follow each other from 1970, end in one
    /// interval of `to` microseconds: what [`Derivation::apply`] says of the first of them is true of all. Widths are
    /// [`HOUR_US`] or [`DAY_US`].
    pub fn keeps_whole(&self, from: i64, to: i64) -> bool {
        let from = Step::Width(from);
        for step in self.steps.iter().copied().chain([Step::Width(to)]) {
            if step.holds(from) {
                return true;
            }
            if !from.holds(step) {
                return false;
            }
        }
        false
    }

    /// Returns what becomes of a time, in microseconds since 1970.
    pub fn apply(&self, micros: i64) -> i64 {
        self.steps.iter().fold(micros, |at, step| step.apply(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Step = Step::Width(60_000_000);
    const HOUR: Step = Step::Width(HOUR_US);
    const DAY: Step = Step::Width(DAY_US);
    const MONTH: Step = Step::Months(1);

    fn of(steps: &[Step]) -> Derivation {
        steps.iter().fold(Derivation::default(), |derived, step| derived.then(*step))
    }

    #[test]
    fn rounding_that_changes_nothing_is_left_out() {
        assert_eq!(of(&[MINUTE, HOUR, DAY]), of(&[DAY]));
        assert_eq!(of(&[DAY, HOUR]), of(&[DAY]));
        assert_eq!(of(&[HOUR, MONTH, Step::Months(12)]), of(&[Step::Months(12)]));
        assert_ne!(of(&[Step::Week, MONTH]), of(&[MONTH]));
        assert_ne!(of(&[Step::Width(7 * 60_000_000), HOUR]), of(&[HOUR]));
    }

    #[test]
    fn the_finer_decides_the_coarser_and_not_the_other_way_round() {
        assert!(of(&[]).decides(&of(&[HOUR])));
        assert!(of(&[HOUR]).decides(&of(&[MONTH])));
        assert!(of(&[HOUR]).decides(&of(&[HOUR])));
        assert!(!of(&[MONTH]).decides(&of(&[DAY])));
        assert!(!of(&[HOUR]).decides(&of(&[])));
        assert!(!of(&[Step::Week]).decides(&of(&[MONTH])));
    }

    #[test]
    fn a_partition_is_kept_whole_by_what_is_made_of_whole_partitions() {
        for steps in [&[][..], &[MINUTE], &[HOUR], &[DAY], &[Step::Week], &[MONTH], &[Step::Week, MONTH]] {
            assert!(of(steps).keeps_whole(DAY_US, DAY_US), "{steps:?}");
            assert!(of(steps).keeps_whole(HOUR_US, DAY_US), "{steps:?}");
        }
        assert!(!of(&[]).keeps_whole(DAY_US, HOUR_US));
        assert!(!of(&[HOUR]).keeps_whole(DAY_US, HOUR_US));
        assert!(of(&[DAY]).keeps_whole(DAY_US, HOUR_US));
        assert!(!of(&[Step::Width(7 * HOUR_US)]).keeps_whole(DAY_US, DAY_US));
        assert!(of(&[Step::Width(7 * HOUR_US)]).keeps_whole(HOUR_US, DAY_US));
    }

    proptest::proptest! {
        /// Against DataFusion's own rounding, in `rollup/tests.rs`; here that a partition's times stay together.
        #[test]
        fn times_of_a_partition_end_in_one_partition(
            hour in -600_000i64..1_100_000, within in 0..HOUR_US, first in 0usize..7, second in 0usize..7,
        ) {
            let steps = [MINUTE, HOUR, DAY, Step::Week, MONTH, Step::Months(3), Step::Months(12)];
            let derived = of(&[steps[first], steps[second]]);
            let start = hour * HOUR_US;
            let day = |micros: i64| derived.apply(micros).div_euclid(DAY_US);
            proptest::prop_assert!(derived.keeps_whole(HOUR_US, DAY_US));
            proptest::prop_assert_eq!(day(start), day(start + within));
            let plain = steps[second].apply(steps[first].apply(start + within));
            proptest::prop_assert_eq!(derived.apply(start + within), plain);
        }
    }
}
