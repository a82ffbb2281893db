//! The known name that a wrong one was probably meant to be.

/// Jaro-Winkler similarity from which a name counts as a slip of another: it sees what begins alike.
const LIKE: f64 = 0.8;

/// Edits that a name of this many bytes may be away. Two neighbours that change places are one: in short names,
/// Jaro-Winkler does not see that.
fn edits_max(known: &str) -> usize {
    1 + known.len() / 5
}

/// Bytes of a name beyond which it is compared with nothing: it may be a hostile key, and is no slip.
const BYTES_MAX: usize = 128;

/// Returns the known name that is most like `name`, if one is like it. Case does not count.
/// Names of more than 128 bytes are like none.
///
/// ```
/// assert_eq!(weir_types::nearest("rentention", ["schema", "retention"]), Some("retention"));
/// assert_eq!(weir_types::nearest("itn", ["id", "int"]), Some("int"));
/// assert_eq!(weir_types::nearest("colour", ["schema", "retention"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > BYTES_MAX {
        return None;
    }
    let name = name.to_lowercase();
    let known: Vec<(&str, String)> =
        known.into_iter().filter(|known| known.len() <= BYTES_MAX).map(|known| (known, known.to_lowercase())).collect();
    let slips = known.iter().map(|(known, lower)| (strsim::osa_distance(&name, lower), *known));
    let slip = slips.filter(|(edits, known)| *edits <= edits_max(known)).min_by_key(|(edits, _)| *edits);
    let like = || {
        let like = known.iter().map(|(known, lower)| (strsim::jaro_winkler(&name, lower), *known));
        like.filter(|(likeness, _)| *likeness >= LIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
    };
    slip.map(|(_, known)| known).or_else(like)
}
