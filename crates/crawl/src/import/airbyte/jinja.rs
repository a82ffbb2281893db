//! The simple forms of Jinja in manifests: `{{ config['x'] }}`, `{{ response.get("a", {}).get("b") }}`.
//!
//! A value is a name and a path; `or` with a literal behind it is a default. Anything else is unknown, and is the caller's to name.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Value(Access),
    /// An expression that is not understood.
    Unknown(String),
}

/// A value of the connector's: `config['a']['b']`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Access {
    /// Such as `config`.
    pub(super) root: String,
    pub(super) path: Vec<String>,
    pub(super) default: Option<String>,
}

/// Cuts a text at its expressions.
pub(super) fn parse(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{").or_else(|| rest.find("{%")) {
        let close = if rest[at..].starts_with("{{") { "}}" } else { "%}" };
        let Some(length) = rest[at..].find(close) else { break };
        push(&mut pieces, &rest[..at]);
        let inner = rest[at + 2..at + length].trim();
        pieces.push(match (close, access(inner), literal(inner)) {
            ("}}", Some(access), _) => Piece::Value(access),
            ("}}", None, Some(text)) => Piece::Text(text),
            _ => Piece::Unknown(inner.to_owned()),
        });
        rest = &rest[at + length + 2..];
    }
    push(&mut pieces, rest);
    pieces
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Returns the one value that a text is, if it is one.
pub(super) fn single(text: &str) -> Option<Access> {
    match <[Piece; 1]>::try_from(parse(text.trim())) {
        Ok([Piece::Value(access)]) => Some(access),
        _ => None,
    }
}

/// Reads `{{ not response.x }}`, or a comparison with false or null: the value whose absence stops a list.
pub(super) fn stops_without(text: &str) -> Option<Access> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    if let Some(negated) = inner.strip_prefix("not ") {
        return access(negated.trim());
    }
    let absent = ["is false", "== false", "== False", "is none", "is None", "== None", "== none", "is not defined"];
    absent.iter().find_map(|end| access(inner.strip_suffix(end)?.trim()))
}

fn access(text: &str) -> Option<Access> {
    if let Some((value, default)) = text.split_once(" or ") {
        let value = access(value.trim())?;
        return Some(Access { default: Some(literal(default.trim())?), ..value });
    }
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = text.find(|letter| !is_letter(letter)).unwrap_or(text.len());
    let (root, mut rest) = text.split_at(end);
    if !root.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let mut found = Access { root: root.to_owned(), path: Vec::new(), default: None };
    while !rest.is_empty() {
        // Spaces around dots, in braces and before filters: filters are not understood.
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix(".get(") {
            let (arguments, behind) = behind.split_once(')')?;
            let (key, default) = match arguments.split_once(',') {
                Some((key, default)) => (key.trim(), Some(default.trim())),
                None => (arguments.trim(), None),
            };
            found.path.push(literal(key)?);
            // An empty object as default only keeps the next step from failing.
            found.default = default.filter(|text| *text != "{}" && *text != "None").map(literal).unwrap_or_default();
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(|letter| !is_letter(letter)).unwrap_or(behind.len());
            if end == 0 {
                return None;
            }
            found.path.push(behind[..end].to_owned());
            rest = &behind[end..];
        } else {
            let (key, behind) = rest.strip_prefix('[')?.split_once(']')?;
            found.path.push(literal(key.trim())?);
            rest = behind;
        }
    }
    Some(found)
}

/// Reads a text in quotes, or a number.
fn literal(text: &str) -> Option<String> {
    for quote in ['\'', '"'] {
        let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.contains([quote, '\\'])) {
            return Some(inner.to_owned());
        }
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(root: &str, path: &[&str], default: Option<&str>) -> Piece {
        Piece::Value(Access {
            root: root.to_owned(),
            path: path.iter().map(|step| (*step).to_owned()).collect(),
            default: default.map(str::to_owned),
        })
    }

    #[test]
    fn values_are_names_with_paths_and_defaults() {
        for (text, piece) in [
            ("{{ config['x'] }}", value("config", &["x"], None)),
            ("{{config[\"x\"]['y']}}", value("config", &["x", "y"], None)),
            ("{{ config.get('x', 'y') }}", value("config", &["x"], Some("y"))),
            ("{{ config['x'] or 1 }}", value("config", &["x"], Some("1"))),
            ("{{ response.get(\"a\", {}).get(\"b\", {}) }}", value("response", &["a", "b"], None)),
            ("{{ stream_partition.id }}", value("stream_partition", &["id"], None)),
            ("{{ headers['link']['next']['url'] }}", value("headers", &["link", "next", "url"], None)),
            ("{{ response['a'][0] }}", value("response", &["a", "0"], None)),
            ("{{ 'x' }}", Piece::Text("x".to_owned())),
        ] {
            assert_eq!(parse(text), [piece], "{text}");
        }
    }

    #[test]
    fn what_is_more_than_a_value_is_unknown() {
        for text in [
            "{{ now_utc().strftime('%Y') }}",
            "{{ response[\"num\"]+1 or 0 }}",
            "{{ config['x'] | string }}",
            "{{ record['uri'] | regex_search('a') }}",
            "{% if config['x'] %}",
            "{{ config['x'] if config['y'] else 1 }}",
            "{{ config['x'] or now_utc() }}",
        ] {
            assert!(matches!(parse(text).as_slice(), [Piece::Unknown(_)]), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn texts_are_cut_at_values() {
        assert_eq!(
            parse("a/{{ config['x'] }}/b{"),
            [Piece::Text("a/".into()), value("config", &["x"], None), Piece::Text("/b{".into())]
        );
    }

    #[test]
    fn stop_conditions_name_what_is_missing_at_the_end() {
        for text in
            ["{{ not response.has_more }}", "{{ response.has_more is false }}", "{{ response['has_more'] == False }}"]
        {
            assert_eq!(stops_without(text).unwrap().path, ["has_more"], "{text}");
        }
        assert_eq!(stops_without("{{ response.page >= response.pages }}"), None);
    }
}
