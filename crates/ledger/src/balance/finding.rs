//! What does not agree.

use serde::{Deserialize, Serialize};
use weir_types::Hour;

use super::line::Hop;
use crate::book::PlaceKey;

/// Ids that a finding names. More are counted.
pub const IDS_NAMED_MAX: usize = 100;

/// What kind of disagreement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A hop counts more or fewer records than came to it.
    Counts,
    /// As many records, but not the same.
    Sums,
    /// Records were passed over.
    Skipped,
    /// Rows that were made are neither in the table, nor repeats, nor dead letters.
    Rows,
    /// A partition does not hold what its commits put there.
    Stock,
    /// A data file is not as it was left.
    File,
    /// Another writer has changed the table.
    OtherWriter,
    /// The Delta log is not as it was left.
    Version,
    /// Dead letters are not in their table.
    Letters,
    /// The archive does not hold what the stream had.
    Archive,
    /// Stored records do not add up to what their writer said.
    Block,
}

impl Fault {
    /// Returns the fault's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Sums => "sums",
            Self::Skipped => "skipped",
            Self::Rows => "rows",
            Self::Stock => "stock",
            Self::File => "file",
            Self::OtherWriter => "other_writer",
            Self::Version => "version",
            Self::Letters => "letters",
            Self::Archive => "archive",
            Self::Block => "block",
        }
    }
}

/// What is wrong with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// It should be there, and is not.
    Missing,
    /// It is there, and should not be.
    Extra,
    /// It is there more than once.
    Doubled,
    /// It is not what it was.
    Changed,
}

/// A record or row that is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedId {
    /// What is wrong with it.
    pub wrong: Wrong,
    /// The values of the id columns as JSON, the id of a dead letter, or nothing where only the place is known.
    pub id: String,
    /// The log where its record stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The record's sequence number there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The hour in which it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<Hour>,
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// At which hop.
    pub hop: Hop,
    /// The stream's, function's or table's name.
    pub name: String,
    /// What kind it is.
    pub fault: Fault,
    /// The log that the records were read from, where it is about one.
    pub source: Option<String>,
    /// The hour in which the records arrived, where it is about one.
    pub hour: Option<Hour>,
    /// The place, where it is about one.
    #[serde(skip)]
    pub place: Option<PlaceKey>,
    /// The partition, where it is about one.
    pub partition: Option<String>,
    /// How many records or rows are missing.
    pub missing: u64,
    /// How many are too much.
    pub extra: u64,
    /// What is wrong, in words.
    pub what: String,
    /// What to do next.
    pub next: String,
    /// Ids and places, at most [`IDS_NAMED_MAX`].
    pub ids: Vec<NamedId>,
    /// Whether there may be more ids than are named.
    pub more: bool,
}

impl Finding {
    /// Begins a finding.
    pub fn new(hop: Hop, name: impl Into<String>, fault: Fault, what: impl Into<String>) -> Self {
        Self {
            hop,
            name: name.into(),
            fault,
            source: None,
            hour: None,
            place: None,
            partition: None,
            missing: 0,
            extra: 0,
            what: what.into(),
            next: String::new(),
            ids: Vec::new(),
            more: false,
        }
    }

    /// Says how many should be there and how many are.
    #[must_use]
    pub fn amounts(mut self, expected: u64, found: u64) -> Self {
        self.missing = expected.saturating_sub(found);
        self.extra = found.saturating_sub(expected);
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// Names an id, or says that there are more.
    pub fn name_id(&mut self, id: NamedId) {
        if self.ids.len() < IDS_NAMED_MAX {
            self.ids.push(id);
        } else {
            self.more = true;
        }
    }

    /// Names a range of sequence numbers of the finding's source.
    pub fn name_places(&mut self, wrong: Wrong, from: u64, to: u64) {
        for sequence in from..to {
            if self.ids.len() >= IDS_NAMED_MAX {
                self.more = true;
                return;
            }
            self.ids.push(NamedId {
                wrong,
                id: String::new(),
                log: self.source.clone(),
                sequence: Some(sequence),
                hour: self.hour,
            });
        }
    }
}
