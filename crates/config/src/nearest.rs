//! Hints for slips of the pen.

use weir_types::nearest;

/// Names listed in a hint.
const LISTED_MAX: usize = 20;

/// Says which known name was meant, or else which there are; `things` is their plural.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone, things: &str) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => there_are(known, things),
    }
}

/// Lists what there is.
pub(crate) fn there_are<'a>(known: impl IntoIterator<Item = &'a str>, things: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() {
        return format!("there are no {things}");
    }
    let mut text = known.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if known.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", known.len() - LISTED_MAX));
    }
    format!("{things}: {text}")
}
