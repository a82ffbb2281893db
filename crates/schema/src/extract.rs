//! Single fields of a record's binary, without decoding the rest.

use std::ops::Range;

use weir_types::Timestamp;

use crate::binary::Cursor;
use crate::resolve::skip;
use crate::schema::{Field, Kind, Logical, NodeId};
use crate::{RecordError, Schema};

/// A field that the schema doesn't have, or that is not of the type that is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema has no field `{field}`{}", for_time(*time))]
pub struct UnknownField {
    /// The name as asked for.
    pub field: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// A field that holds times was wanted.
    pub time: bool,
}

fn for_time(time: bool) -> &'static str {
    if time { " that holds times (a timestamp, a date, or a long of milliseconds)" } else { "" }
}

/// Finds top-level fields in records of one schema.
#[derive(Debug)]
pub struct Extractor {
    schema: Schema,
    /// The places of the fields that are asked for, in the asked order.
    fields: Vec<usize>,
    time: Option<Time>,
    /// Fields to walk over for the ranges.
    walk: usize,
}

#[derive(Debug)]
struct Time {
    field: usize,
    unit: Unit,
    /// The branch that holds the time, if the field is a union.
    branch: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Days,
    Millis,
    Micros,
}

impl Extractor {
    /// Finds the fields in the schema.
    ///
    /// # Errors
    /// If one of them is not there.
    pub fn new(schema: &Schema, fields: &[&str]) -> Result<Self, UnknownField> {
        let fields: Vec<usize> = fields.iter().map(|field| find(schema, field)).collect::<Result<_, _>>()?;
        let walk = fields.iter().map(|index| index + 1).max().unwrap_or(0);
        Ok(Self { schema: schema.clone(), fields, time: None, walk })
    }

    /// Names the field that [`Extractor::event_time`] reads: a timestamp (a local one is taken as UTC), a date (its
    /// midnight in UTC), or a plain long, which counts milliseconds; or a union of one of these and null.
    ///
    /// # Errors
    /// If it is not there, or of another type.
    pub fn with_event_time(mut self, field: &str) -> Result<Self, UnknownField> {
        let index = find(&self.schema, field)?;
        let node = self.schema.fields()[index].node;
        let hint = format!("`{field}` is a {}", self.schema.node(node).kind.word());
        let time = time(&self.schema, index, node);
        self.time = Some(time.ok_or(UnknownField { field: field.to_owned(), hint: Some(hint), time: true })?);
        Ok(self)
    }

    /// Replaces `ranges` by where the fields stand in the record, in the order in which they were asked for.
    ///
    /// A range is the field's whole encoding, a union's branch included, so that joined ranges of different values are
    /// different. Nothing behind the last of them is looked at.
    ///
    /// # Errors
    /// If the bytes up to there are no record of the schema.
    pub fn ranges(&self, record: &[u8], ranges: &mut Vec<Range<usize>>) -> Result<(), RecordError> {
        ranges.clear();
        ranges.resize(self.fields.len(), 0..0);
        let mut cursor = Cursor::new(record);
        for (index, field) in self.schema.fields()[..self.walk].iter().enumerate() {
            let start = cursor.at();
            self.skip(field, &mut cursor)?;
            for (wanted, range) in self.fields.iter().zip(ranges.iter_mut()) {
                if *wanted == index {
                    *range = start..cursor.at();
                }
            }
        }
        Ok(())
    }

    /// Returns the record's event time; `None` if it is null, if no field was named, or if the bytes are no record.
    pub fn event_time(&self, record: &[u8]) -> Option<Timestamp> {
        let time = self.time.as_ref()?;
        let mut cursor = Cursor::new(record);
        for field in &self.schema.fields()[..time.field] {
            self.skip(field, &mut cursor).ok()?;
        }
        if time.branch.is_some_and(|branch| cursor.long() != Ok(branch)) {
            return None;
        }
        let count = cursor.long().ok()?;
        Some(Timestamp(match time.unit {
            Unit::Days => count.checked_mul(86_400_000)?,
            Unit::Millis => count,
            Unit::Micros => count.div_euclid(1000),
        }))
    }

    fn skip(&self, field: &Field, cursor: &mut Cursor<'_>) -> Result<(), RecordError> {
        skip(&self.schema, field.node, cursor, 1).map_err(|fault| *fault.within_field(&field.name))
    }
}

fn find(schema: &Schema, name: &str) -> Result<usize, UnknownField> {
    let fields = schema.fields();
    fields.iter().position(|field| field.name == name).ok_or_else(|| {
        let near = weir_types::nearest(name, fields.iter().map(|field| field.name.as_str()));
        UnknownField { field: name.to_owned(), hint: near.map(|near| format!("did you mean `{near}`?")), time: false }
    })
}

fn time(schema: &Schema, field: usize, id: NodeId) -> Option<Time> {
    let node = schema.node(id);
    if let Kind::Union(branches) = &node.kind {
        let null = branches.iter().position(|branch| matches!(schema.node(*branch).kind, Kind::Null))?;
        let [a, b] = branches[..] else { return None };
        let inner = time(schema, field, if null == 0 { b } else { a })?;
        return inner.branch.is_none().then_some(Time { branch: Some(1 - null as i64), ..inner });
    }
    let unit = match (&node.kind, node.logical) {
        (_, Some(Logical::Date)) => Unit::Days,
        (_, Some(Logical::TimestampMillis | Logical::LocalTimestampMillis)) | (Kind::Long, None) => Unit::Millis,
        (_, Some(Logical::TimestampMicros | Logical::LocalTimestampMicros)) => Unit::Micros,
        _ => return None,
    };
    Some(Time { field, unit, branch: None })
}

#[cfg(test)]
mod tests;
