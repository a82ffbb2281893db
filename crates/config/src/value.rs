//! Values of expressions, with their places.

use std::ops::Range;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// As written; whole numbers beyond 53 bits are not exact, and out of every range here.
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
    /// A block, such as `stream.flights`.
    Reference {
        kind: String,
        name: String,
    },
    /// A secret that is set. Its value is not kept.
    Secret,
    /// Something whose mistake was reported.
    Unknown,
}

impl Kind {
    /// Says what it is, with an article.
    pub(crate) fn described(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Reference { .. } => "a reference",
            Self::Secret => "a secret",
            Self::Unknown => "unknown",
        }
    }
}
