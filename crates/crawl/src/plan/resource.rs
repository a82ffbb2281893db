//! A resource, compiled.

use serde_json::Value;

use super::Output;
use crate::Method;
use crate::incremental::Cursor;
use crate::page::Pager;
use crate::path::Path;
use crate::select::Selector;
use crate::spec::ResponseAction;
use crate::template::{Field, Part, Slot, Template};

#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) name: String,
    pub(super) parent: Option<usize>,
    pub(super) method: Method,
    pub(super) path: PathTemplate,
    pub(super) params: Vec<(String, Template)>,
    pub(super) headers: Vec<(String, Template)>,
    pub(super) body: Option<Body>,
    pub(super) selector: Selector,
    pub(super) pager: Pager,
    /// Fields that items get, and their names among the task's values.
    pub(super) include: Vec<(String, String)>,
    pub(super) cursor: Option<Cursor>,
    pub(super) actions: Vec<ResponseAction>,
    pub(super) attempts: u32,
    pub(super) pages_max: u64,
    pub(super) children: Vec<Child>,
    pub(super) output: Output,
}

/// What a task of a resource below is made with.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) resource: usize,
    pub(super) values: Vec<Carried>,
}

/// A value that goes from an item, or from its task, into a task below.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    /// Its name among a task's values.
    pub(super) key: String,
    pub(super) from: Source,
    pub(super) need: Need,
}

#[derive(Debug, Clone)]
pub(super) enum Source {
    Item(Path),
    Task,
}

/// What a value is for; the larger demands more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It may be missing: it goes into items, or further down.
    Optional,
    /// It is put into a body, as it is.
    Any,
    /// It is put into a text.
    Text,
    /// It is put into a path, where nothing would be another path.
    Segment,
}

/// A path's text, cut at its slashes: values can't add any.
#[derive(Debug, Clone, Default)]
pub(super) struct PathTemplate {
    pub(super) segments: Vec<Template>,
    /// What stands behind a question mark.
    pub(super) query: Vec<(String, Template)>,
    /// The whole path is one field: it may be a link below the base URL.
    pub(super) link: Option<Field>,
}

/// A JSON body with templates in its texts.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Plain(Value),
    Text(Template),
    List(Vec<Body>),
    Object(Vec<(String, Body)>),
}

impl PathTemplate {
    /// Cuts a path's text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let template = Template::parse(text, crate::template::Braces::Refused)?;
        let link = match template.whole() {
            Some(Slot::Field(field)) => Some(field.clone()),
            _ => None,
        };
        let mut cut = Self { segments: vec![Template::default()], query: Vec::new(), link };
        let mut parts = template.parts.into_iter();
        for part in parts.by_ref() {
            let Part::Text(text) = part else {
                push(&mut cut.segments, part);
                continue;
            };
            refuse(&text)?;
            let (path, query) = text.split_once('?').map_or((text.as_str(), None), |(path, query)| (path, Some(query)));
            for (at, piece) in path.split('/').enumerate() {
                if at > 0 {
                    cut.segments.push(Template::default());
                }
                if !piece.is_empty() {
                    push(&mut cut.segments, Part::Text(piece.to_owned()));
                }
            }
            if let Some(query) = query {
                let rest: Vec<Part> = std::iter::once(Part::Text(query.to_owned())).chain(parts).collect();
                cut.query = pairs(rest)?;
                break;
            }
        }
        if cut.segments.len() > 1 && cut.segments[0].parts.is_empty() {
            cut.segments.remove(0);
        }
        let dots = |segment: &&Template| matches!(segment.parts.as_slice(), [Part::Text(text)] if is_dots(text));
        if cut.segments.iter().find(dots).is_some() {
            return Err(format!("`{text}` has `.` or `..` as a part of it; write the path that is meant"));
        }
        Ok(cut)
    }

    /// Returns all placeholders.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.segments.iter().flat_map(Template::slots)
    }
}

/// Whether a segment is one that URLs are shortened by.
pub(super) fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

fn refuse(text: &str) -> Result<(), String> {
    if text.contains('#') {
        return Err(format!("`{text}` has a `#`, and what is behind it would not be sent; write `%23`"));
    }
    if text.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "`{text}` has a space, a backslash or a control character; write them as `%20` and the like"
        ));
    }
    Ok(())
}

fn push(segments: &mut [Template], part: Part) {
    if let Some(last) = segments.last_mut() {
        last.parts.push(part);
    }
}

/// Cuts `a=1&b={params.b}`.
fn pairs(parts: Vec<Part>) -> Result<Vec<(String, Template)>, String> {
    let mut pairs: Vec<(String, Template)> = Vec::new();
    // Whether the next text still is a name.
    let mut name: Option<String> = Some(String::new());
    for part in parts {
        match (part, &mut name) {
            (Part::Text(text), _) => {
                refuse(&text)?;
                for (at, piece) in text.split('&').enumerate() {
                    if at > 0 {
                        close(&mut pairs, name.replace(String::new()));
                    }
                    let value = match &mut name {
                        Some(open) => match piece.split_once('=') {
                            Some((rest, value)) => {
                                open.push_str(rest);
                                pairs.push((decoded(open), Template::default()));
                                name = None;
                                value
                            }
                            None => {
                                open.push_str(piece);
                                continue;
                            }
                        },
                        None => piece,
                    };
                    if !value.is_empty()
                        && let Some((_, last)) = pairs.last_mut()
                    {
                        last.parts.push(Part::Text(decoded(value)));
                    }
                }
            }
            (slot, None) => {
                if let Some((_, last)) = pairs.last_mut() {
                    last.parts.push(slot);
                }
            }
            (Part::Slot(slot), Some(_)) => {
                return Err(format!("`{{{}}}` stands where a parameter's name should", slot.name()));
            }
        }
    }
    close(&mut pairs, name);
    Ok(pairs)
}

/// A name without a value is one with an empty value.
fn close(pairs: &mut Vec<(String, Template)>, name: Option<String>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        pairs.push((decoded(&name), Template::default()));
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

impl Body {
    /// Compiles a body.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let braces = crate::template::Braces::Kept;
        Ok(match value {
            Value::String(text) => {
                let template = Template::parse(text, braces)?;
                if template.slots().next().is_none() { Self::Plain(literal(&template)) } else { Self::Text(template) }
            }
            Value::Array(list) => Self::List(list.iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Object(map) => Self::Object(
                map.iter()
                    .map(|(key, value)| match Template::parse(key, braces)?.slots().next() {
                        None => Ok((key.clone(), Self::parse(value)?)),
                        Some(slot) => Err(format!("`{{{}}}` stands in a key; only values are filled in", slot.name())),
                    })
                    .collect::<Result<_, String>>()?,
            ),
            other => Self::Plain(other.clone()),
        })
    }

    /// Returns all placeholders: those that are a whole text, and those in texts.
    pub(super) fn slots(&self) -> Vec<(&Slot, Need)> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Text(template) => match template.whole() {
                Some(slot) => vec![(slot, Need::Any)],
                None => template.slots().map(|slot| (slot, Need::Text)).collect(),
            },
            Self::List(list) => list.iter().flat_map(Self::slots).collect(),
            Self::Object(map) => map.iter().flat_map(|(_, value)| value.slots()).collect(),
        }
    }
}

fn literal(template: &Template) -> Value {
    let text = |part: &Part| if let Part::Text(text) = part { text.clone() } else { String::new() };
    Value::from(template.parts.iter().map(text).collect::<String>())
}
