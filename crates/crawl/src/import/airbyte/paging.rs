//! Paginators.

use serde_json::{Map, Value};

use super::Import;
use super::jinja::{Access, single, stops_without};
use crate::import::hcl::{Block, Expr};
use crate::import::reader::Reader;

const BY_HAND: &str = "write a `paginator` block by hand";

/// Where a value is put into a request.
struct Injected {
    into: String,
    field: String,
}

impl Import {
    /// Reads how a stream's list goes on into its resource.
    pub(super) fn paginator(&mut self, value: &Value, place: &str, around: &Map<String, Value>, resource: &mut Block) {
        let Some(object) = value.as_object() else { return };
        let parameters = super::parameters(object, around);
        let reader = Reader::new(object, &parameters, place.to_owned());
        reader.ignore(&["type", "$parameters", "$options", "url_base", "decoder"]);
        match object.get("type").and_then(Value::as_str) {
            Some("NoPagination") => resource.set("paginator", Expr::text("single_page")),
            Some("DefaultPaginator" | "LimitPaginator") | None => {
                self.default_paginator(&reader, resource);
            }
            Some(other) => self.out.refuse(place, format!("a paginator of the type `{other}`"), BY_HAND),
        }
        reader.finish(&mut self.out.unsupported);
    }

    fn default_paginator(&mut self, reader: &Reader<'_>, resource: &mut Block) {
        let none = Map::new();
        let size_option = self.option(reader.get("page_size_option"), &reader.at("page_size_option"));
        let token = reader.get("page_token_option");
        let in_path = token.is_some_and(|token| {
            let word = |key: &str| token.get(key).and_then(Value::as_str);
            word("type") == Some("RequestPath") || word("inject_into") == Some("path")
        });
        let token = if in_path { None } else { self.option(token, &reader.at("page_token_option")) };
        let Some(strategy) = reader.get("pagination_strategy").and_then(Value::as_object) else {
            return self.out.refuse(reader.at("pagination_strategy"), "no strategy", BY_HAND);
        };
        let strategy = Reader::new(strategy, &none, reader.at("pagination_strategy"));
        strategy.ignore(&["$parameters", "$options"]);
        let page_size = match strategy.get("page_size") {
            Some(Value::Number(size)) => size.as_u64(),
            Some(Value::String(text)) => match text.parse() {
                Ok(size) => Some(size),
                Err(_) => {
                    self.out.refuse(strategy.at("page_size"), format!("the page size `{text}`"), "write a number");
                    None
                }
            },
            _ => None,
        };
        match strategy.text("type").unwrap_or_default() {
            "CursorPagination" => {
                self.put_size(size_option, page_size, resource);
                self.cursor(&strategy, in_path, token, resource);
            }
            "OffsetIncrement" => self.offset(&strategy, page_size, size_option, token, resource),
            "PageIncrement" => {
                self.put_size(size_option, page_size, resource);
                let mut block = Block::named("paginator", "page_number");
                let first = strategy.get("start_from_page").and_then(Value::as_u64).unwrap_or(0);
                block.set("base_page", Expr::raw(first));
                match token {
                    Some(Injected { into, field }) if into == "request_parameter" => {
                        block.set("page_param", Expr::text(field));
                    }
                    _ => self.out.refuse(reader.at("page_token_option"), "a page that is no parameter", BY_HAND),
                }
                block.set("total_path", Expr::raw("null"));
                // The first page's number is always sent.
                strategy.ignore(&["inject_on_first_request"]);
                resource.blocks.push(block);
            }
            other => {
                let what = format!("a strategy of the type `{other}`");
                self.out.refuse(&strategy.path, what, BY_HAND);
            }
        }
        strategy.finish(&mut self.out.unsupported);
    }

    fn option(&mut self, option: Option<&Value>, place: &str) -> Option<Injected> {
        let option = option?;
        let word = |key: &str| option.get(key).and_then(Value::as_str);
        let path = option.get("field_path").and_then(Value::as_array);
        let path = path.map(|path| path.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("."));
        match (word("inject_into"), word("field_name").map(str::to_owned).or(path)) {
            (Some(into), Some(field)) => Some(Injected { into: into.to_owned(), field }),
            _ => {
                self.out.refuse(place, "an option without `inject_into` and `field_name`", "");
                None
            }
        }
    }

    /// Sends the page's size as a parameter.
    fn put_size(&mut self, option: Option<Injected>, size: Option<u64>, resource: &mut Block) {
        let Some(Injected { into, field }) = option else { return };
        let Some(size) = size else { return };
        match into.as_str() {
            "request_parameter" => resource.set_in("params", &field, Expr::text(size.to_string())),
            "header" => resource.set_in("headers", &field, Expr::text(size.to_string())),
            _ => resource.set_in("body", &field, Expr::raw(size)),
        }
    }

    fn offset(
        &mut self,
        strategy: &Reader<'_>,
        size: Option<u64>,
        size_option: Option<Injected>,
        token: Option<Injected>,
        resource: &mut Block,
    ) {
        let mut block = Block::named("paginator", "offset");
        let limit = size.unwrap_or_else(|| {
            self.out.refuse(strategy.at("page_size"), "no page size", "write how many items a page has as `limit`");
            100
        });
        block.set("limit", Expr::raw(limit));
        for (name, option) in [("offset_param", token), ("limit_param", size_option)] {
            match option {
                Some(Injected { into, field }) if into == "request_parameter" => block.set(name, Expr::text(field)),
                Some(Injected { into, .. }) => {
                    self.out.refuse(strategy.at(name), format!("an offset or a limit in `{into}`"), BY_HAND);
                }
                None => {}
            }
        }
        block.set("total_path", Expr::raw("null"));
        // The first offset is always sent.
        strategy.ignore(&["inject_on_first_request"]);
        resource.blocks.push(block);
    }

    fn cursor(&mut self, strategy: &Reader<'_>, in_path: bool, token: Option<Injected>, resource: &mut Block) {
        strategy.ignore(&["decoder"]);
        let written = strategy.text("cursor_value").unwrap_or_default();
        let stop = strategy.text("stop_condition");
        let Some(access) = single(written).filter(|access| !access.path.is_empty()) else {
            let what = format!("the cursor `{written}`");
            return self.out.refuse(strategy.at("cursor_value"), what, BY_HAND);
        };
        let path = json_path(&access.path);
        let mut block = match (access.root.as_str(), in_path) {
            ("headers", _) if access.path.first().is_some_and(|name| name.eq_ignore_ascii_case("link")) => {
                let rel = access.path.get(1).map_or("next", String::as_str);
                Block::named("paginator", "header_link").with("links_next_key", Expr::text(rel))
            }
            ("response", true) => Block::named("paginator", "json_link").with("next_url_path", Expr::text(&path)),
            ("response", false) => Block::named("paginator", "cursor").with("cursor_path", Expr::text(&path)),
            ("headers", false) => {
                Block::named("paginator", "cursor").with("cursor_header", Expr::text(&access.path[0]))
            }
            _ => {
                let what = format!("the cursor `{written}`");
                return self.out.refuse(strategy.at("cursor_value"), what, BY_HAND);
            }
        };
        if let (false, Some("cursor")) = (in_path, block.label.as_deref()) {
            match token {
                Some(Injected { into, field }) if into == "request_parameter" => {
                    block.set("cursor_param", Expr::text(field));
                }
                Some(Injected { into, field }) if into == "body_json" => {
                    block.set("cursor_body_path", Expr::text(field));
                }
                Some(Injected { into, .. }) => {
                    self.out.refuse(strategy.at("cursor_value"), format!("a cursor that is sent in `{into}`"), BY_HAND);
                }
                None => self.out.refuse(strategy.at("cursor_value"), "a cursor that is not sent", BY_HAND),
            }
        }
        if let Some(stop) = stop {
            self.stop(stop, &strategy.at("stop_condition"), &access, &mut block);
        }
        resource.blocks.push(block);
    }

    /// A list ends where its cursor does; a flag of its own is one that says so.
    fn stop(&mut self, stop: &str, place: &str, cursor: &Access, block: &mut Block) {
        match stops_without(stop) {
            Some(flag) if flag.root == cursor.root && cursor.path.starts_with(&flag.path) => {}
            // However it is said: without the link there is no next page.
            None if cursor.root == "headers" && stop.contains("headers") => {}
            Some(flag) if flag.root == "response" && block.label.as_deref() == Some("cursor") => {
                block.set("has_more_path", Expr::text(json_path(&flag.path)));
            }
            _ => self.out.refuse(
                place,
                format!("the stop condition `{}`", stop.trim()),
                "a list ends where its cursor does",
            ),
        }
    }
}

/// `a.b['c d']`: JSONPath without its root.
pub(super) fn json_path(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        let is_word = step.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !step.starts_with(|first: char| first.is_ascii_digit());
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{step}]"));
        } else if is_word {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(step);
        } else if step == "*" {
            text.push_str("[*]");
        } else {
            text.push_str(&format!("['{}']", step.replace('\\', "\\\\").replace('\'', "\\'")));
        }
    }
    if text.starts_with('[') || text.is_empty() { format!("${text}") } else { text }
}
