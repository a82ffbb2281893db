//! The Parsing Canonical Form.
//!
//! Source: Avro specification 1.11, "Parsing Canonical Form for Schemas". Names and symbols are ASCII here, so that no
//! string needs an escape.

use std::fmt::Write as _;

use super::{Kind, Node, NodeId};

pub(super) fn form(root: NodeId, nodes: &[Node]) -> String {
    let mut form = Form { nodes, written: vec![false; nodes.len()], out: String::new() };
    form.node(root);
    form.out
}

struct Form<'a> {
    nodes: &'a [Node],
    written: Vec<bool>,
    out: String,
}

impl Form<'_> {
    fn node(&mut self, id: NodeId) {
        let nodes = self.nodes;
        let node = &nodes[id.index()];
        if let Some(name) = node.name() {
            let again = std::mem::replace(&mut self.written[id.index()], true);
            self.push(if again { "" } else { "{\"name\":" });
            self.quoted(name.as_str());
            if again {
                return;
            }
            self.push(",\"type\":");
            self.quoted(node.kind.word());
        }
        match &node.kind {
            Kind::Record(record) => {
                self.push(",\"fields\":");
                self.list('[', ']', &record.fields, |form, field| {
                    form.push("{\"name\":");
                    form.quoted(&field.name);
                    form.push(",\"type\":");
                    form.node(field.node);
                    form.push("}");
                });
                self.push("}");
            }
            Kind::Enum(symbols) => {
                self.push(",\"symbols\":");
                self.list('[', ']', &symbols.symbols, |form, symbol| form.quoted(symbol));
                self.push("}");
            }
            Kind::Fixed(fixed) => {
                // Writing to a string can't fail.
                let _ = write!(self.out, ",\"size\":{}}}", fixed.size);
            }
            Kind::Array(items) => {
                self.push("{\"type\":\"array\",\"items\":");
                self.node(*items);
                self.push("}");
            }
            Kind::Map(values) => {
                self.push("{\"type\":\"map\",\"values\":");
                self.node(*values);
                self.push("}");
            }
            Kind::Union(branches) => self.list('[', ']', branches, |form, branch| form.node(*branch)),
            primitive => self.quoted(primitive.word()),
        }
    }

    fn list<T>(&mut self, open: char, close: char, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            each(self, item);
        }
        self.out.push(close);
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        self.out.push_str(text);
        self.out.push('"');
    }
}
