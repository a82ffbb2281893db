//! The known word that a wrong one was probably meant to be.

/// Returns the word with the fewest edits, if they are few for its length.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LETTERS_MAX: usize = 128;
    if wrong.len() > LETTERS_MAX {
        return None;
    }
    let near = known.filter(|word| word.len() <= LETTERS_MAX).map(|word| (edits(wrong, word), word));
    near.min_by_key(|(edits, _)| *edits).filter(|(edits, word)| *edits <= 1 + word.len() / 4).map(|(_, word)| word)
}

/// Levenshtein's distance of the lower-case forms, by bytes.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x.to_ascii_lowercase() != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
