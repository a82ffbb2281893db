//! A schema compiled for writing values into it.

use hashbrown::HashMap;

use crate::Schema;
use crate::schema::{Kind, Logical, Node, NodeId};
use crate::text::{Unit, Zone};

/// One shape per node of the schema.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) schema: Schema,
    shapes: Vec<Shape>,
    /// Guesses that an encoder keeps: for each record, one per field and one more.
    pub(crate) guesses: usize,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Uuid,
    Date,
    Time(Unit),
    Timestamp(Unit, Zone),
    Decimal {
        precision: u32,
        scale: u32,
        size: Option<usize>,
    },
    Fixed(usize),
    Enum {
        by_symbol: HashMap<Box<str>, u32>,
    },
    Array {
        items: NodeId,
    },
    Map {
        values: NodeId,
    },
    Record(RecordShape),
    /// A union of null and one more: what almost every union is.
    Nullable {
        null: u8,
        branch: u8,
        inner: NodeId,
    },
    Union {
        branches: Vec<NodeId>,
        null: Option<usize>,
    },
}

#[derive(Debug)]
pub(crate) struct RecordShape {
    pub(crate) fields: Vec<FieldShape>,
    /// By their names, and by names that they had.
    pub(crate) by_name: HashMap<Box<str>, u32>,
    /// Where this record's guesses begin.
    pub(crate) guesses: usize,
}

#[derive(Debug)]
pub(crate) struct FieldShape {
    pub(crate) name: Box<str>,
    /// The name and the quote behind it: one comparison tells whether a key is this one.
    pub(crate) key: Box<[u8]>,
    pub(crate) node: NodeId,
    /// What stands for the field where it is missing.
    pub(crate) absent: Option<Box<[u8]>>,
}

impl Plan {
    pub(crate) fn new(schema: &Schema) -> Self {
        let mut guesses = 0;
        let mut shapes = Vec::with_capacity(schema.nodes().len());
        for node in schema.nodes() {
            shapes.push(shape(schema, node, &mut guesses));
        }
        Self { schema: schema.clone(), shapes, guesses }
    }

    #[inline]
    pub(crate) fn shape(&self, id: NodeId) -> &Shape {
        &self.shapes[id.index()]
    }
}

fn shape(schema: &Schema, node: &Node, guesses: &mut usize) -> Shape {
    match (&node.kind, node.logical) {
        (Kind::Bytes, Some(Logical::Decimal { precision, scale })) => Shape::Decimal { precision, scale, size: None },
        (Kind::Fixed(fixed), Some(Logical::Decimal { precision, scale })) => {
            Shape::Decimal { precision, scale, size: Some(fixed.size) }
        }
        (_, Some(Logical::Date)) => Shape::Date,
        (_, Some(Logical::TimeMillis)) => Shape::Time(Unit::Millis),
        (_, Some(Logical::TimeMicros)) => Shape::Time(Unit::Micros),
        (_, Some(Logical::TimestampMillis)) => Shape::Timestamp(Unit::Millis, Zone::Utc),
        (_, Some(Logical::TimestampMicros)) => Shape::Timestamp(Unit::Micros, Zone::Utc),
        (_, Some(Logical::LocalTimestampMillis)) => Shape::Timestamp(Unit::Millis, Zone::Local),
        (_, Some(Logical::LocalTimestampMicros)) => Shape::Timestamp(Unit::Micros, Zone::Local),
        (_, Some(Logical::Uuid)) => Shape::Uuid,
        (Kind::Null, _) => Shape::Null,
        (Kind::Boolean, _) => Shape::Boolean,
        (Kind::Int, _) => Shape::Int,
        (Kind::Long, _) => Shape::Long,
        (Kind::Float, _) => Shape::Float,
        (Kind::Double, _) => Shape::Double,
        (Kind::Bytes, _) => Shape::Bytes,
        (Kind::String, _) => Shape::String,
        (Kind::Fixed(fixed), _) => Shape::Fixed(fixed.size),
        (Kind::Array(items), _) => Shape::Array { items: *items },
        (Kind::Map(values), _) => Shape::Map { values: *values },
        (Kind::Enum(symbols), _) => {
            let by_symbol = symbols.symbols.iter().zip(0..).map(|(symbol, index)| (symbol.as_str().into(), index));
            Shape::Enum { by_symbol: by_symbol.collect() }
        }
        (Kind::Union(branches), _) => {
            let null = branches.iter().position(|branch| matches!(schema.node(*branch).kind, Kind::Null));
            match (null, branches.len()) {
                (Some(null), 2) => {
                    Shape::Nullable { null: null as u8, branch: 1 - null as u8, inner: branches[1 - null] }
                }
                _ => Shape::Union { branches: branches.clone(), null },
            }
        }
        (Kind::Record(record), _) => {
            let first = *guesses;
            *guesses += record.fields.len() + 1;
            let fields: Vec<FieldShape> = record
                .fields
                .iter()
                .map(|field| FieldShape {
                    name: field.name.as_str().into(),
                    key: [field.name.as_bytes(), b"\""].concat().into(),
                    node: field.node,
                    absent: field.default.clone().or_else(|| null(schema, field.node)),
                })
                .collect();
            let mut by_name: HashMap<Box<str>, u32> =
                fields.iter().zip(0..).map(|(field, index)| (field.name.clone(), index)).collect();
            // Who writes text has no schema that says by which of its names a field is called.
            for (field, index) in record.fields.iter().zip(0..) {
                for alias in &field.aliases {
                    by_name.entry(alias.as_str().into()).or_insert(index);
                }
            }
            Shape::Record(RecordShape { fields, by_name, guesses: first })
        }
    }
}

/// The binary form of null in this type, if it has one.
fn null(schema: &Schema, id: NodeId) -> Option<Box<[u8]>> {
    match &schema.node(id).kind {
        Kind::Null => Some(Box::new([])),
        Kind::Union(branches) => {
            let index = branches.iter().position(|branch| matches!(schema.node(*branch).kind, Kind::Null))?;
            let mut bytes = Vec::new();
            crate::binary::write_long(index as i64, &mut bytes);
            Some(bytes.into())
        }
        _ => None,
    }
}
