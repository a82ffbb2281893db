//! Where replayed records go.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_types::{FunctionName, NameError, TableName};

/// What is given the records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// A table that the stream feeds, straight or by SQL.
    Table(TableName),
    /// A handler, or SQL that writes to streams and queues; from there all that it writes to.
    Function(FunctionName),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => write!(f, "table/{name}"),
            Self::Function(name) => write!(f, "function/{name}"),
        }
    }
}

/// A text that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is of no kind that records can be replayed to.
    #[error("`{text}` is nothing that records are replayed to: say table/NAME or function/NAME")]
    Kind {
        /// As written.
        text: String,
    },
    /// Its name breaks the rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.split_once('/') {
            Some(("table", name)) => Ok(Self::Table(name.parse()?)),
            Some(("function", name)) => Ok(Self::Function(name.parse()?)),
            _ => Err(TargetError::Kind { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;
    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}
