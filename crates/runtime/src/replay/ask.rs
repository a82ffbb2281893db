//! What somebody asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_types::{FunctionName, NameError, StreamName, TableName};

use super::machine::Origin;
use super::rate::Rate;

/// A replay that is asked for. What is not said follows from the rest, or holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The run's name, for a call that is made again; none: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whose records; none: those that the function is on, or that feed the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Where they are read.
    #[serde(default)]
    pub from: Origin,
    /// The first time that is meant: `2026-01-31T12:00:00Z`, or how long ago, such as `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first time that is not meant any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether these are event times, and not times of arrival.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub event_time: bool,
    /// The only function that is given the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionName>,
    /// The only table that its rows go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Destination>,
    /// Records in a time, over all targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// That rows are added to tables that know no ids, where none can be recognised as there already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub append: bool,
}

/// A table that is named: `flights`, `table/flights` or `table.flights`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination(pub TableName);

/// A text that names no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// It is something else.
    #[error("`{text}` is no table: records are replayed to tables, and to streams and queues by way of their function")]
    Kind {
        /// As written.
        text: String,
    },
    /// Its name breaks the rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table/{}", self.0)
    }
}

impl FromStr for Destination {
    type Err = DestinationError;
    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let name = text.strip_prefix("table/").or_else(|| text.strip_prefix("table.")).unwrap_or(text);
        if name.contains(['/', '.']) {
            return Err(DestinationError::Kind { text: text.to_owned() });
        }
        Ok(Self(name.parse()?))
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;
    fn try_from(text: String) -> Result<Self, DestinationError> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> String {
        destination.to_string()
    }
}
