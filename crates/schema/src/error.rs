//! Why a single record was refused.

/// A record that is not what its schema says. The flow goes on; the record is refused or becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The field's path with dots, such as `legs[2].carrier`; empty for the whole record.
    pub field: String,
    /// What is wrong, and where it helps, what to write instead.
    pub reason: String,
}

impl RecordError {
    /// A fault of the whole record.
    pub fn whole(reason: impl Into<String>) -> Self {
        Self { field: String::new(), reason: reason.into() }
    }

    /// A fault of one field.
    pub fn at(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// How the inner loops carry a [`RecordError`]: one word, so that the good way stays cheap.
pub(crate) type Fault = Box<RecordError>;

impl RecordError {
    /// Puts a field's name before the path, on the way out of it.
    pub(crate) fn within_field(mut self: Box<Self>, name: &str) -> Fault {
        let joint = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{name}{joint}{}", self.field);
        self
    }

    /// Puts an item's place, from 0, before the path.
    pub(crate) fn within_item(mut self: Box<Self>, index: u64) -> Fault {
        let joint = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("[{index}]{joint}{}", self.field);
        self
    }

    /// Puts a map's key before the path.
    pub(crate) fn within_key(self: Box<Self>, key: &str) -> Fault {
        const LETTERS_MAX: usize = 64;
        self.within_field(&key.chars().take(LETTERS_MAX).collect::<String>())
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Box::new(RecordError::whole(reason))
    }
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Self {
        Box::new(RecordError::whole(reason))
    }
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "field `{}`: {}", self.field, self.reason)
        }
    }
}

impl std::error::Error for RecordError {}
