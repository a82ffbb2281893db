//! What goes on of a letter that is redriven, checked as far as it can be before it is decided.

use weir_schema::{Form, Lookup, Schema, wire};
use weir_types::Fingerprint;

use super::action::{Onward, parse_fingerprint};
use super::edit::{Edit, Editor};
use super::letter::FORM;
use super::rows::LetterRow;
use super::way::{NoTarget, Target, Targets, Way};
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// The largest payload of a letter that is redriven, in bytes: more than any record or message has.
const PAYLOAD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Why a letter does not go on.
pub(super) enum Held {
    /// It can't, and stays open; in words.
    Stays(String),
    /// The edit does not fit it; in words.
    Edit(String),
}

fn stays(reason: impl Into<String>) -> Held {
    Held::Stays(reason.into())
}

/// Prepares letters of one call.
pub(super) struct Preparer<'a> {
    catalog: &'a Catalog,
    targets: &'a Targets,
    editor: Option<Editor<'a>>,
}

impl<'a> Preparer<'a> {
    pub fn new(catalog: &'a Catalog, targets: &'a Targets, edit: Option<&'a Edit>) -> Self {
        Self { catalog, targets, editor: edit.map(Editor::new) }
    }

    /// Makes what goes on of a letter.
    pub fn prepare(&mut self, letter: &LetterRow, way: &Way, payload: &[u8]) -> Result<Onward, Held> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let told = format!("its payload has {} bytes, and {PAYLOAD_BYTES_MAX} can be redriven", payload.len());
            return Err(stays(told));
        }
        let target = self.targets.get(way).map_err(|error| match error {
            NoTarget::Gone(told) => stays(told),
            NoTarget::Closed => stays("the node is ending"),
        })?;
        let fingerprint = letter.schema.as_deref().map(parse_fingerprint).transpose().map_err(stays)?;
        let (payload, fingerprint) = match (&target, fingerprint) {
            (Target::Queue(queue), _) => {
                let body = self.body(payload)?;
                let bytes_max = queue.settings().message_bytes_max;
                if body.len() > bytes_max {
                    return Err(stays(format!("its body has {} bytes, and {way} takes {bytes_max}", body.len())));
                }
                (body, None)
            }
            (Target::Given(_), Some(fingerprint)) => (self.record(fingerprint, payload)?, Some(fingerprint)),
            (Target::Stream(stream), Some(fingerprint)) => {
                let schema = self.schema(fingerprint)?;
                refuse_unreadable(stream, &schema)?;
                (self.record(fingerprint, payload)?, Some(fingerprint))
            }
            (Target::Stream(stream), None) => (self.messages(stream, letter, payload)?, None),
            (Target::Given(_), None) => return Err(stays("it has no schema")),
        };
        Ok(Onward {
            target: way.to_string(),
            payload,
            edited: self.editor.is_some(),
            fingerprint,
            headers: letter.headers.clone(),
        })
    }

    fn schema(&self, fingerprint: Fingerprint) -> Result<Schema, Held> {
        self.catalog.by_fingerprint(fingerprint).ok_or_else(|| {
            stays(format!("its schema {fingerprint} is still unknown: register it (POST /v1/schemas/SUBJECT) first"))
        })
    }

    fn record(&mut self, fingerprint: Fingerprint, payload: &[u8]) -> Result<Vec<u8>, Held> {
        let schema = self.schema(fingerprint)?;
        match &mut self.editor {
            Some(editor) => editor.record(&schema, payload).map_err(Held::Edit),
            None => Ok(payload.to_vec()),
        }
    }

    fn body(&self, payload: &[u8]) -> Result<Vec<u8>, Held> {
        match &self.editor {
            Some(editor) => editor.body(payload).map_err(Held::Edit),
            None => Ok(payload.to_vec()),
        }
    }

    /// Takes messages that came to the door apart, and writes them as single objects: the form that names its schema for
    /// good.
    fn messages(&mut self, stream: &OpenStream, letter: &LetterRow, payload: &[u8]) -> Result<Vec<u8>, Held> {
        let form = letter.header(FORM).as_deref().and_then(form_of_name);
        let form = form.ok_or_else(|| stays("it does not say in which form its message came: send it again"))?;
        let mut out = Vec::new();
        let mut rest = payload;
        while !rest.is_empty() {
            let message = wire::decode(form, rest, self.catalog)
                .map_err(|error| stays(format!("its messages do not read yet: {error}")))?;
            refuse_unreadable(stream, &message.schema)?;
            let fingerprint = message.schema.fingerprint();
            let record = match &mut self.editor {
                Some(editor) => editor.record(&message.schema, message.payload).map_err(Held::Edit)?,
                None => message.payload.to_vec(),
            };
            wire::write_single_object(fingerprint, &record, &mut out);
            rest = &rest[message.used..];
        }
        Ok(out)
    }
}

fn refuse_unreadable(stream: &OpenStream, schema: &Schema) -> Result<(), Held> {
    if stream.reads(schema) {
        return Ok(());
    }
    Err(stays(format!(
        "its schema {} can't be read as that of stream `{}`",
        schema.fingerprint(),
        stream.stream.name()
    )))
}

fn form_of_name(name: &str) -> Option<Form> {
    [Form::SingleObject, Form::RegistryId, Form::Md5, Form::Envelope].into_iter().find(|form| form.name() == name)
}
