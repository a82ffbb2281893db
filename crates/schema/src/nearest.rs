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

/// Edits between the lower-case forms, by bytes; two neighbours that change places are one edit (the optimal string
/// alignment distance).
fn edits(a: &str, b: &str) -> usize {
    let lower = |text: &str| text.bytes().map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (lower(a), lower(b));
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
