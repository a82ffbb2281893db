//! What a sample of items looks like: counts by field, and no values.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::time::{self, Time};
use super::{COLUMNS_MAX, DEPTH_MAX, FIELDS_MAX, NAMED_MAX, NODES_MAX};

/// Integers up to here are exact as doubles.
const EXACT: u64 = 1 << 53;

/// Items that were looked at.
#[derive(Debug, Default)]
pub struct Sample {
    pub(super) root: Node,
    nodes: usize,
    left_out: Vec<String>,
    left_out_count: u64,
}

/// What was seen of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its path, such as `address.lines[]`.
    pub path: String,
    /// What it becomes, in Avro's words.
    pub becomes: String,
    /// How often it was there.
    pub count: u64,
    /// How often it could have been: objects that it may stand in, or all items of a list.
    pub of: u64,
    /// How often it was null.
    pub nulls: u64,
    /// Why it becomes what it does, where that is no matter of course.
    pub note: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, in {} of {}", self.path, self.becomes, self.count, self.of)?;
        if self.nulls > 0 {
            write!(f, ", {} null", self.nulls)?;
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}

/// How often what stood in one place.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) seen: u64,
    pub(super) nulls: u64,
    pub(super) booleans: u64,
    pub(super) longs: u64,
    /// Longs that a double would round.
    pub(super) wide: u64,
    /// Integers beyond 64 bits with a sign.
    pub(super) huge: u64,
    pub(super) doubles: u64,
    pub(super) strings: u64,
    pub(super) dates: u64,
    pub(super) millis: u64,
    pub(super) micros: u64,
    pub(super) objects: u64,
    pub(super) fields: BTreeMap<String, Node>,
    pub(super) lists: u64,
    pub(super) items: Option<Box<Node>>,
    /// Why what is inside is not looked at.
    pub(super) closed: Option<&'static str>,
}

impl Sample {
    /// Looks at an item. What is no object is passed over.
    pub fn add(&mut self, item: &Value) {
        let Value::Object(object) = item else { return };
        self.root.seen += 1;
        self.root.objects += 1;
        for (name, value) in object {
            if !self.root.fields.contains_key(name) {
                if self.root.fields.len() >= COLUMNS_MAX || self.nodes >= NODES_MAX {
                    self.leave_out(name);
                    continue;
                }
                self.nodes += 1;
            }
            self.root.fields.entry(name.clone()).or_default().add(value, 1, &mut self.nodes);
        }
    }

    /// Returns how many items were looked at.
    pub fn items(&self) -> u64 {
        self.root.objects
    }

    /// Returns fields that there was no room for, the first [`NAMED_MAX`], and how often such were met.
    pub fn left_out(&self) -> (&[String], u64) {
        (&self.left_out, self.left_out_count)
    }

    fn leave_out(&mut self, name: &str) {
        self.left_out_count += 1;
        if self.left_out.len() < NAMED_MAX && !self.left_out.iter().any(|known| known == name) {
            self.left_out.push(name.to_owned());
        }
    }
}

impl Node {
    fn add(&mut self, value: &Value, depth: usize, nodes: &mut usize) {
        self.seen += 1;
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => match (number.as_i64(), number.is_u64()) {
                (Some(long), _) => {
                    self.longs += 1;
                    self.wide += u64::from(long.unsigned_abs() > EXACT);
                }
                (None, true) => self.huge += 1,
                (None, false) => self.doubles += 1,
            },
            Value::String(text) => {
                self.strings += 1;
                match time::of(text) {
                    Some(Time::Date) => self.dates += 1,
                    Some(Time::Millis) => self.millis += 1,
                    Some(Time::Micros) => self.micros += 1,
                    None => {}
                }
            }
            Value::Object(object) => {
                self.objects += 1;
                self.add_fields(object, depth, nodes);
            }
            Value::Array(list) => {
                self.lists += 1;
                if depth >= DEPTH_MAX {
                    self.close("nested too deep", nodes);
                }
                if self.closed.is_none() && !list.is_empty() {
                    if self.items.is_none() {
                        *nodes += 1;
                    }
                    let items = self.items.get_or_insert_default();
                    list.iter().for_each(|item| items.add(item, depth + 1, nodes));
                }
            }
        }
    }

    fn add_fields(&mut self, object: &Map<String, Value>, depth: usize, nodes: &mut usize) {
        if depth >= DEPTH_MAX {
            self.close("nested too deep", nodes);
        }
        for (name, value) in object {
            if self.closed.is_some() {
                return;
            }
            if !self.fields.contains_key(name) {
                if self.fields.len() >= FIELDS_MAX {
                    return self.close("its many keys are data", nodes);
                }
                if *nodes >= NODES_MAX {
                    return self.close("there are too many fields in all", nodes);
                }
                *nodes += 1;
            }
            self.fields.entry(name.clone()).or_default().add(value, depth + 1, nodes);
        }
    }

    /// Forgets what is inside.
    fn close(&mut self, why: &'static str, nodes: &mut usize) {
        if self.closed.is_none() {
            self.closed = Some(why);
            *nodes = nodes.saturating_sub(self.inside());
            self.fields.clear();
            self.items = None;
        }
    }

    fn inside(&self) -> usize {
        let fields: usize = self.fields.values().map(|field| 1 + field.inside()).sum();
        fields + self.items.as_ref().map_or(0, |items| 1 + items.inside())
    }
}
