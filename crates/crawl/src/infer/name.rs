//! Names of JSON, made Avro's: `[A-Za-z_][A-Za-z0-9_]*`, and different in more than case, as tables want them.

use std::collections::HashSet;

/// The longest name; longer ones are cut.
const BYTES_MAX: usize = 128;

/// Returns a name that Avro allows: what it doesn't becomes `_`.
pub(super) fn legal(name: &str) -> String {
    let mut legal = String::with_capacity(name.len() + 1);
    if name.bytes().next().is_none_or(|first| first.is_ascii_digit()) {
        legal.push('_');
    }
    legal.extend(name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' }));
    legal.truncate(BYTES_MAX);
    legal
}

/// Names that were given within one record, or one schema.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Some are gone from the start.
    pub(super) fn without(taken: &[&str]) -> Self {
        Self(taken.iter().map(|name| name.to_lowercase()).collect())
    }

    /// Returns a legal name that nobody has yet, with a number behind it if need be.
    pub(super) fn give(&mut self, name: &str) -> String {
        let legal = legal(name);
        let mut given = legal.clone();
        let mut number = 1u64;
        while !self.0.insert(given.to_lowercase()) {
            number += 1;
            given = format!("{legal}_{number}");
        }
        given
    }

    /// Takes a name as it is if it is legal and free.
    pub(super) fn take(&mut self, name: &str) -> bool {
        legal(name) == name && self.0.insert(name.to_lowercase())
    }
}
