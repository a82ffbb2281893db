//! The `Link` header, RFC 8288 section 3.

use crate::Answer;

/// Returns the target of the first link of a relation, over all `Link` headers of an answer.
pub(crate) fn target(answer: &Answer, rel: &str) -> Option<String> {
    let headers = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("link"));
    headers.filter_map(|(_, value)| in_header(value, rel)).next()
}

fn in_header(value: &str, rel: &str) -> Option<String> {
    let mut rest = value;
    // Each link begins with its target in angle brackets; what isn't one ends the header, as nothing behind it is certain.
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let (target, behind) = rest.strip_prefix('<')?.split_once('>')?;
        let (params, next) = params(behind);
        if params.iter().any(|(name, value)| name == "rel" && has_word(value, rel)) {
            return Some(target.trim().to_owned());
        }
        rest = next;
    }
}

fn has_word(value: &str, rel: &str) -> bool {
    value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(rel))
}

/// Reads `; name=value; name="value"` up to the comma of the next link.
fn params(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(param) = rest.strip_prefix(';') {
        let param = param.trim_start();
        let end = param.find(['=', ';', ',']).unwrap_or(param.len());
        let name = param[..end].trim().to_ascii_lowercase();
        let (value, behind) = match param[end..].strip_prefix('=') {
            Some(value) => token_or_quoted(value.trim_start()),
            None => (String::new(), &param[end..]),
        };
        found.push((name, value));
        rest = behind.trim_start();
    }
    (found, rest)
}

fn token_or_quoted(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_relation() {
        let table = [
            (r#"<https://a/x?page=2>; rel="next", <https://a/x?page=9>; rel="last""#, Some("https://a/x?page=2")),
            (r#"<https://a/x?page=1>; rel="prev", </x?page=3>; rel=next"#, Some("/x?page=3")),
            (r#"<?a=1,2>; title="a, \"b\"; rel=next"; rel="prev start", <?a=3>; rel="foo NEXT""#, Some("?a=3")),
            (r"<https://a/1>;REL=next", Some("https://a/1")),
            (r#"<https://a/1>; rel="nextish""#, None),
            ("https://a/1; rel=next", None),
            ("<https://a/1", None),
            (r#"<https://a/1>; rel="next"#, Some("https://a/1")),
            ("", None),
        ];
        for (header, expected) in table {
            assert_eq!(in_header(header, "next").as_deref(), expected, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_and_ends(text in "[<>;,=\"\\\\ a-crelnxt]{0,40}|\\PC{0,40}") {
            let _ = in_header(&text, "next");
        }
    }
}
