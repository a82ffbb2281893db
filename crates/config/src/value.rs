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
    /// How an account is shown, such as `bearer(secret("TOKEN"))`.
    Credentials(Credentials),
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

/// A form of credentials, and what it is made of.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) form: CredentialForm,
    pub(crate) arguments: Vec<Value>,
}

/// The forms that have a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialForm {
    Bearer,
    ApiKey,
    Basic,
}

impl CredentialForm {
    pub(crate) const ALL: [Self; 3] = [Self::Bearer, Self::ApiKey, Self::Basic];

    /// Returns the function's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::ApiKey => "api_key",
            Self::Basic => "basic",
        }
    }

    /// Returns how it is written.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Bearer => "bearer(secret(\"TOKEN\"))",
            Self::ApiKey => "api_key(\"X-Api-Key\", secret(\"KEY\"), \"header\")",
            Self::Basic => "basic(\"user\", secret(\"PASSWORD\"))",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.name)
    }
}

impl Kind {
    /// Returns a string, a number or a boolean as it is written in a text.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

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
            Self::Credentials(_) => "credentials",
            Self::Unknown => "unknown",
        }
    }
}
