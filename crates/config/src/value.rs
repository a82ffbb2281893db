//! Values of expressions, with their places.

use std::fmt;
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
    /// A secret that is set, or a text with secrets in it.
    Secret(Secret),
    /// Something whose mistake was reported.
    Unknown,
}

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret {
    /// The secret's name; with several, all of them.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.name)
    }
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
            Self::Secret(_) => "a secret",
            Self::Unknown => "unknown",
        }
    }
}
