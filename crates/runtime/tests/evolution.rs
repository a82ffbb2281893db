//! Random chains of schema changes, with records of all versions: a table reads as the newest schema, as Avro's own library
//! resolves them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each of the tests uses some of it")]
mod support;

use apache_avro::types::Value as Avro;
use apache_avro::{Schema, Writer, from_avro_datum, to_avro_datum};
use serde_json::{Map, Value, json};
use support::{Place, ask, deliver};
use weir_runtime::Format;

const HCL: &str = r#"
stream "rows" {
  schema = "row.avsc"
  id     = ["id"]
  shards = 2
}
table "rows" {
  from      = stream.rows
  buckets   = 2
  freshness = "100ms"
}
function "copy" {
  on  = stream.rows
  sql = "select * from input"
  to  = table.copied
}
table "copied" { freshness = "100ms" }
"#;

/// Chains of one run.
const CHAINS: u64 = 6;
/// Changes of one chain.
const CHANGES: usize = 5;
/// Records that are sent after each change.
const RECORDS: usize = 12;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n as u64) as usize
    }
}

#[derive(Clone)]
struct Field {
    /// What it is called goes; this stays.
    number: usize,
    name: String,
    aliases: Vec<String>,
    kind: Kind,
    default: Option<Value>,
}

#[derive(Clone)]
enum Kind {
    Int,
    Long,
    Float,
    Double,
    Text,
    Enum { name: String, symbols: usize },
    Record { name: String, fields: Vec<Field> },
    Array(Box<Kind>),
    Map(Box<Kind>),
    Nullable(Box<Kind>),
}

impl Kind {
    fn schema(&self) -> Value {
        match self {
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::Text => json!("string"),
            Self::Enum { name, symbols } => {
                let symbols: Vec<String> = (0..*symbols).map(|n| format!("S{n}")).collect();
                json!({"type": "enum", "name": name, "symbols": symbols, "default": "S0"})
            }
            Self::Record { name, fields } => {
                let fields: Vec<Value> = fields
                    .iter()
                    .map(|field| {
                        let mut one = json!({"name": field.name, "type": field.kind.schema()});
                        if !field.aliases.is_empty() {
                            one["aliases"] = json!(field.aliases);
                        }
                        if let Some(default) = &field.default {
                            one["default"] = default.clone();
                        }
                        one
                    })
                    .collect();
                json!({"type": "record", "name": name, "fields": fields})
            }
            Self::Array(items) => json!({"type": "array", "items": items.schema()}),
            Self::Map(values) => json!({"type": "map", "values": values.schema()}),
            Self::Nullable(inner) => json!(["null", inner.schema()]),
        }
    }

    fn parsed(&self) -> Schema {
        Schema::parse(&self.schema()).unwrap()
    }

    fn value(&self, dice: &mut Dice) -> Avro {
        match self {
            Self::Int => Avro::Int(dice.below(2000) as i32 - 1000),
            // As a float too: a chain may lead through one, and a row that was stored then is what it was.
            Self::Long => Avro::Long((dice.below(1 << 20) as i64) << 18),
            Self::Float => Avro::Float(dice.below(4000) as f32 / 4.0),
            Self::Double => Avro::Double(dice.below(4000) as f64 / 8.0),
            Self::Text => Avro::String(format!("t{}", dice.below(100))),
            Self::Enum { symbols, .. } => {
                let n = dice.below(*symbols);
                Avro::Enum(n as u32, format!("S{n}"))
            }
            Self::Record { fields, .. } => {
                Avro::Record(fields.iter().map(|field| (field.name.clone(), field.kind.value(dice))).collect())
            }
            Self::Array(items) => Avro::Array((0..dice.below(3)).map(|_| items.value(dice)).collect()),
            Self::Map(values) => Avro::Map((0..dice.below(3)).map(|n| (format!("k{n}"), values.value(dice))).collect()),
            Self::Nullable(inner) => match dice.below(3) {
                0 => Avro::Union(0, Box::new(Avro::Null)),
                _ => Avro::Union(1, Box::new(inner.value(dice))),
            },
        }
    }

    /// Every list of fields, the outermost first.
    fn lists(&mut self) -> Vec<&mut Vec<Field>> {
        match self {
            Self::Record { fields, .. } => {
                // The list itself is given out, so that those within can't be at once: one or the other.
                vec![fields]
            }
            Self::Array(inner) | Self::Map(inner) | Self::Nullable(inner) => inner.lists(),
            _ => Vec::new(),
        }
    }

    /// The same with the names that a newer version has: what its bytes are read with by a library that knows no aliases.
    fn called_as(&self, newer: &Self) -> Self {
        match (self, newer) {
            (Self::Record { name, fields }, Self::Record { fields: newer, .. }) => {
                let fields = fields.iter().map(|field| match newer.iter().find(|newer| newer.number == field.number) {
                    Some(newer) => {
                        Field { name: newer.name.clone(), kind: field.kind.called_as(&newer.kind), ..field.clone() }
                    }
                    None => field.clone(),
                });
                Self::Record { name: name.clone(), fields: fields.collect() }
            }
            (Self::Nullable(inner), Self::Nullable(newer)) => Self::Nullable(Box::new(inner.called_as(newer))),
            (inner, Self::Nullable(newer)) => inner.called_as(newer),
            (Self::Array(inner), Self::Array(newer)) => Self::Array(Box::new(inner.called_as(newer))),
            (Self::Map(inner), Self::Map(newer)) => Self::Map(Box::new(inner.called_as(newer))),
            _ => self.clone(),
        }
    }
}

/// Makes fields that no other has been.
struct Maker {
    next: usize,
}

impl Maker {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn kind(&mut self, dice: &mut Dice, depth: usize) -> Kind {
        match dice.below(if depth == 0 { 10 } else { 6 }) {
            0 => Kind::Int,
            1 => Kind::Long,
            2 => Kind::Float,
            3 => Kind::Double,
            4 => Kind::Text,
            5 => Kind::Enum { name: format!("E{}", self.number()), symbols: 2 },
            6 => Kind::Array(Box::new(self.record(dice, depth + 1))),
            7 => Kind::Map(Box::new(self.record(dice, depth + 1))),
            8 => self.record(dice, depth + 1),
            _ => Kind::Nullable(Box::new(self.kind(dice, depth + 1))),
        }
    }

    fn record(&mut self, dice: &mut Dice, depth: usize) -> Kind {
        let name = format!("R{}", self.number());
        let fields = (0..=dice.below(2)).map(|_| self.field(dice, depth)).collect();
        Kind::Record { name, fields }
    }

    fn field(&mut self, dice: &mut Dice, depth: usize) -> Field {
        let number = self.number();
        Field { number, name: format!("f{number}"), aliases: Vec::new(), kind: self.kind(dice, depth), default: None }
    }

    /// Changes one field, or adds one, so that the old data can be read.
    fn change(&mut self, fields: &mut Vec<Field>, dice: &mut Dice) {
        // Within a field, at times: what it holds has fields of its own.
        let at = dice.below(fields.len());
        if dice.below(3) == 0
            && let Some(inner) = fields[at].kind.lists().into_iter().next()
        {
            return self.change(inner, dice);
        }
        let number = self.number();
        let field = &mut fields[at];
        match dice.below(6) {
            0 => {
                let kind = Kind::Nullable(Box::new(Kind::Text));
                let name = format!("f{number}");
                fields.push(Field { number, name, aliases: Vec::new(), kind, default: Some(Value::Null) });
            }
            1 => {
                let (kind, default) = match dice.below(3) {
                    0 => (Kind::Int, json!(7)),
                    1 => (Kind::Text, json!("default")),
                    _ => (Kind::Array(Box::new(Kind::Double)), json!([0.5])),
                };
                let name = format!("f{number}");
                let at = dice.below(fields.len() + 1).max(1);
                fields.insert(at, Field { number, name, aliases: Vec::new(), kind, default: Some(default) });
            }
            2 | 3 => {
                // No default may stand in its way: that of a union is of its first branch.
                field.kind = match field.kind.clone() {
                    Kind::Int => [Kind::Long, Kind::Float, Kind::Double][dice.below(3)].clone(),
                    Kind::Long => [Kind::Float, Kind::Double][dice.below(2)].clone(),
                    Kind::Float => Kind::Double,
                    Kind::Enum { name, symbols } => Kind::Enum { name, symbols: symbols + 1 },
                    kind @ (Kind::Text | Kind::Double) if field.default.is_none() && at > 0 => {
                        Kind::Nullable(Box::new(kind))
                    }
                    kind => kind,
                };
            }
            4 => {
                let old = std::mem::replace(&mut field.name, format!("f{}_{number}", field.number));
                field.aliases.insert(0, old);
            }
            _ if fields.len() > 2 && at > 0 => {
                fields.remove(at);
            }
            _ => {}
        }
    }
}

fn json_of(value: &Avro) -> Value {
    match value {
        Avro::Int(n) => json!(n),
        Avro::Long(n) => json!(n),
        Avro::Float(n) => json!(f64::from(*n)),
        Avro::Double(n) => json!(n),
        Avro::String(text) | Avro::Enum(_, text) => json!(text),
        Avro::Union(_, inner) => json_of(inner),
        Avro::Record(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<Map<_, _>>().into()
        }
        Avro::Array(items) => items.iter().map(json_of).collect(),
        Avro::Map(values) => {
            values.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<Map<_, _>>().into()
        }
        Avro::Null => Value::Null,
        other => panic!("{other:?}"),
    }
}

/// Without nulls, which one side writes and the other does not, and with numbers of one kind.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            there.map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        // Every number here is a float's; a double may be written with more digits than that one.
        Value::Number(number) => json!(number.as_f64().unwrap() as f32),
        other => other.clone(),
    }
}

fn with_id(kind: &Kind, id: i64, dice: &mut Dice) -> Avro {
    let Avro::Record(mut fields) = kind.value(dice) else { unreachable!() };
    let Kind::Record { fields: of, .. } = kind else { unreachable!() };
    fields[0].1 = match of[0].kind {
        Kind::Int => Avro::Int(id as i32),
        _ => Avro::Long(id),
    };
    Avro::Record(fields)
}

async fn chain(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut maker = Maker { next: 0 };
    let id = Field { number: 0, name: "id".into(), aliases: Vec::new(), kind: Kind::Int, default: None };
    let mut fields = vec![id];
    fields.extend((0..4).map(|_| maker.field(&mut dice, 0)));
    let mut versions = vec![Kind::Record { name: "Row".into(), fields }];
    let place = Place::new(&[("weir.hcl", HCL)]);
    let mut sent: Vec<(usize, Avro)> = Vec::new();
    for change in 0..=CHANGES {
        let newest = versions.last().unwrap().clone();
        place.write(&[("row.avsc", &newest.schema().to_string())]);
        let node = place.start().await;
        for _ in 0..3 {
            // Producers of all versions go on.
            let by = dice.below(versions.len());
            let schema = versions[by].parsed();
            let mut container = Writer::new(&schema, Vec::new());
            for _ in 0..RECORDS / 3 {
                let value = with_id(&versions[by], sent.len() as i64, &mut dice);
                container.append(value.clone()).unwrap();
                sent.push((by, value));
            }
            let bytes = container.into_inner().unwrap();
            let report = deliver(&node, "rows", Format::AvroContainer, &bytes).await;
            assert_eq!(report.refused, 0, "seed {seed}, change {change}: {:?}", report.refusals);
        }
        if change == CHANGES {
            for table in ["rows", "copied"] {
                check(&ask(&node, &format!("select * from {table}")).await, &versions, &sent, seed, table);
            }
            node.close().await.unwrap();
            return;
        }
        match dice.below(3) {
            // Some are in files, some in the log alone.
            0 => drop(ask(&node, "select count(*) from rows").await),
            1 => node.close().await.unwrap(),
            _ => {}
        }
        drop(node);
        let mut next = newest;
        let Kind::Record { fields, .. } = &mut next else { unreachable!() };
        // The id stays what it is, but for its width and its name.
        let mut rest = fields.split_off(1);
        maker.change(&mut rest, &mut dice);
        maker.change(&mut rest, &mut dice);
        if dice.below(4) == 0 && matches!(fields[0].kind, Kind::Int) {
            fields[0].kind = Kind::Long;
        }
        fields.extend(rest);
        versions.push(next);
    }
}

fn check(rows: &[Value], versions: &[Kind], sent: &[(usize, Avro)], seed: u64, table: &str) {
    assert_eq!(rows.len(), sent.len(), "seed {seed}, {table}");
    let newest = versions.last().unwrap();
    let Kind::Record { fields, .. } = newest else { unreachable!() };
    let reader = newest.parsed();
    for (id, (by, value)) in sent.iter().enumerate() {
        let bytes = to_avro_datum(&versions[*by].parsed(), value.clone()).unwrap();
        let writer = versions[*by].called_as(newest).parsed();
        let resolved = from_avro_datum(&writer, &mut bytes.as_slice(), Some(&reader)).unwrap();
        let row = rows.iter().find(|row| row["id"] == json!(id)).unwrap();
        // Columns whose fields are gone stay in the table.
        let there: Map<String, Value> = fields
            .iter()
            .map(|field| (field.name.clone(), row.get(&field.name).cloned().unwrap_or_default()))
            .collect();
        let found = plain(&within(&Value::Object(there), newest));
        assert_eq!(found, plain(&json_of(&resolved)), "seed {seed}, {table}, record {id} of version {by}");
    }
}

/// Leaves out what a record within has kept of fields that are gone.
fn within(value: &Value, kind: &Kind) -> Value {
    match (value, kind) {
        (Value::Object(found), Kind::Record { fields, .. }) => fields
            .iter()
            .filter_map(|field| Some((field.name.clone(), within(found.get(&field.name)?, &field.kind))))
            .collect::<Map<_, _>>()
            .into(),
        (Value::Object(found), Kind::Map(values)) => {
            found.iter().map(|(name, value)| (name.clone(), within(value, values))).collect::<Map<_, _>>().into()
        }
        (Value::Array(items), Kind::Array(of)) => items.iter().map(|item| within(item, of)).collect(),
        (value, Kind::Nullable(inner)) => within(value, inner),
        (value, _) => value.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_read_as_the_newest_schema_whatever_the_records_were_written_with() {
    let first = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + CHAINS {
        chain(seed).await;
    }
}
