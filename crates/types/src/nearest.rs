//! The known name that a wrong one was probably meant to be.

/// Jaro-Winkler similarity from which a name counts as a slip of another.
const LIKE: f64 = 0.8;

/// Bytes of a name beyond which it is compared with nothing: it may be a hostile key, and is no slip.
const BYTES_MAX: usize = 128;

/// Returns the known name that is most like `name`, if one is like it. Case does not count.
/// Names of more than 128 bytes are like none.
///
/// ```
/// assert_eq!(weir_types::nearest("rentention", ["schema", "retention"]), Some("retention"));
/// assert_eq!(weir_types::nearest("colour", ["schema", "retention"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > BYTES_MAX {
        return None;
    }
    let name = name.to_lowercase();
    known
        .into_iter()
        .filter(|known| known.len() <= BYTES_MAX)
        .map(|known| (strsim::jaro_winkler(&name, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}
