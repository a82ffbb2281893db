//! Defaults, as JSON in a schema, encoded once as the binary of their type.
//!
//! A union's default belongs to the first branch that it fits (Avro 1.12; 1.11 allows only the first branch). Bytes and
//! fixed are text whose code points 0 to 255 are the bytes.

use serde_json::Value;
use weir_types::limits::{NESTING_MAX, RECORD_BYTES_MAX};

use super::{Kind, Node, NodeId};
use crate::binary::{write_bytes, write_long};

/// Values that one default may hold: records whose fields default to records could double at every level.
const VALUES_MAX: usize = 100_000;

/// JSON of the defaults that are not encoded yet, by record and field.
pub(super) type Pending = Vec<(NodeId, usize, Value)>;

pub(super) struct Encoder<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) pending: &'a Pending,
    pub(super) values: usize,
}

impl Encoder<'_> {
    pub(super) fn encode(&mut self, value: &Value, id: NodeId, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
        self.values += 1;
        if depth > NESTING_MAX || self.values > VALUES_MAX || out.len() > RECORD_BYTES_MAX {
            return Err("the default is too large or holds itself".to_owned());
        }
        let nodes = self.nodes;
        let node = &nodes[id.index()];
        let misfit = || format!("the default {} is no {}", shorten(value), node.kind.word());
        match &node.kind {
            Kind::Null => value.is_null().then_some(()).ok_or_else(misfit)?,
            Kind::Boolean => out.push(u8::from(value.as_bool().ok_or_else(misfit)?)),
            Kind::Int => {
                let number = value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(misfit)?;
                write_long(i64::from(number), out);
            }
            Kind::Long => write_long(value.as_i64().ok_or_else(misfit)?, out),
            Kind::Float => out.extend((value.as_f64().ok_or_else(misfit)? as f32).to_le_bytes()),
            Kind::Double => out.extend(value.as_f64().ok_or_else(misfit)?.to_le_bytes()),
            Kind::Bytes => write_bytes(&latin1(value).ok_or_else(misfit)?, out),
            Kind::String => write_bytes(value.as_str().ok_or_else(misfit)?.as_bytes(), out),
            Kind::Fixed(fixed) => {
                let bytes = latin1(value).ok_or_else(misfit)?;
                if bytes.len() != fixed.size {
                    return Err(format!("the default has {} bytes, and the fixed has {}", bytes.len(), fixed.size));
                }
                out.extend(bytes);
            }
            Kind::Enum(symbols) => {
                let text = value.as_str().ok_or_else(misfit)?;
                let index = symbols.symbols.iter().position(|symbol| symbol == text);
                write_long(index.ok_or_else(|| format!("the default `{text}` is none of the symbols"))? as i64, out);
            }
            Kind::Array(items) => {
                let values = value.as_array().ok_or_else(misfit)?;
                block(values.len(), out);
                for value in values {
                    self.encode(value, *items, depth + 1, out)?;
                }
                write_long(0, out);
            }
            Kind::Map(values) => {
                let entries = value.as_object().ok_or_else(misfit)?;
                block(entries.len(), out);
                for (key, value) in entries {
                    write_bytes(key.as_bytes(), out);
                    self.encode(value, *values, depth + 1, out)?;
                }
                write_long(0, out);
            }
            Kind::Record(record) => {
                let entries = value.as_object().ok_or_else(misfit)?;
                let pending = self.pending;
                for (index, field) in record.fields.iter().enumerate() {
                    let of_field =
                        || pending.iter().find(|(node, at, _)| *node == id && *at == index).map(|(_, _, v)| v);
                    let value = entries.get(&field.name).or_else(of_field);
                    let value =
                        value.ok_or_else(|| format!("the default has no value for the field `{}`", field.name))?;
                    self.encode(value, field.node, depth + 1, out)?;
                }
            }
            Kind::Union(branches) => {
                let start = out.len();
                for (index, branch) in branches.iter().enumerate() {
                    write_long(index as i64, out);
                    match self.encode(value, *branch, depth + 1, out) {
                        Ok(()) => return Ok(()),
                        // One branch: its own reason says more than ours.
                        Err(reason) if branches.len() == 1 => return Err(reason),
                        Err(_) => out.truncate(start),
                    }
                }
                return Err(format!("the default {} fits no branch of the union", shorten(value)));
            }
        }
        Ok(())
    }
}

fn block(items: usize, out: &mut Vec<u8>) {
    if items > 0 {
        write_long(items as i64, out);
    }
}

fn latin1(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

fn shorten(value: &Value) -> String {
    const LETTERS_MAX: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}
