//! Objects, read attribute by attribute, so that what nobody asked for is named in the end.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Unsupported;

/// An object, its place, and which of its attributes were asked for.
pub(super) struct Reader<'a> {
    object: &'a Map<String, Value>,
    /// What stands in for attributes that the object lacks.
    parameters: &'a Map<String, Value>,
    pub(super) path: String,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, parameters: &'a Map<String, Value>, path: String) -> Self {
        Self { object, parameters, path, used: RefCell::default() }
    }

    /// Returns an attribute that is there, and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.used.borrow_mut().insert(name.to_owned());
        let value = self.object.get(name).filter(|value| !value.is_null());
        value.or_else(|| self.parameters.get(name)).filter(|value| !value.is_null())
    }

    /// Returns an attribute, even if it is null.
    pub(super) fn get_null(&self, name: &str) -> Option<&'a Value> {
        self.used.borrow_mut().insert(name.to_owned());
        self.object.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Returns an attribute that is one text or a list of them.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        texts(self.get(name))
    }

    /// Passes over attributes that mean nothing here.
    pub(super) fn ignore(&self, names: &[&str]) {
        self.used.borrow_mut().extend(names.iter().map(|name| (*name).to_owned()));
    }

    pub(super) fn at(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Names an attribute as not supported if it is there.
    pub(super) fn refuse(&self, name: &str, what: &str, hint: &str, unsupported: &mut Vec<Unsupported>) {
        if self.get(name).is_some() {
            unsupported.push(Unsupported { path: self.at(name), what: what.to_owned(), hint: hinted(hint) });
        }
    }

    /// Names all that nobody asked for.
    pub(super) fn finish(self, unsupported: &mut Vec<Unsupported>) {
        let used = self.used.into_inner();
        for name in self.object.keys().filter(|name| !used.contains(*name)) {
            unsupported.push(Unsupported {
                path: join(&self.path, name),
                what: "is not known here".to_owned(),
                hint: None,
            });
        }
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

pub(super) fn hinted(hint: &str) -> Option<String> {
    (!hint.is_empty()).then(|| hint.to_owned())
}

/// Returns one text, or the texts of a list and of the lists in it.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().flat_map(|item| texts(Some(item))).collect(),
        Some(Value::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}
