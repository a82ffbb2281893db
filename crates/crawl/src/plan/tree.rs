//! Who hangs below whom: the fields that a resource's templates name say it.

use std::collections::BTreeMap;

use super::resource::Need;

/// The fields that a resource names, with what they are for. By key.
pub(super) type Needs = BTreeMap<String, FieldNeed>;

#[derive(Debug, Clone)]
pub(super) struct FieldNeed {
    pub(super) field: crate::template::Field,
    pub(super) resource: usize,
    pub(super) need: Need,
}

/// Why a resource has no parent that could be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TreeError {
    /// It depends on itself, by way of these.
    Loop(Vec<usize>),
    /// Two that it names don't depend on each other.
    Siblings(usize, usize),
}

/// Finds each resource's parent: of those that it names, the one that all others are above.
pub(super) fn parents(needs: &[Vec<usize>]) -> Vec<Result<Option<usize>, TreeError>> {
    let mut found: Vec<Option<Result<Option<usize>, TreeError>>> = vec![None; needs.len()];
    for at in 0..needs.len() {
        visit(at, needs, &mut found, &mut Vec::new());
    }
    found.into_iter().map(|parent| parent.unwrap_or(Ok(None))).collect()
}

fn visit(
    at: usize,
    needs: &[Vec<usize>],
    found: &mut [Option<Result<Option<usize>, TreeError>>],
    way: &mut Vec<usize>,
) {
    if found[at].is_some() {
        return;
    }
    if let Some(from) = way.iter().position(|known| *known == at) {
        let around = way[from..].to_vec();
        for each in &around {
            found[*each] = Some(Err(TreeError::Loop(around.clone())));
        }
        return;
    }
    way.push(at);
    for above in &needs[at] {
        visit(*above, needs, found, way);
    }
    way.pop();
    if found[at].is_none() {
        found[at] = Some(deepest(&needs[at], found));
    }
}

fn deepest(named: &[usize], found: &[Option<Result<Option<usize>, TreeError>>]) -> Result<Option<usize>, TreeError> {
    let Some(deepest) = named.iter().copied().max_by_key(|at| ancestors(*at, found).len()) else { return Ok(None) };
    let above = ancestors(deepest, found);
    match named.iter().find(|at| **at != deepest && !above.contains(at)) {
        Some(other) => Err(TreeError::Siblings(deepest, *other)),
        None => Ok(Some(deepest)),
    }
}

fn ancestors(at: usize, found: &[Option<Result<Option<usize>, TreeError>>]) -> Vec<usize> {
    let mut above = Vec::new();
    let mut at = at;
    while let Some(Some(Ok(Some(parent)))) = found.get(at)
        && above.len() < found.len()
    {
        above.push(*parent);
        at = *parent;
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_the_deepest_of_those_that_are_named() {
        let found = parents(&[vec![], vec![0], vec![0, 1], vec![1, 0]]);
        assert_eq!(found, [Ok(None), Ok(Some(0)), Ok(Some(1)), Ok(Some(1))]);
        // Named before it is defined.
        assert_eq!(parents(&[vec![1], vec![]]), [Ok(Some(1)), Ok(None)]);
    }

    #[test]
    fn loops_and_siblings_have_no_parent() {
        let found = parents(&[vec![1], vec![2], vec![0], vec![0]]);
        assert!(found[..3].iter().all(|parent| matches!(parent, Err(TreeError::Loop(way)) if way.len() == 3)));
        assert_eq!(parents(&[vec![0]]), [Err(TreeError::Loop(vec![0]))]);
        let found = parents(&[vec![], vec![0], vec![0], vec![1, 2]]);
        assert!(matches!(found[3], Err(TreeError::Siblings(..))));
    }
}
