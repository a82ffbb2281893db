//! Which types have values that end, and which have values that take no bytes.

use super::{Kind, Node};

/// Returns the first record that can't be written because every value of it holds another one.
pub(super) fn endless(nodes: &[Node]) -> Option<usize> {
    let ends = fixpoint(nodes, |kind, ends| match kind {
        Kind::Record(record) => record.fields.iter().all(|field| ends[field.node.index()]),
        Kind::Union(branches) => branches.iter().any(|branch| ends[branch.index()]),
        _ => true,
    });
    ends.iter().position(|ends| !ends)
}

/// Marks the types whose values take no bytes: only a limit of our own bounds how many of them a block may claim.
pub(super) fn mark_empty(nodes: &mut [Node]) {
    let empty = fixpoint(nodes, |kind, empty| match kind {
        Kind::Null => true,
        Kind::Fixed(fixed) => fixed.size == 0,
        Kind::Record(record) => record.fields.iter().all(|field| empty[field.node.index()]),
        _ => false,
    });
    for (node, empty) in nodes.iter_mut().zip(empty) {
        node.empty = empty;
    }
}

/// Grows the set of types for which `holds` from nothing until it grows no more. Children mostly stand behind their
/// parents, so that going backwards takes two rounds, rarely more.
fn fixpoint(nodes: &[Node], holds: impl Fn(&Kind, &[bool]) -> bool) -> Vec<bool> {
    let mut set = vec![false; nodes.len()];
    loop {
        let mut grown = false;
        for (index, node) in nodes.iter().enumerate().rev() {
            if !set[index] && holds(&node.kind, &set) {
                set[index] = true;
                grown = true;
            }
        }
        if !grown {
            return set;
        }
    }
}
