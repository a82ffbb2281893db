//! Blocks, written as HCL.

use std::fmt::Write;

use serde_json::Value;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// A text, of pieces.
    Text(Vec<Piece>),
    /// A reference, a number, `null`.
    Raw(String),
    Call(&'static str, Vec<Expr>),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    /// `${...}`.
    Expression(String),
}

/// A block with its attributes, and the blocks in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Block {
    pub(super) kind: String,
    pub(super) label: Option<String>,
    pub(super) attributes: Vec<(String, Expr)>,
    pub(super) blocks: Vec<Block>,
}

impl Expr {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(vec![Piece::Literal(text.into())])
    }

    pub(super) fn raw(text: impl ToString) -> Self {
        Self::Raw(text.to_string())
    }

    pub(super) fn secret(name: &str) -> Self {
        Self::Call("secret", vec![Self::text(name)])
    }

    /// A JSON value, its texts by `text`.
    pub(super) fn of(value: &Value, text: &mut impl FnMut(&str) -> Expr) -> Self {
        match value {
            Value::String(value) => text(value),
            Value::Array(items) => Self::List(items.iter().map(|item| Self::of(item, text)).collect()),
            Value::Object(object) => {
                Self::Map(object.iter().map(|(key, value)| (key.clone(), Self::of(value, text))).collect())
            }
            other => Self::raw(other),
        }
    }

    /// The text itself, if it is one without expressions.
    pub(super) fn literal(&self) -> Option<String> {
        let Self::Text(pieces) = self else { return None };
        let literals = pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Expression(_) => None,
        });
        literals.collect()
    }

    fn write(&self, indent: usize, out: &mut String) {
        match self {
            // One expression and nothing else is itself: it keeps its type.
            Self::Text(pieces) => match pieces.as_slice() {
                [Piece::Expression(expression)] => out.push_str(expression),
                pieces => write_text(pieces, out),
            },
            Self::Raw(text) => out.push_str(text),
            Self::Call(name, arguments) => {
                out.push_str(name);
                out.push('(');
                write_list(arguments, indent, out);
                out.push(')');
            }
            Self::List(items) => {
                out.push('[');
                write_list(items, indent, out);
                out.push(']');
            }
            Self::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Self::Map(entries) => write_map(entries, indent, out),
        }
    }
}

fn write_list(items: &[Expr], indent: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        item.write(indent, out);
    }
}

fn write_map(entries: &[(String, Expr)], indent: usize, out: &mut String) {
    out.push_str("{\n");
    for (key, value) in entries {
        spaces(indent + 2, out);
        if is_word(key) {
            out.push_str(key);
        } else {
            write_text(&[Piece::Literal(key.clone())], out);
        }
        out.push_str(" = ");
        value.write(indent + 2, out);
        out.push_str(",\n");
    }
    spaces(indent, out);
    out.push('}');
}

fn write_text(pieces: &[Piece], out: &mut String) {
    out.push('"');
    for piece in pieces {
        match piece {
            Piece::Literal(text) => escape(text, out),
            Piece::Expression(expression) => {
                let _ = write!(out, "${{{expression}}}");
            }
        }
    }
    out.push('"');
}

/// HCL's escapes, and `$${` and `%%{` for what would begin a template.
fn escape(text: &str, out: &mut String) {
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' | '%' if letters.peek() == Some(&'{') => out.extend([letter, letter]),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
}

fn is_word(key: &str) -> bool {
    let mut letters = key.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn spaces(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

impl Block {
    pub(super) fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    pub(super) fn named(kind: &str, label: &str) -> Self {
        Self { kind: kind.to_owned(), label: Some(label.to_owned()), ..Self::default() }
    }

    pub(super) fn set(&mut self, name: &str, value: Expr) {
        self.attributes.push((name.to_owned(), value));
    }

    pub(super) fn with(mut self, name: &str, value: Expr) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn replace(&mut self, name: &str, value: Expr) {
        if let Some((_, known)) = self.attributes.iter_mut().find(|(known, _)| known == name) {
            *known = value;
        }
    }

    /// Writes an entry into a map that is an attribute, which is made if it is not there.
    pub(super) fn set_in(&mut self, map: &str, key: &str, value: Expr) {
        if self.get(map).is_none() {
            self.set(map, Expr::Map(Vec::new()));
        }
        let found = self.attributes.iter_mut().find(|(known, _)| known == map);
        if let Some((_, Expr::Map(entries))) = found {
            entries.push((key.to_owned(), value));
        }
    }

    pub(super) fn write(&self, indent: usize, out: &mut String) {
        spaces(indent, out);
        out.push_str(&self.kind);
        if let Some(label) = &self.label {
            out.push(' ');
            write_text(&[Piece::Literal(label.clone())], out);
        }
        if self.attributes.is_empty() && self.blocks.is_empty() {
            out.push_str(" {}\n");
            return;
        }
        out.push_str(" {\n");
        let width = self.attributes.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.attributes {
            spaces(indent + 2, out);
            let _ = write!(out, "{name:width$} = ");
            value.write(indent + 2, out);
            out.push('\n');
        }
        for block in &self.blocks {
            block.write(indent + 2, out);
        }
        spaces(indent, out);
        out.push_str("}\n");
    }
}
