//! One resource's words, by themselves: templates, selector, paginator, cursor.

use std::collections::HashMap;

use weir_types::nearest;

use super::below::need;
use super::{Errors, like};
use crate::incremental::Cursor;
use crate::page::Pager;
use crate::path::Path;
use crate::plan::Output;
use crate::plan::resource::{Body, Compiled, Need, PathTemplate};
use crate::plan::tree::Needs;
use crate::select::Selector;
use crate::spec::{Client, Crawl, Paginator, Resource, WriteDisposition};
use crate::template::{Braces, Slot, Template};

/// Headers that a resource can't set.
const RESERVED: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade"];

/// One resource's words, being compiled.
pub(super) struct At<'a> {
    pub(super) spec: &'a Resource,
    pub(super) crawl: &'a Crawl,
    pub(super) by_name: &'a HashMap<String, usize>,
    pub(super) needs: Needs,
    pub(super) errors: &'a mut Errors,
}

impl At<'_> {
    fn error(&mut self, attribute: &'static str, problem: String, hint: Option<&str>) {
        self.errors.resource(&self.spec.name, attribute, problem, hint.map(str::to_owned));
    }

    pub(super) fn resource(&mut self, client: &Client) -> Option<Compiled> {
        let spec = self.spec;
        self.limits();
        self.keys();
        let path = self.path();
        let params = self.templates("params", &spec.params);
        let headers = self.headers();
        let body = self.body();
        let selector = self.selector(path.as_ref());
        let pager = self.pager(path.as_ref(), client);
        let cursor = self.incremental(path.as_ref(), &params, &headers, body.as_ref());
        let output = Output {
            resource: spec.name.clone(),
            primary_key: spec.primary_key.clone(),
            write_disposition: spec.write_disposition,
            from_parent: Vec::new(),
            cursor: cursor.as_ref().map(|cursor| cursor.path.text().to_owned()),
        };
        Some(Compiled {
            name: spec.name.clone(),
            parent: None,
            method: spec.method,
            path: path?,
            params,
            headers,
            body,
            selector: selector?,
            pager: pager?,
            include: Vec::new(),
            cursor,
            actions: spec.response_actions.clone(),
            attempts: spec.attempts,
            pages_max: spec.pages_max,
            children: Vec::new(),
            output,
        })
    }

    fn limits(&mut self) {
        if self.spec.attempts == 0 {
            self.error("attempts", "is 0: no task would be called".to_owned(), Some("use 1 or more"));
        }
        if self.spec.pages_max == 0 {
            self.error("pages_max", "is 0: no page would be called".to_owned(), Some("use 1 or more"));
        }
        for action in &self.spec.response_actions {
            if action.status_code.is_none() && action.content.as_deref().is_none_or(str::is_empty) {
                let hint = "say `status_code`, `content`, or both";
                self.error("response_action", "one of them would fit all answers".to_owned(), Some(hint));
            }
        }
    }

    fn keys(&mut self) {
        let spec = self.spec;
        if spec.primary_key.iter().any(String::is_empty) {
            self.error("primary_key", "has an empty name".to_owned(), Some("name fields of the items"));
        }
        if spec.write_disposition == WriteDisposition::Merge && spec.primary_key.is_empty() {
            let hint = "add `primary_key = [\"FIELD\"]`: rows that have it in common replace each other";
            self.error("write_disposition", "`merge` needs a primary key".to_owned(), Some(hint));
        }
        if spec.write_disposition == WriteDisposition::Replace && spec.incremental.is_some() {
            let hint = "use `merge` or `append`: with `replace`, all that is not new would be gone after each run";
            self.error("write_disposition", "`replace` does not go with `incremental`".to_owned(), Some(hint));
        }
    }

    fn path(&mut self) -> Option<PathTemplate> {
        let text = &self.spec.path;
        if text.starts_with("http://") || text.starts_with("https://") || text.starts_with("//") {
            let hint = "write what is behind the api's `base_url`; another host is another `api`";
            self.error("path", format!("`{text}` is a whole URL"), Some(hint));
            return None;
        }
        let path = match PathTemplate::parse(text) {
            Ok(path) => path,
            Err(problem) => {
                self.error("path", problem, None);
                return None;
            }
        };
        let slots: Vec<Slot> = path.slots().cloned().collect();
        self.slots("path", &slots, Need::Segment);
        let slots: Vec<Slot> = path.query.iter().flat_map(|(_, template)| template.slots().cloned()).collect();
        self.slots("path", &slots, Need::Text);
        Some(path)
    }

    fn templates(&mut self, attribute: &'static str, pairs: &[(String, String)]) -> Vec<(String, Template)> {
        let mut compiled = Vec::new();
        for (name, text) in pairs {
            match Template::parse(text, Braces::Refused) {
                Ok(template) => {
                    let slots: Vec<Slot> = template.slots().cloned().collect();
                    self.slots(attribute, &slots, Need::Text);
                    compiled.push((name.clone(), template));
                }
                Err(problem) => self.error(attribute, format!("`{name}`: {problem}"), None),
            }
        }
        compiled
    }

    fn headers(&mut self) -> Vec<(String, Template)> {
        let spec = self.spec;
        for (name, text) in &spec.headers {
            let lower = name.to_ascii_lowercase();
            if !is_token(name) {
                self.error("headers", format!("`{name}` is no header's name"), None);
            } else if lower == "authorization" || lower == "cookie" {
                let hint = "use the api's `auth`, or its `headers` with `secret(NAME)`";
                self.error("headers", format!("`{name}` shows who calls, and is the api's"), Some(hint));
            } else if RESERVED.contains(&lower.as_str()) {
                self.error("headers", format!("`{name}` is set by the connection"), Some("leave it out"));
            }
            if text.contains(|c: char| c.is_control() && c != '\t') {
                self.error("headers", format!("`{name}` has a control character in its value"), None);
            }
        }
        self.templates("headers", &spec.headers)
    }

    fn body(&mut self) -> Option<Body> {
        let body = match Body::parse(self.spec.body.as_ref()?) {
            Ok(body) => body,
            Err(problem) => {
                self.error("body", problem, None);
                return None;
            }
        };
        let slots: Vec<(Slot, Need)> = body.slots().into_iter().map(|(slot, need)| (slot.clone(), need)).collect();
        for (slot, need) in slots {
            self.slots("body", &[slot], need);
        }
        Some(body)
    }

    /// Checks placeholders, and notes the fields that they need.
    fn slots(&mut self, attribute: &'static str, slots: &[Slot], wanted: Need) {
        for slot in slots {
            let written = format!("`{{{}}}`", slot.name());
            match slot {
                Slot::Field(field) => match self.by_name.get(&field.resource) {
                    Some(at) => need(&mut self.needs, field, *at, wanted),
                    None => {
                        let hint = like(&field.resource, self.by_name);
                        self.error(
                            attribute,
                            format!("{written}: there is no resource `{}`", field.resource),
                            Some(&hint),
                        );
                    }
                },
                Slot::Param(name) if !self.crawl.params.iter().any(|(known, _)| known == name) => {
                    let known = nearest(name, self.crawl.params.iter().map(|(known, _)| known.as_str()));
                    let hint = match known {
                        Some(known) => format!("did you mean `{{params.{known}}}`?"),
                        None => format!("add `params = {{ {name} = \"...\" }}` to the crawl"),
                    };
                    self.error(attribute, format!("{written}: the crawl has no such parameter"), Some(&hint));
                }
                Slot::Start | Slot::End if self.spec.incremental.is_none() => {
                    let hint = "add `incremental { cursor_path = \"FIELD\"  initial_value = ... }`";
                    self.error(attribute, format!("{written}: the resource is not incremental"), Some(hint));
                }
                Slot::Param(_) | Slot::Tenant(_) | Slot::Start | Slot::End => {}
            }
        }
    }

    fn selector(&mut self, path: Option<&PathTemplate>) -> Option<Selector> {
        match &self.spec.data_selector {
            Some(text) => match Path::parse(text) {
                Ok(path) => Some(Selector::Path(path)),
                Err(problem) => {
                    let hint = "write JSONPath, such as `items` or `$.data.rows[*]`";
                    self.error("data_selector", format!("`{text}` {problem}"), Some(hint));
                    None
                }
            },
            None => Some(if path.is_some_and(is_single) { Selector::Whole } else { Selector::Find }),
        }
    }

    fn pager(&mut self, path: Option<&PathTemplate>, client: &Client) -> Option<Pager> {
        let spec = match &self.spec.paginator {
            Some(paginator) => paginator,
            None if path.is_some_and(is_single) => &Paginator::SinglePage,
            None => client.paginator.as_ref().unwrap_or(&Paginator::Auto),
        };
        match Pager::compile(spec) {
            Ok(pager) => Some(pager),
            Err(problem) => {
                self.error("paginator", problem, None);
                None
            }
        }
    }

    fn incremental(
        &mut self,
        path: Option<&PathTemplate>,
        params: &[(String, Template)],
        headers: &[(String, Template)],
        body: Option<&Body>,
    ) -> Option<Cursor> {
        let spec = self.spec.incremental.as_ref()?;
        let in_path =
            path.into_iter().flat_map(|path| path.slots().chain(path.query.iter().flat_map(|(_, t)| t.slots())));
        let in_pairs = params.iter().chain(headers).flat_map(|(_, template)| template.slots());
        let in_body = body.into_iter().flat_map(Body::slots).map(|(slot, _)| slot);
        let slots: Vec<&Slot> = in_path.chain(in_pairs).chain(in_body).collect();
        let ends = slots.iter().any(|slot| matches!(slot, Slot::End));
        let starts = slots.iter().any(|slot| matches!(slot, Slot::Start));
        if !starts && spec.start_param.is_none() && !spec.drop_old {
            let hint = "say `start_param`, use `{incremental.start_value}`, or let `drop_old = true`";
            self.error("incremental", "the vendor is never told where to begin".to_owned(), Some(hint));
        }
        match Cursor::compile(spec, ends) {
            Ok(cursor) => Some(cursor),
            Err(problem) => {
                self.error("incremental", problem, None);
                None
            }
        }
    }
}

impl Compiled {
    /// Returns all placeholders.
    pub(super) fn slots(&self) -> impl Iterator<Item = (&Slot, Need)> {
        let path = self.path.slots().map(|slot| (slot, Need::Segment));
        let texts = self.path.query.iter().chain(&self.params).chain(&self.headers);
        let texts = texts.flat_map(|(_, template)| template.slots()).map(|slot| (slot, Need::Text));
        path.chain(texts).chain(self.body.iter().flat_map(Body::slots))
    }
}

/// Whether a path ends in a placeholder: then the answer is one object, as dlt has it.
fn is_single(path: &PathTemplate) -> bool {
    let last = path.segments.iter().rev().find(|segment| !segment.parts.is_empty());
    last.is_some_and(|segment| segment.slots().any(|slot| matches!(slot, Slot::Field(_))))
}

/// Whether a text is a header's name, RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
