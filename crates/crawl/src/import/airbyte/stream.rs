//! Streams: what is called, which part of the answer is data, and what becomes of other answers.

use serde_json::{Map, Value};

use super::paging::json_path;
use super::{Import, Scope};
use crate::import::hcl::{Block, Expr, Piece};
use crate::import::out::{Resource, absolute, legal, parents};
use crate::import::reader::{Reader, join};

const IN_CODE: &str = "write it as SQL of a function behind the table's stream";

impl Import {
    /// Reads a stream, once, and its parents before it. Those that are `listed` have a table.
    pub(super) fn stream(&mut self, value: &Value, listed: &[&str], around: &Map<String, Value>) {
        let Some(object) = value.as_object() else {
            return self.out.refuse("streams[*]", "a stream that is no component", "");
        };
        let Some(written) = super::name_of(value) else {
            return self.out.refuse("streams[*]", "a stream without a name", "");
        };
        // A circle of parents ends here as well.
        if self.done.insert(written.to_owned(), ()).is_some() {
            return;
        }
        let parameters = super::parameters(object, around);
        let place = format!("streams.{written}");
        let stream = Reader::new(object, &parameters, place.clone());
        stream.ignore(&["type", "name", "$parameters", "$options"]);
        if stream.get("schema_loader").is_some() {
            self.schemas += 1;
        }
        let name = legal(written);
        let mut block = Block::named("resource", &name);
        let mut scope = Scope::default();
        let Some(retriever) = stream.get("retriever").and_then(Value::as_object) else {
            return self.out.refuse(stream.at("retriever"), "a stream without a retriever", "");
        };
        let kind = retriever.get("type").and_then(Value::as_str).unwrap_or("SimpleRetriever");
        if kind != "SimpleRetriever" {
            return self.out.refuse(
                stream.at("retriever"),
                format!("a retriever of the type `{kind}`"),
                "write the resource by hand",
            );
        }
        let inner = super::parameters(retriever, &parameters);
        let retriever = Reader::new(retriever, &inner, stream.at("retriever"));
        for router in ["partition_router", "stream_slicer"] {
            if let Some(value) = retriever.get(router) {
                self.router(value, &retriever.at(router), listed, &inner, &mut scope, &mut block);
            }
        }
        let incremental = stream.get("incremental_sync");
        let incremental = incremental
            .and_then(|value| self.incremental(value, &stream.at("incremental_sync"), &parameters, &scope, &mut block));
        self.retriever(&retriever, &inner, &scope, &mut block);
        block.blocks.extend(incremental);
        self.keys(&stream, &mut block);
        self.transformations(&stream, &scope, &mut block);
        let unsupported = &mut self.out.unsupported;
        stream.ignore(&["stream_cursor_field", "state_migrations"]);
        stream.refuse("file_uploader", "files", "", unsupported);
        retriever.finish(unsupported);
        stream.finish(unsupported);
        let mut above = Vec::new();
        block.attributes.iter().for_each(|(_, value)| parents(value, &mut above));
        let table = listed.contains(&written).then(|| name.clone());
        self.out.resources.push(Resource { name, block, table, parents: above, place });
    }

    fn retriever(&mut self, retriever: &Reader<'_>, around: &Map<String, Value>, scope: &Scope, block: &mut Block) {
        retriever.ignore(&[
            "type",
            "$parameters",
            "$options",
            "primary_key",
            "name",
            "ignore_stream_slicer_parameters_on_paginated_requests",
        ]);
        match retriever.get("requester").and_then(Value::as_object) {
            Some(requester) => self.requester(requester, &retriever.at("requester"), around, scope, block),
            None => self.out.refuse(retriever.at("requester"), "a stream without a requester", ""),
        }
        if let Some(selector) = retriever.get("record_selector").and_then(Value::as_object) {
            self.selector(selector, &retriever.at("record_selector"), around, scope, block);
        }
        match retriever.get("paginator") {
            Some(paginator) => self.paginator(paginator, &retriever.at("paginator"), around, block),
            None => block.set("paginator", Expr::text("single_page")),
        }
        let decoder = retriever.get("decoder").and_then(|decoder| decoder.get("type")).and_then(Value::as_str);
        if let Some(other) = decoder.filter(|kind| *kind != "JsonDecoder") {
            self.out.refuse(retriever.at("decoder"), format!("answers by `{other}`"), "answers are JSON");
        }
    }

    fn requester(
        &mut self,
        object: &Map<String, Value>,
        place: &str,
        around: &Map<String, Value>,
        scope: &Scope,
        block: &mut Block,
    ) {
        let kind = object.get("type").and_then(Value::as_str).unwrap_or("HttpRequester");
        if kind != "HttpRequester" {
            return self.out.refuse(place, format!("a requester of the type `{kind}`"), "write the resource by hand");
        }
        let parameters = super::parameters(object, around);
        let requester = Reader::new(object, &parameters, place.to_owned());
        requester.ignore(&["type", "$parameters", "$options", "name", "use_cache", "primary_key"]);
        // Newer manifests have one address, older ones two parts.
        let (base, path) = match (requester.text("url_base"), requester.text("url")) {
            (Some(base), _) => (base, requester.text("path").unwrap_or_default()),
            (None, Some(url)) => (url, requester.text("path").unwrap_or_default()),
            (None, None) => ("", ""),
        };
        self.address(base, path, &requester, scope, &parameters, block);
        let method = requester.get("http_method").map(|method| match method {
            Value::Object(method) => method.get("type").and_then(Value::as_str).unwrap_or("GET").to_uppercase(),
            other => other.as_str().unwrap_or("GET").to_uppercase(),
        });
        if let Some(method) = method.filter(|method| method != "GET") {
            block.set("method", Expr::text(method));
        }
        if let Some(authenticator) = requester.get("authenticator") {
            self.authenticator(authenticator, &requester.at("authenticator"), &parameters);
        }
        self.options(&requester, scope, &parameters, block);
        if let Some(provider) = requester.get("request_options_provider").and_then(Value::as_object) {
            let provider = Reader::new(provider, &parameters, requester.at("request_options_provider"));
            provider.ignore(&["type", "$parameters", "$options"]);
            self.options(&provider, scope, &parameters, block);
            provider.finish(&mut self.out.unsupported);
        }
        if let Some(handler) = requester.get("error_handler") {
            self.errors(handler, &requester.at("error_handler"), block);
        }
        requester.finish(&mut self.out.unsupported);
    }

    /// Puts the first base into the `api`; behind others, paths are whole addresses for now.
    fn address(
        &mut self,
        base: &str,
        path: &str,
        requester: &Reader<'_>,
        scope: &Scope,
        parameters: &Map<String, Value>,
        block: &mut Block,
    ) {
        let base = base.trim_end_matches('/');
        let path = path.trim_start_matches('/');
        if self.base.is_none() {
            self.base = Some(base.to_owned());
            let url = self.text(base, &requester.at("url_base"), &Scope::default(), parameters).expr;
            self.out.api.attributes.insert(0, ("base_url".to_owned(), url));
        }
        let whole = if self.base.as_deref() == Some(base) { path.to_owned() } else { format!("{base}/{path}") };
        let mut path =
            self.template(whole.trim_end_matches('?').trim_end_matches('/'), &requester.at("path"), scope, parameters);
        if let Expr::Text(pieces) = &mut path.expr {
            match pieces.first_mut() {
                Some(Piece::Literal(text)) => *text = absolute(text),
                _ => pieces.insert(0, Piece::Literal("/".to_owned())),
            }
        }
        if path.secret {
            self.out.refuse(requester.at("path"), "a secret in a path", "secrets are the `api`'s");
        }
        block.attributes.insert(0, ("path".to_owned(), path.expr));
    }

    fn options(&mut self, reader: &Reader<'_>, scope: &Scope, parameters: &Map<String, Value>, block: &mut Block) {
        for (from, to) in [("request_parameters", "params"), ("request_headers", "headers")] {
            match reader.get(from) {
                Some(Value::Object(entries)) => {
                    for (key, value) in entries {
                        self.entry(to, key, value, &join(&reader.at(from), key), scope, parameters, block);
                    }
                }
                Some(_) => self.out.refuse(reader.at(from), "options that are no map", ""),
                None => {}
            }
        }
        let body = match reader.get("request_body") {
            Some(body) if body.get("type").and_then(Value::as_str) == Some("RequestBodyJsonObject") => {
                body.get("value")
            }
            Some(_) => {
                self.out.refuse(reader.at("request_body"), "a body that is no JSON", "");
                None
            }
            None => reader.get("request_body_json"),
        };
        if let Some(body) = body {
            let place = reader.at("request_body_json");
            let body = Expr::of(body, &mut |text| self.text(text, &place, scope, parameters).expr);
            block.set("body", body);
        }
        reader.refuse("request_body_data", "a body that is no JSON", "", &mut self.out.unsupported);
    }

    #[expect(clippy::too_many_arguments, reason = "one entry of a map, and all that a text may need")]
    fn entry(
        &mut self,
        to: &str,
        key: &str,
        value: &Value,
        place: &str,
        scope: &Scope,
        parameters: &Map<String, Value>,
        block: &mut Block,
    ) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return self.out.refuse(place, "an option that is no text", ""),
        };
        // How a page's token was sent before paginators did it.
        if text.contains("next_page_token") {
            return self.out.refuse(place, "a page's token as an option", "it is the paginator's to send");
        }
        let text = self.template(&text, place, scope, parameters);
        match (text.secret, to, text.expr) {
            (false, _, expr) => block.set_in(to, key, expr),
            (true, "headers", expr) => match self.out.api.get("headers") {
                Some(Expr::Map(entries)) if entries.iter().any(|(known, _)| known == key) => {}
                _ => self.out.api.set_in("headers", key, expr),
            },
            (true, _, Expr::Text(parts)) => self.key_param(key, &parts, place),
            (true, ..) => {}
        }
    }

    /// A secret parameter is the `api`'s key.
    fn key_param(&mut self, key: &str, parts: &[Piece], place: &str) {
        let auth = match parts {
            [Piece::Expression(secret)] => {
                Expr::Call("api_key", vec![Expr::text(key), Expr::raw(secret), Expr::text("query")])
            }
            _ => return self.out.refuse(place, "a secret within a parameter", "secrets are the `api`'s"),
        };
        match self.out.api.get("auth") {
            None => self.out.api.set("auth", auth),
            Some(known) if *known == auth => {}
            Some(_) => self.out.refuse(place, "a second secret", "an `api` has one; others go into its `headers`"),
        }
    }

    fn selector(
        &mut self,
        object: &Map<String, Value>,
        place: &str,
        around: &Map<String, Value>,
        scope: &Scope,
        block: &mut Block,
    ) {
        let parameters = super::parameters(object, around);
        let selector = Reader::new(object, &parameters, place.to_owned());
        selector.ignore(&["type", "$parameters", "$options", "transform_before_filtering"]);
        let extractor = selector.get("extractor").and_then(Value::as_object);
        let kind = extractor.and_then(|extractor| extractor.get("type")).and_then(Value::as_str);
        match kind {
            None | Some("DpathExtractor") => {
                let path =
                    extractor.and_then(|extractor| extractor.get("field_path").or(extractor.get("field_pointer")));
                let path = path.or_else(|| parameters.get("field_path")).and_then(Value::as_array);
                let mut steps = Vec::new();
                for step in path.into_iter().flatten() {
                    let text = step.as_str().map_or_else(|| step.to_string(), str::to_owned);
                    let expr = self.text(&text, &selector.at("extractor.field_path"), scope, &parameters).expr;
                    match expr.literal() {
                        Some(text) => steps.push(text),
                        None => {
                            self.out.refuse(
                                selector.at("extractor.field_path"),
                                "a variable in a path",
                                "write it out",
                            );
                        }
                    }
                }
                block.set("data_selector", Expr::text(json_path(&steps)));
            }
            Some(other) => {
                let hint = "write a `data_selector`, as JSONPath";
                self.out.refuse(selector.at("extractor"), format!("an extractor of the type `{other}`"), hint);
            }
        }
        let unsupported = &mut self.out.unsupported;
        selector.refuse("record_filter", "a filter of records", IN_CODE, unsupported);
        let normalization = selector.get("schema_normalization").and_then(Value::as_str);
        if normalization.is_some_and(|word| word != "None") {
            let hint = "values keep the vendor's types";
            self.out.refuse(selector.at("schema_normalization"), "normalisation", hint);
        }
        selector.finish(&mut self.out.unsupported);
    }

    fn keys(&mut self, stream: &Reader<'_>, block: &mut Block) {
        let keys = stream.texts("primary_key");
        let has_cursor = block.blocks.iter().any(|inner| inner.kind == "incremental");
        match keys.as_slice() {
            [] => {}
            [one] => block.set("primary_key", Expr::text(one)),
            several => block.set("primary_key", Expr::List(several.iter().map(Expr::text).collect())),
        }
        // What Airbyte's sync modes do by default: all anew, or what is new over what was.
        let disposition = match (has_cursor, keys.is_empty()) {
            (true, false) => "merge",
            (true, true) => "append",
            (false, _) => "replace",
        };
        block.set("write_disposition", Expr::text(disposition));
    }

    /// Fields of the parent are taken over; other transformations are code.
    fn transformations(&mut self, stream: &Reader<'_>, scope: &Scope, block: &mut Block) {
        let transformations = stream.get("transformations").and_then(Value::as_array);
        let mut included: Vec<String> = Vec::new();
        for (index, transformation) in transformations.into_iter().flatten().enumerate() {
            let place = format!("{}[{index}]", stream.at("transformations"));
            let kind = transformation.get("type").and_then(Value::as_str).unwrap_or_default();
            let fields = transformation.get("fields").and_then(Value::as_array);
            let (true, Some(fields)) = (kind == "AddFields", fields) else {
                self.out.refuse(place, format!("a transformation of the type `{kind}`"), IN_CODE);
                continue;
            };
            for field in fields {
                let value = field.get("value").and_then(Value::as_str).unwrap_or_default();
                let name = crate::import::reader::texts(field.get("path")).join(".");
                match from_parent(value, scope) {
                    Some((parent, key)) => {
                        let hint = format!("it is there as `_{parent}_{key}`");
                        if !included.contains(&key) {
                            included.push(key);
                        }
                        self.out.refuse(
                            format!("{place}.{name}"),
                            "a field of the parent under a name of its own",
                            &hint,
                        );
                    }
                    None => self.out.refuse(format!("{place}.{name}"), format!("an added field, `{value}`"), IN_CODE),
                }
            }
        }
        if !included.is_empty() {
            block.set("include_from_parent", Expr::List(included.iter().map(Expr::text).collect()));
        }
    }

    fn errors(&mut self, handler: &Value, place: &str, block: &mut Block) {
        let none = Map::new();
        let Some(object) = handler.as_object() else { return };
        let reader = Reader::new(object, &none, place.to_owned());
        reader.ignore(&["$parameters", "$options"]);
        match reader.text("type").unwrap_or("DefaultErrorHandler") {
            "CompositeErrorHandler" => {
                let handlers = reader.get("error_handlers").and_then(Value::as_array);
                for (index, handler) in handlers.into_iter().flatten().enumerate() {
                    self.errors(handler, &format!("{place}.error_handlers[{index}]"), block);
                }
            }
            "DefaultErrorHandler" => {
                if let Some(retries) = reader.get("max_retries").and_then(Value::as_u64)
                    && block.get("attempts").is_none()
                {
                    block.set("attempts", Expr::raw((retries + 1).clamp(1, 100)));
                }
                let hint = "the vendor's Retry-After is obeyed, and delays grow by themselves";
                reader.refuse("backoff_strategies", "backoff strategies", hint, &mut self.out.unsupported);
                let filters = reader.get("response_filters").and_then(Value::as_array);
                for (index, filter) in filters.into_iter().flatten().enumerate() {
                    self.filter(filter, &format!("{place}.response_filters[{index}]"), block);
                }
            }
            other => self.out.refuse(
                place,
                format!("an error handler of the type `{other}`"),
                "write `response_action` blocks",
            ),
        }
        reader.finish(&mut self.out.unsupported);
    }

    fn filter(&mut self, filter: &Value, place: &str, block: &mut Block) {
        let none = Map::new();
        let Some(object) = filter.as_object() else { return };
        let reader = Reader::new(object, &none, place.to_owned());
        reader.ignore(&["type", "$parameters", "$options", "error_message", "failure_type"]);
        reader.refuse(
            "predicate",
            "a predicate",
            "write a `response_action` with `content`",
            &mut self.out.unsupported,
        );
        let action = match reader.text("action") {
            Some("IGNORE") => Some("ignore"),
            Some("FAIL") => Some("fail"),
            Some("RETRY") => Some("retry"),
            Some("RATE_LIMITED") => Some("throttle"),
            Some(other) => {
                self.out.refuse(
                    reader.at("action"),
                    format!("the action `{other}`"),
                    "one of ignore, fail, retry, throttle",
                );
                None
            }
            None => Some("fail"),
        };
        let content = reader.text("error_message_contains");
        let codes: Vec<Option<u64>> = match reader.get("http_codes").and_then(Value::as_array) {
            Some(codes) => codes.iter().map(Value::as_u64).collect(),
            None => vec![None],
        };
        reader.finish(&mut self.out.unsupported);
        for code in codes {
            if code.is_none() && content.is_none() {
                continue;
            }
            let Some(action) = action else { continue };
            let mut inner = Block::new("response_action");
            if let Some(code) = code {
                inner.set("status_code", Expr::raw(code));
            }
            if let Some(content) = content {
                inner.set("content", Expr::text(content));
            }
            block.blocks.push(inner.with("action", Expr::text(action)));
        }
    }
}

/// Returns the parent and its field, if a value is a field of the partition and nothing else.
fn from_parent(value: &str, scope: &Scope) -> Option<(String, String)> {
    let access = super::jinja::single(value)?;
    let is_partition = ["stream_partition", "stream_slice"].contains(&access.root.as_str());
    let placeholder = scope.partition.get(access.path.last()?).filter(|_| is_partition)?;
    let inner = placeholder.strip_prefix("{resources.")?.strip_suffix('}')?;
    let (parent, key) = inner.split_once('.')?;
    Some((parent.to_owned(), key.to_owned()))
}
