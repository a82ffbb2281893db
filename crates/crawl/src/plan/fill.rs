//! Values for placeholders, and texts that they are filled in.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::resource::{Body, Compiled};
use super::{Plan, RequestError};
use crate::template::{Part, Slot, Template, text_of};
use crate::{RunValues, Task};

/// All but RFC 3986's unreserved characters: what is left can't end a segment, a query or a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a task keeps from where it asks, among its values; no resource has such a name.
const START: &str = "$start";

/// Lets a task keep from where it asks. Without it, one that is redriven in a later run would ask from where that one
/// does, and what it was to bring would be lost.
pub(super) fn keep_start(resource: &Compiled, task: &mut Task, run: &RunValues) {
    if resource.cursor.is_some() {
        let start = start_of(resource, task, run).unwrap_or(Value::Null);
        task.values.insert(START.to_owned(), start);
    }
}

/// Returns from where a task asks.
pub(super) fn start_of(resource: &Compiled, task: &Task, run: &RunValues) -> Option<Value> {
    let cursor = resource.cursor.as_ref()?;
    match task.values.get(START) {
        Some(Value::Null) => None,
        Some(kept) => Some(kept.clone()),
        None => cursor.start(run.start(&resource.name, &task.tenant)),
    }
}

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Param,
    Header,
    Body,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Path => "the path",
            Self::Param => "a parameter",
            Self::Header => "a header",
            Self::Body => "the body",
        }
    }
}

/// A task's values.
#[derive(Clone, Copy)]
pub(super) struct Filler<'a> {
    pub(super) plan: &'a Plan,
    pub(super) resource: &'a Compiled,
    pub(super) task: &'a Task,
    pub(super) run: &'a RunValues,
}

impl<'a> Filler<'a> {
    /// Returns from where the task asks, if its resource is incremental and has a beginning.
    pub(super) fn start(&self) -> Option<Value> {
        start_of(self.resource, self.task, self.run)
    }

    /// Returns where the run ends.
    pub(super) fn end(&self) -> Option<Value> {
        self.resource.cursor.as_ref()?.end(self.run.started)
    }

    fn value(&self, slot: &'a Slot) -> Option<Cow<'a, Value>> {
        match slot {
            Slot::Field(field) => self.task.values.get(&field.key).map(Cow::Borrowed),
            Slot::Tenant(name) if name == "name" => Some(Cow::Owned(Value::from(self.task.tenant.as_str()))),
            Slot::Tenant(name) => {
                let (_, values) = self.plan.tenants.iter().find(|(tenant, _)| *tenant == self.task.tenant)?;
                values.get(name).map(|value| Cow::Owned(Value::from(value.as_str())))
            }
            Slot::Param(name) => {
                let value = self.run.params.get(name).or_else(|| self.plan.params.get(name))?;
                Some(Cow::Owned(Value::from(value.as_str())))
            }
            Slot::Start => self.start().map(Cow::Owned),
            Slot::End => self.end().map(Cow::Owned),
        }
    }

    /// Whether a template asks for where the run begins, and it begins at no place in particular.
    pub(super) fn has_no_start(&self, template: &Template) -> bool {
        template.slots().any(|slot| matches!(slot, Slot::Start)) && self.start().is_none()
    }

    /// Fills a text in.
    ///
    /// # Errors
    /// A value that isn't there, or has no text, or doesn't fit the place.
    pub(super) fn text(&self, template: &'a Template, place: Place) -> Result<String, RequestError> {
        let mut filled = String::new();
        for part in &template.parts {
            let slot = match part {
                Part::Text(text) => {
                    filled.push_str(text);
                    continue;
                }
                Part::Slot(slot) => slot,
            };
            let bad = |problem: String| {
                let placeholder = slot.name().into_owned();
                RequestError::BadValue { placeholder, place: place.name(), problem }
            };
            let no_value = || RequestError::NoValue { placeholder: slot.name().into_owned() };
            let value = self.value(slot).ok_or_else(no_value)?;
            let text = text_of(&value).map_err(|problem| bad(problem.to_string()))?;
            match place {
                Place::Path if text.is_empty() => return Err(bad("is empty: that would be another path".to_owned())),
                Place::Path => filled.extend(utf8_percent_encode(&text, ENCODED)),
                Place::Header if !text.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte)) => {
                    return Err(bad("has characters that a header can't hold".to_owned()));
                }
                Place::Header | Place::Param | Place::Body => filled.push_str(&text),
            }
        }
        Ok(filled)
    }

    /// Fills a body in. A text that is one placeholder becomes the value itself, whatever its type.
    ///
    /// # Errors
    /// A value that isn't there, or has no text where it is a part of one.
    pub(super) fn body(&self, body: &'a Body) -> Result<Value, RequestError> {
        Ok(match body {
            Body::Plain(value) => value.clone(),
            Body::Text(template) => match template.whole() {
                Some(slot) => {
                    let no_value = || RequestError::NoValue { placeholder: slot.name().into_owned() };
                    self.value(slot).ok_or_else(no_value)?.into_owned()
                }
                None => Value::from(self.text(template, Place::Body)?),
            },
            Body::List(list) => Value::Array(list.iter().map(|each| self.body(each)).collect::<Result<_, _>>()?),
            Body::Object(map) => {
                let filled = map.iter().map(|(key, value)| Ok((key.clone(), self.body(value)?)));
                Value::Object(filled.collect::<Result<Map<_, _>, RequestError>>()?)
            }
        })
    }
}
