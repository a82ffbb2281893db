//! Ranges of sequence numbers: first and end of each, in order, none touching the next.

/// Ranges that are told apart. More are joined.
const RANGES_MAX: usize = 100;

/// Adds a range, joined with one that it meets or overlaps; the first two are joined where there would be too many.
pub(crate) fn push_range(ranges: &mut Vec<(u64, u64)>, (from, to): (u64, u64)) {
    if from >= to {
        return;
    }
    ranges.push((from, to));
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges.drain(..) {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    if joined.len() > RANGES_MAX {
        joined[0].1 = joined[1].1;
        joined.remove(1);
    }
    *ranges = joined;
}

/// Returns how many numbers of `from..to` are in the ranges.
pub(crate) fn overlap(ranges: &[(u64, u64)], from: u64, to: u64) -> u64 {
    ranges.iter().map(|(first, end)| to.min(*end).saturating_sub(from.max(*first))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_one_and_their_number_is_bounded() {
        let mut ranges = Vec::new();
        for range in [(10, 20), (30, 40), (20, 25), (5, 5), (38, 45)] {
            push_range(&mut ranges, range);
        }
        assert_eq!(ranges, [(10, 25), (30, 45)]);
        assert_eq!(overlap(&ranges, 20, 35), 10);
        for start in 0..1000 {
            push_range(&mut ranges, (100 + 2 * start, 101 + 2 * start));
        }
        assert_eq!(ranges.len(), RANGES_MAX);
        assert_eq!(ranges.last(), Some(&(2098, 2099)));
    }
}
