//! Avro schemas, parsed and checked once.
//!
//! A schema is a table of nodes; a type inside another is the number of its node, so that a recursive schema is no
//! special case and every compiled plan is a table of the same shape. Invariants of a parsed schema: every name resolves,
//! every record has finite values, every default fits its type, and types nest at most
//! [`NESTING_MAX`](weir_types::limits::NESTING_MAX) deep.
//!
//! Source: Avro specification 1.11.3. Unknown attributes and unknown or invalid logical types are ignored, as it says.

mod canonical;
mod default;
mod fingerprint;
mod finite;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use parse::ParseError;
use weir_types::Fingerprint;

/// A parsed schema. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    text: String,
    canonical: String,
    fingerprint: Fingerprint,
    md5: [u8; 16],
    sha256: [u8; 32],
    root: NodeId,
    nodes: Vec<Node>,
}

/// The place of a type in its schema's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One type.
#[derive(Debug, Clone)]
pub struct Node {
    /// What the bytes are.
    pub kind: Kind,
    /// What they mean, if the schema says so in words that we know.
    pub logical: Option<Logical>,
    /// Whether a value takes no bytes.
    pub(crate) empty: bool,
}

/// What the bytes of a value are.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are Avro's")]
pub enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Record(Record),
    Enum(Enum),
    Fixed(Fixed),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
}

/// What a value means beyond its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Avro's")]
pub enum Logical {
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    LocalTimestampMillis,
    LocalTimestampMicros,
    Decimal { precision: u32, scale: u32 },
    Uuid,
}

/// A name with its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullName(String);

impl FullName {
    /// Returns the name with its namespace, `org.example.Ride`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last part alone, `Ride`.
    pub fn unqualified(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or(&self.0)
    }
}

/// Named fields in a fixed order.
#[derive(Debug, Clone)]
pub struct Record {
    /// The record's name.
    pub name: FullName,
    /// Other names that data of it may have been written under.
    pub aliases: Vec<FullName>,
    /// What it is, in the author's words.
    pub doc: Option<String>,
    /// In the order of the binary form.
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Debug, Clone)]
pub struct Field {
    /// The field's name.
    pub name: String,
    /// Other names that data of it may have been written under.
    pub aliases: Vec<String>,
    /// What it is, in the author's words.
    pub doc: Option<String>,
    /// Its type.
    pub node: NodeId,
    /// The value of old data that lack it, as Avro binary of its type.
    pub default: Option<Box<[u8]>>,
}

/// One of a list of symbols.
#[derive(Debug, Clone)]
pub struct Enum {
    /// The enum's name.
    pub name: FullName,
    /// Other names that data of it may have been written under.
    pub aliases: Vec<FullName>,
    /// In the order of their numbers.
    pub symbols: Vec<String>,
    /// The symbol that stands for those which a reader doesn't know.
    pub default: Option<usize>,
}

/// So many bytes, always.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// The type's name.
    pub name: FullName,
    /// Other names that data of it may have been written under.
    pub aliases: Vec<FullName>,
    /// How many.
    pub size: usize,
}

impl Schema {
    /// Parses and checks a schema's JSON text.
    ///
    /// # Errors
    /// If it is no schema: with the place inside it and, where we can guess, the mend.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (root, nodes) = parse::parse(text)?;
        let canonical = canonical::form(root, &nodes);
        Ok(Self(Arc::new(Inner {
            text: text.to_owned(),
            fingerprint: fingerprint::crc64(canonical.as_bytes()),
            md5: fingerprint::md5(canonical.as_bytes()),
            sha256: fingerprint::sha256(canonical.as_bytes()),
            canonical,
            root,
            nodes,
        })))
    }

    /// Returns the Parsing Canonical Form: two schemas with the same one have the same binary form.
    pub fn canonical_form(&self) -> &str {
        &self.0.canonical
    }

    /// Returns the CRC-64-AVRO of the canonical form.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// Returns the MD5 of the canonical form.
    pub fn md5(&self) -> [u8; 16] {
        self.0.md5
    }

    /// Returns the SHA-256 of the canonical form.
    pub fn sha256(&self) -> [u8; 32] {
        self.0.sha256
    }

    /// Returns the text that was parsed, as it was.
    pub fn to_json(&self) -> &str {
        &self.0.text
    }

    /// Returns the full name, if the schema is of a named type.
    pub fn name(&self) -> Option<&str> {
        self.root().name().map(FullName::as_str)
    }

    /// Returns the fields of a record's schema, none of any other's.
    pub fn fields(&self) -> &[Field] {
        match &self.root().kind {
            Kind::Record(record) => &record.fields,
            _ => &[],
        }
    }

    /// Returns the field of a record's schema that is called so, or was: by its name, else by an alias.
    pub fn field_called(&self, name: &str) -> Option<&Field> {
        let fields = self.fields();
        let named = fields.iter().find(|field| field.name == name);
        named.or_else(|| fields.iter().find(|field| field.aliases.iter().any(|alias| alias == name)))
    }

    /// Returns the outermost type.
    pub fn root(&self) -> &Node {
        self.node(self.0.root)
    }

    /// Returns the type that a field, an array, a map or a union of this schema names. Ids of other schemas are nonsense
    /// here.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.0.nodes[id.index()]
    }

    pub(crate) fn root_id(&self) -> NodeId {
        self.0.root
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// Whether this is the very same parsed schema: a pointer's comparison.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Node {
    /// Returns the name of a record, an enum or a fixed.
    pub fn name(&self) -> Option<&FullName> {
        match &self.kind {
            Kind::Record(record) => Some(&record.name),
            Kind::Enum(symbols) => Some(&symbols.name),
            Kind::Fixed(fixed) => Some(&fixed.name),
            _ => None,
        }
    }

    /// Returns the name by which Avro JSON tells this branch of a union: the full name or the type's word.
    pub fn branch_name(&self) -> &str {
        match self.name() {
            Some(name) => name.as_str(),
            None => self.kind.word(),
        }
    }
}

impl Kind {
    /// Returns Avro's word for the type.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Int => "int",
            Kind::Long => "long",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Bytes => "bytes",
            Kind::String => "string",
            Kind::Record(_) => "record",
            Kind::Enum(_) => "enum",
            Kind::Fixed(_) => "fixed",
            Kind::Array(_) => "array",
            Kind::Map(_) => "map",
            Kind::Union(_) => "union",
        }
    }
}

/// Equal as texts: documentation and defaults count.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.same(other) || self.0.text == other.0.text
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} {})", self.root().branch_name(), self.fingerprint())
    }
}
