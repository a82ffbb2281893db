//! Random schemas and values for tests, each value both as JSON and as apache-avro has it.

use std::collections::HashMap;

use apache_avro::types::Value as Avro;
use serde_json::{Value as Json, json};

/// A type and all that is needed to make values of it.
#[derive(Debug, Clone)]
pub(crate) enum Ty {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Date,
    TimestampMillis,
    TimestampMicros,
    Decimal,
    Uuid,
    Enum(String, u32),
    Fixed(String, usize),
    Array(Box<Ty>),
    Map(Box<Ty>),
    Nullable(Box<Ty>, bool),
    /// Of a boolean, a string and a long, in that order.
    Mixed,
    Record(String, Vec<(String, Ty)>),
}

/// SplitMix64, so that one number from proptest makes one case.
#[derive(Debug)]
pub(crate) struct Dice {
    state: u64,
    names: u32,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, names: 0 }
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn bits(&mut self) -> u64 {
        let all = self.roll(u64::MAX);
        // Numbers of all lengths, not mostly long ones.
        all >> self.roll(64)
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    pub(crate) fn record(&mut self) -> Ty {
        self.record_of(0)
    }

    fn record_of(&mut self, depth: u32) -> Ty {
        let name = self.name("Rec");
        let fields = (0..=self.roll(6)).map(|_| (self.name("f"), self.ty(depth + 1))).collect();
        Ty::Record(name, fields)
    }

    fn ty(&mut self, depth: u32) -> Ty {
        let simple = 17;
        match self.roll(if depth > 3 { simple } else { simple + 6 }) {
            0 => Ty::Null,
            1 => Ty::Boolean,
            2 | 3 => Ty::Int,
            4 | 5 => Ty::Long,
            6 => Ty::Float,
            7 => Ty::Double,
            8 => Ty::Bytes,
            9 => Ty::String,
            10 => Ty::Date,
            11 => Ty::TimestampMillis,
            12 => Ty::TimestampMicros,
            13 => Ty::Uuid,
            14 => Ty::Enum(self.name("En"), 1 + self.roll(4) as u32),
            15 => Ty::Fixed(self.name("Fx"), 1 + self.roll(20) as usize),
            16 => Ty::Decimal,
            17 => Ty::Array(Box::new(self.ty(depth + 1))),
            18 => Ty::Map(Box::new(self.ty(depth + 1))),
            19 | 20 => {
                let inner = match self.ty(depth + 1) {
                    Ty::Null | Ty::Nullable(..) | Ty::Mixed => Ty::String,
                    other => other,
                };
                Ty::Nullable(Box::new(inner), self.roll(2) == 0)
            }
            21 => Ty::Mixed,
            _ => self.record_of(depth),
        }
    }

    pub(crate) fn value(&mut self, ty: &Ty) -> (Json, Avro) {
        match ty {
            Ty::Null => (Json::Null, Avro::Null),
            Ty::Boolean => {
                let value = self.roll(2) == 0;
                (json!(value), Avro::Boolean(value))
            }
            Ty::Int => {
                let value = self.bits() as i32;
                (json!(value), Avro::Int(value))
            }
            Ty::Long => {
                let value = self.bits() as i64;
                (json!(value), Avro::Long(value))
            }
            Ty::Float => {
                let value = self.roll(2_000_000) as f32 / 128.0 - 5000.0;
                (json!(f64::from(value)), Avro::Float(value))
            }
            Ty::Double => {
                let value = (self.bits() as i64) as f64 / 1024.0;
                (json!(value), Avro::Double(value))
            }
            Ty::Bytes => {
                let bytes: Vec<u8> = (0..self.roll(20)).map(|_| self.roll(256) as u8).collect();
                (latin1(&bytes), Avro::Bytes(bytes))
            }
            Ty::String => {
                let text = self.text();
                (json!(text), Avro::String(text))
            }
            Ty::Date => {
                let days = self.roll(40_000) as i32 - 10_000;
                let text = crate::text::format_date(i64::from(days)).unwrap();
                (if self.roll(2) == 0 { json!(days) } else { json!(text) }, Avro::Date(days))
            }
            Ty::TimestampMillis => {
                let count = self.roll(4_000_000_000_000) as i64 - 1_000_000_000_000;
                let text =
                    crate::text::format_timestamp(count, crate::text::Unit::Millis, crate::text::Zone::Utc).unwrap();
                (if self.roll(2) == 0 { json!(count) } else { json!(text) }, Avro::TimestampMillis(count))
            }
            Ty::TimestampMicros => {
                let count = self.roll(4_000_000_000_000_000) as i64 - 1_000_000_000_000_000;
                let text =
                    crate::text::format_timestamp(count, crate::text::Unit::Micros, crate::text::Zone::Utc).unwrap();
                (if self.roll(2) == 0 { json!(count) } else { json!(text) }, Avro::TimestampMicros(count))
            }
            Ty::Decimal => {
                let value = self.bits() as i32;
                let mut text = String::new();
                crate::text::write_decimal(i128::from(value), 2, &mut text);
                let (bytes, start) = crate::text::shortest(i128::from(value));
                (json!(text), Avro::Decimal(apache_avro::Decimal::from(&bytes[start..])))
            }
            Ty::Uuid => {
                let (a, b) = (self.bits(), self.bits());
                let text = format!(
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    a as u32,
                    (a >> 32) as u16,
                    (a >> 48) as u16,
                    b as u16,
                    (b >> 16)
                );
                let value = apache_avro::Uuid::parse_str(&text).unwrap();
                (json!(text), Avro::Uuid(value))
            }
            Ty::Enum(_, symbols) => {
                let index = self.roll(u64::from(*symbols)) as u32;
                (json!(format!("S{index}")), Avro::Enum(index, format!("S{index}")))
            }
            Ty::Fixed(_, size) => {
                let bytes: Vec<u8> = (0..*size).map(|_| self.roll(256) as u8).collect();
                (latin1(&bytes), Avro::Fixed(*size, bytes))
            }
            Ty::Array(items) => {
                let (json, avro): (Vec<_>, Vec<_>) = (0..self.roll(4)).map(|_| self.value(items)).unzip();
                (Json::Array(json), Avro::Array(avro))
            }
            Ty::Map(values) => {
                // apache-avro's maps have no order: one entry has but one.
                if self.roll(3) == 0 {
                    return (json!({}), Avro::Map(HashMap::new()));
                }
                let key = self.text();
                let (json, avro) = self.value(values);
                (json!({key.clone(): json}), Avro::Map(HashMap::from([(key, avro)])))
            }
            Ty::Nullable(inner, null_first) => {
                if self.roll(3) == 0 {
                    return (Json::Null, Avro::Union(u32::from(!null_first), Box::new(Avro::Null)));
                }
                let (json, avro) = self.value(inner);
                let json = match (&**inner, self.roll(4)) {
                    (Ty::Int | Ty::Long | Ty::String | Ty::Boolean, 0) => json!({branch_name(inner): json}),
                    _ => json,
                };
                (json, Avro::Union(u32::from(*null_first), Box::new(avro)))
            }
            Ty::Mixed => {
                let (index, ty) = [(0, Ty::Boolean), (1, Ty::String), (2, Ty::Long)][self.roll(3) as usize].clone();
                let (json, avro) = self.value(&ty);
                let json = if self.roll(2) == 0 { json } else { json!({branch_name(&ty): json}) };
                (json, Avro::Union(index, Box::new(avro)))
            }
            Ty::Record(_, fields) => {
                let mut json = serde_json::Map::new();
                let mut avro = Vec::new();
                for (name, ty) in fields {
                    let (a, b) = self.value(ty);
                    // A missing field whose type allows null is null.
                    if !(a.is_null() && self.roll(2) == 0) {
                        json.insert(name.clone(), a);
                    }
                    avro.push((name.clone(), b));
                }
                (Json::Object(json), Avro::Record(avro))
            }
        }
    }

    fn text(&mut self) -> String {
        const LETTERS: [&str; 16] =
            ["a", "B", "0", " ", "\"", "\\", "\n", "\u{1}", "é", "漢", "🦀", "/", "xyz", "longer text", "\t", "\u{7f}"];
        (0..self.roll(12)).map(|_| LETTERS[self.roll(16) as usize]).collect()
    }

    /// The JSON text of a value, its fields in a random order, with spaces at random.
    pub(crate) fn print(&mut self, value: &Json) -> String {
        let space = [" ", "", "", "\t"][self.roll(4) as usize];
        match value {
            Json::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.print(item)).collect();
                format!("[{space}{}{space}]", items.join(","))
            }
            Json::Object(entries) => {
                let mut entries: Vec<(&String, &Json)> = entries.iter().collect();
                for index in (1..entries.len()).rev() {
                    entries.swap(index, self.roll(index as u64 + 1) as usize);
                }
                let entries: Vec<String> = entries
                    .into_iter()
                    .map(|(key, value)| format!("{}{space}:{}", json!(key), self.print(value)))
                    .collect();
                format!("{space}{{{}}}", entries.join(&format!("{space},")))
            }
            other => other.to_string(),
        }
    }
}

fn branch_name(ty: &Ty) -> &'static str {
    match ty {
        Ty::Int => "int",
        Ty::Long => "long",
        Ty::Boolean => "boolean",
        _ => "string",
    }
}

fn latin1(bytes: &[u8]) -> Json {
    json!(bytes.iter().map(|byte| char::from(*byte)).collect::<String>())
}

impl Ty {
    pub(crate) fn schema(&self) -> Json {
        match self {
            Ty::Null => json!("null"),
            Ty::Boolean => json!("boolean"),
            Ty::Int => json!("int"),
            Ty::Long => json!("long"),
            Ty::Float => json!("float"),
            Ty::Double => json!("double"),
            Ty::Bytes => json!("bytes"),
            Ty::String => json!("string"),
            Ty::Date => json!({"type": "int", "logicalType": "date"}),
            Ty::TimestampMillis => json!({"type": "long", "logicalType": "timestamp-millis"}),
            Ty::TimestampMicros => json!({"type": "long", "logicalType": "timestamp-micros"}),
            Ty::Decimal => json!({"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}),
            Ty::Uuid => json!({"type": "string", "logicalType": "uuid"}),
            Ty::Enum(name, symbols) => {
                let symbols: Vec<String> = (0..*symbols).map(|index| format!("S{index}")).collect();
                json!({"type": "enum", "name": name, "symbols": symbols})
            }
            Ty::Fixed(name, size) => json!({"type": "fixed", "name": name, "size": size}),
            Ty::Array(items) => json!({"type": "array", "items": items.schema()}),
            Ty::Map(values) => json!({"type": "map", "values": values.schema()}),
            Ty::Nullable(inner, true) => json!(["null", inner.schema()]),
            Ty::Nullable(inner, false) => json!([inner.schema(), "null"]),
            Ty::Mixed => json!(["boolean", "string", "long"]),
            Ty::Record(name, fields) => {
                let fields: Vec<Json> =
                    fields.iter().map(|(name, ty)| json!({"name": name, "type": ty.schema()})).collect();
                json!({"type": "record", "name": name, "namespace": "org.example", "fields": fields})
            }
        }
    }
}

/// A schema, and records of it: as JSON text and as the binary that apache-avro makes.
pub(crate) fn case(seed: u64, records: usize) -> (crate::Schema, Vec<(String, Vec<u8>)>) {
    let mut dice = Dice::new(seed);
    let ty = dice.record();
    let text = ty.schema().to_string();
    let schema = crate::Schema::parse(&text).unwrap();
    let oracle = apache_avro::Schema::parse_str(&text).unwrap();
    let records = (0..records)
        .map(|_| {
            let (json, avro) = dice.value(&ty);
            (dice.print(&json), apache_avro::to_avro_datum(&oracle, avro).unwrap())
        })
        .collect();
    (schema, records)
}
