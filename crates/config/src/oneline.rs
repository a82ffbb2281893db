//! Blocks on one line with several attributes.
//!
//! HCL to the letter allows a block on one line to hold one attribute. weir also takes several, as in
//! `lookup "airlines" { file = "airlines.csv"  refresh = "5m" }`: blanks inside such a block are turned into line breaks
//! before the parser sees them. Invariant: one blank becomes one line break, so that every byte keeps its place.

/// What a brace opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// A block whose `}` is on the same line.
    Line,
    /// Any other block, a map, a list or arguments.
    Other,
}

/// Returns the text with line breaks inside blocks on one line; `None` if it has no such block.
pub(crate) fn widen(text: &str) -> Option<String> {
    let tokens = tokens(text);
    let mut wide = text.as_bytes().to_vec();
    let mut opened: Vec<Opened> = Vec::new();
    let mut changed = false;
    for (index, token) in tokens.iter().enumerate() {
        let inside = opened.last() == Some(&Opened::Line);
        let byte = text.as_bytes()[token.start];
        match byte {
            b'{' => {
                let line = is_block(text, &tokens, index) && closes_on_line(text, &tokens, index);
                opened.push(if line { Opened::Line } else { Opened::Other });
            }
            b'[' | b'(' => opened.push(Opened::Other),
            b'}' | b']' | b')' => {
                changed |= opened.pop() == Some(Opened::Line) && breaks_before(&mut wide, token.start);
            }
            _ if inside && is_name(byte) && tokens.get(index + 1).is_some_and(|next| is_assign(text, next)) => {
                changed |= breaks_before(&mut wide, token.start);
            }
            _ => {}
        }
    }
    // Only blanks were changed to line breaks, so this is still UTF-8.
    if changed { String::from_utf8(wide).ok() } else { None }
}

fn breaks_before(wide: &mut [u8], at: usize) -> bool {
    let blank = at.checked_sub(1).is_some_and(|before| matches!(wide[before], b' ' | b'\t'));
    if blank {
        wide[at - 1] = b'\n';
    }
    blank
}

struct Token {
    start: usize,
    end: usize,
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_assign(text: &str, token: &Token) -> bool {
    &text[token.start..token.end] == "="
}

/// Whether a `{` opens a block: it follows `kind` or labels that begin a line or another block's body.
fn is_block(text: &str, tokens: &[Token], brace: usize) -> bool {
    let bytes = text.as_bytes();
    let mut first = brace;
    while first > 0 && (is_name(bytes[tokens[first - 1].start]) || bytes[tokens[first - 1].start] == b'"') {
        first -= 1;
        if starts_line(text, tokens[first].start) {
            break;
        }
    }
    first < brace
        && is_name(bytes[tokens[first].start])
        && (starts_line(text, tokens[first].start) || first > 0 && bytes[tokens[first - 1].start] == b'{')
}

fn starts_line(text: &str, at: usize) -> bool {
    text[..at].rsplit('\n').next().is_none_or(|before| before.trim().is_empty())
}

fn closes_on_line(text: &str, tokens: &[Token], brace: usize) -> bool {
    let mut depth = 0usize;
    for token in &tokens[brace..] {
        if text[tokens[brace].start..token.start].contains('\n') {
            return false;
        }
        match text.as_bytes()[token.start] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

/// Cuts a text into names, strings, and single other characters; blanks, comments and heredocs are passed over.
fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let length = match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with("//") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with("/*") => {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
                continue;
            }
            b'<' if rest.starts_with("<<") => {
                at += heredoc(rest);
                continue;
            }
            b'"' => string(bytes, at),
            b'=' if rest.starts_with("==") => 2,
            byte if is_name(byte) => {
                rest.bytes().take_while(|byte| is_name(*byte) || byte.is_ascii_digit() || *byte == b'-').count()
            }
            _ => 1,
        };
        tokens.push(Token { start: at, end: at + length });
        at += length;
    }
    tokens
}

/// Returns the length of the string that begins at `start`, quotes and interpolations included.
fn string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    let mut braces = 0usize;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'$' | b'%' if bytes.get(at + 1) == Some(&b'{') => {
                braces += 1;
                at += 1;
            }
            b'}' => braces = braces.saturating_sub(1),
            b'"' if braces == 0 => return at + 1 - start,
            b'\n' => return at - start,
            _ => {}
        }
        at += 1;
    }
    bytes.len() - start
}

/// Returns the length of the heredoc that `text` begins with, up to its delimiter's line.
fn heredoc(text: &str) -> usize {
    let marker = text.trim_start_matches(['<', '-']);
    let delimiter: String =
        marker.chars().take_while(|char| char.is_alphanumeric() || matches!(char, '_' | '-')).collect();
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        at += line.len();
        if index > 0 && line.trim() == delimiter {
            // The delimiter's line break ends the attribute, and is left to the caller.
            return at - usize::from(line.ends_with('\n'));
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_on_one_line_may_hold_several_attributes() {
        let text = "lookup \"a\" { file = \"a b.csv\"  refresh = \"5m\" }\nx \"y\" { tags = { a = 1, b = 2 }  n = 1 == 2 ? 3 : 4 }\n";
        let wide = widen(text).unwrap();
        assert_eq!(
            wide,
            "lookup \"a\" {\nfile = \"a b.csv\" \nrefresh = \"5m\"\n}\nx \"y\" {\ntags = { a = 1, b = 2 } \nn = 1 == 2 ? 3 : 4\n}\n"
        );
        hcl_edit::parser::parse_body(&wide).unwrap();
    }

    #[test]
    fn everything_else_is_left_alone() {
        for text in [
            "a \"b\" {\n  c = { d = 1, e = 2 }\n}\n",
            "a \"b\" {\n  c = <<EOT\nx { y = 1  z = 2 }\nEOT\n}\n",
            "# a { b = 1  c = 2 }\n/* a { b = 1  c = 2 } */\n// a { b = 1 }\n",
            "a = \"b { c = 1  d = 2 }\"\n",
            "a = \"",
            "a { b = 1",
            "}}}",
            "",
        ] {
            assert_eq!(widen(text), None, "{text}");
        }
    }
}
