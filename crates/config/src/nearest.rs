//! Hints for slips of the pen.

/// Names listed in a hint.
const LISTED_MAX: usize = 20;

/// Returns the known name that is most like `name`, if one is like it.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Jaro-Winkler similarity from which a name counts as a slip of another.
    const LIKE: f64 = 0.8;
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

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
