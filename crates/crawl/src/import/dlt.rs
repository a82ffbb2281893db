//! dlt's `rest_api_source` configuration, as JSON.
//!
//! Source: dlt's documentation of the REST API source, and `dlt/sources/rest_api/typing.py`.

use serde_json::{Map, Value};

use super::hcl::{Block, Expr};
use super::out::{Out, Resource, absolute, legal, parents};
use super::reader::Reader;
use super::{ImportError, Imported, TEXT_BYTES_MAX};

const IN_CODE: &str = "it is code: write it as SQL of a function behind the table's stream";

/// Reads a configuration: what is given to `rest_api_source`, dumped as JSON. `name` becomes that of the `api` and the `crawl`.
///
/// Each resource goes to a table of its name; one that is not `selected` goes nowhere, and leads to others only.
///
/// # Errors
/// If it is no JSON, or no such configuration.
pub fn dlt(text: &str, name: &str) -> Result<Imported, ImportError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let value: Value = serde_json::from_str(text).map_err(ImportError::Json)?;
    let shape = |problem: &str| ImportError::Shape { kind: "dlt configuration", problem: problem.to_owned() };
    let none = Map::new();
    let root = value.as_object().ok_or_else(|| shape("it is no object"))?;
    let root = Reader::new(root, &none, String::new());
    let mut out = Out::new(name);
    let client = root.get("client").and_then(Value::as_object).ok_or_else(|| shape("it has no `client`"))?;
    let resources = root.get("resources").and_then(Value::as_array).ok_or_else(|| shape("it has no `resources`"))?;
    read_client(Reader::new(client, &none, "client".to_owned()), &mut out);
    if let Some(defaults) = root.get("resource_defaults").and_then(Value::as_object) {
        let defaults = Reader::new(defaults, &none, "resource_defaults".to_owned());
        let mut block = Block::new("resource_defaults");
        read_common(&defaults, &mut block, &mut out);
        defaults.finish(&mut out.unsupported);
        if let Some(at) = block.attributes.iter().position(|(name, _)| name == "path") {
            block.attributes.remove(at);
            out.refuse("resource_defaults.endpoint.path", "a path of all resources", "write it into each resource");
        }
        out.defaults = Some(block);
    }
    for (index, resource) in resources.iter().enumerate() {
        let path = format!("resources[{index}]");
        match resource {
            Value::String(name) => {
                let mut block = Block::named("resource", &legal(name));
                block.set("path", Expr::text(absolute(name)));
                out.resources.push(Resource {
                    name: legal(name),
                    block,
                    table: Some(legal(name)),
                    parents: Vec::new(),
                    place: path,
                });
            }
            Value::Object(object) => read_resource(Reader::new(object, &none, path), &mut out),
            _ => out.refuse(
                path,
                "a resource that is neither a text nor an object",
                "resources in code are not taken over",
            ),
        }
    }
    root.finish(&mut out.unsupported);
    Ok(out.finish())
}

fn read_client(client: Reader<'_>, out: &mut Out) {
    match client.text("base_url") {
        Some(url) => out.api.set("base_url", Expr::text(url)),
        None => out.refuse("client.base_url", "is missing", "write the API's address as `base_url`"),
    }
    if let Some(auth) = client.get("auth") {
        read_auth(auth, &client.at("auth"), out);
    }
    let headers = client.get("headers").and_then(Value::as_object);
    for (header, value) in headers.into_iter().flatten() {
        let path = format!("client.headers.{header}");
        let value = if is_secret_header(header) {
            Expr::secret(&out.secret(header, path))
        } else {
            match scalar(value) {
                Some(text) => Expr::text(text),
                None => {
                    out.refuse(path, "a header that is no text", "");
                    continue;
                }
            }
        };
        out.api.set_in("headers", header, value);
    }
    if let Some(paginator) = client.get("paginator") {
        out.api.blocks.extend(read_paginator(paginator, &client.at("paginator"), &mut out.unsupported));
    }
    client.refuse("session", "a session in code", "", &mut out.unsupported);
    client.finish(&mut out.unsupported);
}

/// Headers whose values open something.
fn is_secret_header(name: &str) -> bool {
    let name = name.to_lowercase();
    ["auth", "cookie", "key", "token", "secret", "password"].iter().any(|part| name.contains(part))
}

fn read_auth(auth: &Value, path: &str, out: &mut Out) {
    let none = Map::new();
    let (kind, auth) = match auth {
        Value::String(kind) => (kind.as_str(), Reader::new(&none, &none, path.to_owned())),
        Value::Object(object) => {
            let reader = Reader::new(object, &none, path.to_owned());
            (reader.text("type").unwrap_or("bearer"), reader)
        }
        _ => return out.refuse(path, "credentials in code", "write `auth` of the `api` by hand"),
    };
    auth.ignore(&["type"]);
    match kind {
        "bearer" => {
            auth.ignore(&["token"]);
            let token = out.secret("TOKEN", auth.at("token"));
            out.api.set("auth", Expr::Call("bearer", vec![Expr::secret(&token)]));
        }
        "http_basic" => {
            auth.ignore(&["password"]);
            let username = match auth.text("username") {
                Some(username) => Expr::text(username),
                None => Expr::secret(&out.secret("USERNAME", auth.at("username"))),
            };
            let password = out.secret("PASSWORD", auth.at("password"));
            out.api.set("auth", Expr::Call("basic", vec![username, Expr::secret(&password)]));
        }
        "api_key" => {
            auth.ignore(&["api_key"]);
            let key = out.secret("API_KEY", auth.at("api_key"));
            let location = auth.text("location").unwrap_or("header");
            if !["header", "query", "cookie"].contains(&location) {
                out.refuse(auth.at("location"), format!("a key in `{location}`"), "");
            }
            let name = auth.text("name").unwrap_or("Authorization");
            let arguments = vec![Expr::text(name), Expr::secret(&key), Expr::text(location)];
            out.api.set("auth", Expr::Call("api_key", arguments));
        }
        "oauth2_client_credentials" => read_oauth2(&auth, out),
        other => out.refuse(path, format!("credentials of the type `{other}`"), "write `auth` of the `api` by hand"),
    }
    auth.finish(&mut out.unsupported);
}

fn read_oauth2(auth: &Reader<'_>, out: &mut Out) {
    let mut block = Block::new("oauth2_client_credentials");
    match auth.text("access_token_url") {
        Some(url) => block.set("access_token_url", Expr::text(url)),
        None => out.refuse(auth.at("access_token_url"), "is missing", "say where tokens are asked for"),
    }
    let id = match auth.text("client_id") {
        Some(id) => Expr::text(id),
        None => Expr::secret(&out.secret("CLIENT_ID", auth.at("client_id"))),
    };
    auth.ignore(&["client_secret"]);
    let secret = out.secret("CLIENT_SECRET", auth.at("client_secret"));
    block.set("client_id", id);
    block.set("client_secret", Expr::secret(&secret));
    let data = auth.get("access_token_request_data").and_then(Value::as_object);
    for (name, value) in data.into_iter().flatten() {
        match (name.as_str(), scalar(value)) {
            ("grant_type", Some(grant)) if grant == "client_credentials" => {}
            ("scope", Some(scopes)) => {
                let scopes = scopes.split_whitespace().map(Expr::text).collect();
                block.set("scopes", Expr::List(scopes));
            }
            (_, Some(text)) => block.set_in("access_token_request_data", name, Expr::text(text)),
            (_, None) => out.refuse(format!("{}.{name}", auth.at("access_token_request_data")), "is no text", ""),
        }
    }
    let unsupported = &mut out.unsupported;
    auth.refuse("default_token_expiration", "a token's life", "it is what the server says, else an hour", unsupported);
    auth.refuse("session", "a session in code", "", unsupported);
    auth.refuse("access_token", "a token that is there already", "tokens are fetched", unsupported);
    out.api.blocks.push(block);
}

fn read_resource(resource: Reader<'_>, out: &mut Out) {
    let Some(written) = resource.text("name") else {
        return out.refuse(resource.at("name"), "a resource without a name", "give it one");
    };
    let name = legal(written);
    let mut block = Block::named("resource", &name);
    read_common(&resource, &mut block, out);
    if block.get("path").is_none() {
        block.attributes.insert(0, ("path".to_owned(), Expr::text(absolute(written))));
    }
    let selected = resource.get("selected").and_then(Value::as_bool).unwrap_or(true);
    let table = legal(resource.text("table_name").unwrap_or(written));
    let mut above = Vec::new();
    block.attributes.iter().for_each(|(_, value)| parents(value, &mut above));
    let place = resource.path.clone();
    resource.finish(&mut out.unsupported);
    out.resources.push(Resource { name, block, table: selected.then_some(table), parents: above, place });
}

/// What resources and their defaults may both say.
fn read_common(resource: &Reader<'_>, block: &mut Block, out: &mut Out) {
    let none = Map::new();
    match resource.get("endpoint") {
        Some(Value::String(path)) => block.set("path", Expr::text(absolute(path))),
        Some(Value::Object(endpoint)) => {
            read_endpoint(Reader::new(endpoint, &none, resource.at("endpoint")), block, out);
        }
        Some(_) => out.refuse(resource.at("endpoint"), "an endpoint in code", ""),
        None => {}
    }
    for list in ["primary_key", "include_from_parent"] {
        match resource.texts(list).as_slice() {
            [] => {}
            [one] if list == "primary_key" => block.set(list, Expr::text(one)),
            several => block.set(list, Expr::List(several.iter().map(Expr::text).collect())),
        }
    }
    read_disposition(resource, block, out);
    let unsupported = &mut out.unsupported;
    resource.refuse("processing_steps", "processing steps", IN_CODE, unsupported);
    resource.refuse(
        "auth",
        "credentials of one resource",
        "make an `api` and a `crawl` of their own for it",
        unsupported,
    );
    resource.refuse("merge_key", "a merge key", "rows are replaced by `primary_key`", unsupported);
    resource.refuse("columns", "columns", "the schema is inferred, and pinned in a file for review", unsupported);
    resource.refuse(
        "schema_contract",
        "a schema contract",
        "new fields are counted and named, and the pin is changed by hand",
        unsupported,
    );
    resource.refuse(
        "max_table_nesting",
        "the depth of child tables",
        "lists and objects stay in their row",
        unsupported,
    );
    resource.refuse("parallelized", "parallelism", "it is the budget's `concurrency`", unsupported);
}

fn read_disposition(resource: &Reader<'_>, block: &mut Block, out: &mut Out) {
    let place = resource.at("write_disposition");
    let word = match resource.get("write_disposition") {
        None => return,
        Some(Value::Object(object)) => {
            let strategy = object.get("strategy").and_then(Value::as_str);
            // These two end with the same rows.
            if let Some(other) = strategy.filter(|word| {
                !["delete-insert", "upsert", "insert-from-staging", "truncate-and-insert"].contains(word)
            }) {
                out.refuse(
                    format!("{place}.strategy"),
                    format!("the strategy `{other}`"),
                    "rows are replaced by key, or all at once",
                );
            }
            object.get("disposition").and_then(Value::as_str)
        }
        Some(value) => value.as_str(),
    };
    match word {
        Some(word @ ("append" | "replace" | "merge")) => block.set("write_disposition", Expr::text(word)),
        Some("skip") => out.refuse(place, "the disposition `skip`", "remove the resource's `to`"),
        _ => out.refuse(place, "an unknown disposition", "one of append, replace, merge"),
    }
}

fn read_endpoint(endpoint: Reader<'_>, block: &mut Block, out: &mut Out) {
    let mut path = endpoint.text("path").map(absolute);
    if let Some(method) = endpoint.text("method") {
        block.set("method", Expr::text(method.to_uppercase()));
    }
    let mut incremental = None;
    let params = endpoint.get("params").and_then(Value::as_object);
    for (name, value) in params.into_iter().flatten() {
        let place = format!("{}.{name}", endpoint.at("params"));
        match value.get("type").and_then(Value::as_str) {
            Some("resolve") => read_resolve(name, value, &place, &mut path, block, out),
            Some("incremental") => incremental = read_incremental(value, Some(name), &place, out),
            Some(other) => out.refuse(place, format!("a parameter of the type `{other}`"), ""),
            None => match (value, scalar(value)) {
                (_, Some(text)) => block.set_in("params", name, template(&text)),
                (Value::Array(items), None) if items.iter().all(|item| scalar(item).is_some()) => {
                    let items = items.iter().filter_map(scalar).map(|text| template(&text)).collect();
                    block.set_in("params", name, Expr::List(items));
                }
                (Value::Null, None) => {}
                _ => out.refuse(place, "a parameter that is neither a value nor a list", ""),
            },
        }
    }
    let headers = endpoint.get("headers").and_then(Value::as_object);
    for (name, value) in headers.into_iter().flatten() {
        let place = format!("{}.{name}", endpoint.at("headers"));
        match scalar(value) {
            _ if is_secret_header(name) => {
                out.refuse(
                    place,
                    "a header that looks like a secret, of one resource",
                    "set it in `headers` of the `api`",
                );
            }
            Some(text) => block.set_in("headers", name, template(&text)),
            None => out.refuse(place, "a header that is no text", ""),
        }
    }
    if let Some(path) = path {
        block.attributes.insert(0, ("path".to_owned(), Expr::text(path)));
    }
    if let Some(json) = endpoint.get("json") {
        block.set("body", Expr::of(json, &mut |text| Expr::text(text)));
    }
    if let Some(selector) = endpoint.text("data_selector") {
        block.set("data_selector", Expr::text(selector));
    }
    if let Some(paginator) = endpoint.get("paginator") {
        block.blocks.extend(read_paginator(paginator, &endpoint.at("paginator"), &mut out.unsupported));
    }
    if let Some(value) = endpoint.get("incremental") {
        incremental = read_incremental(value, None, &endpoint.at("incremental"), out);
    }
    block.blocks.extend(incremental);
    let actions = endpoint.get("response_actions").and_then(Value::as_array);
    for (index, action) in actions.into_iter().flatten().enumerate() {
        let place = format!("{}[{index}]", endpoint.at("response_actions"));
        block.blocks.extend(read_action(action, &place, out));
    }
    let unsupported = &mut out.unsupported;
    endpoint.refuse("data", "a body that is no JSON", "", unsupported);
    endpoint.refuse(
        "auth",
        "credentials of one resource",
        "make an `api` and a `crawl` of their own for it",
        unsupported,
    );
    endpoint.finish(unsupported);
}

/// `{"type": "resolve", "resource": "issues", "field": "number"}`: the older form of `{resources.issues.number}`.
fn read_resolve(name: &str, value: &Value, place: &str, path: &mut Option<String>, block: &mut Block, out: &mut Out) {
    let part = |key: &str| value.get(key).and_then(Value::as_str);
    let (Some(resource), Some(field)) = (part("resource"), part("field")) else {
        return out.refuse(place, "a `resolve` without `resource` and `field`", "");
    };
    let placeholder = format!("{{resources.{}.{field}}}", legal(resource));
    let named = format!("{{{name}}}");
    match path {
        Some(path) if path.contains(&named) => *path = path.replace(&named, &placeholder),
        _ => block.set_in("params", name, Expr::text(placeholder)),
    }
}

fn read_incremental(value: &Value, param: Option<&str>, place: &str, out: &mut Out) -> Option<Block> {
    let none = Map::new();
    let Some(object) = value.as_object() else {
        out.refuse(place, "an incremental in code", "");
        return None;
    };
    let reader = Reader::new(object, &none, place.to_owned());
    reader.ignore(&["type"]);
    let mut block = Block::new("incremental");
    match reader.text("cursor_path") {
        Some(path) => block.set("cursor_path", Expr::text(path)),
        None => out.refuse(reader.at("cursor_path"), "is missing", "name the field that grows"),
    }
    if let Some(param) = param.or(reader.text("start_param")) {
        block.set("start_param", Expr::text(param));
    }
    if let Some(param) = reader.text("end_param") {
        block.set("end_param", Expr::text(param));
    }
    let initial = reader.get("initial_value");
    match initial {
        Some(Value::String(text)) => block.set("initial_value", Expr::text(text)),
        Some(Value::Number(number)) => block.set("initial_value", Expr::raw(number)),
        _ => out.refuse(reader.at("initial_value"), "is missing", "say where the first run begins"),
    }
    if let Some(lag) = reader.get("lag").and_then(Value::as_f64) {
        block.set("lag", lag_of(lag, initial));
    }
    let unsupported = &mut out.unsupported;
    reader.refuse("end_value", "an end", "a run goes up to when it was started", unsupported);
    reader.refuse(
        "convert",
        "a conversion of the cursor",
        "it is code; the vendor's own form is sent back",
        unsupported,
    );
    reader.refuse("row_order", "an order of rows", "all pages are read, in whatever order", unsupported);
    reader.finish(unsupported);
    Some(block)
}

/// dlt counts lags in seconds for times, in days for dates, and in units for numbers.
fn lag_of(lag: f64, initial: Option<&Value>) -> Expr {
    match initial {
        Some(Value::String(text)) => {
            let unit = if text.len() == "2024-01-31".len() { 86_400.0 } else { 1.0 };
            let seconds = (lag * unit).ceil().clamp(0.0, 1e9) as u64;
            Expr::text(weir_types::span::display(std::time::Duration::from_secs(seconds)))
        }
        _ => Expr::raw(lag),
    }
}

fn read_action(action: &Value, place: &str, out: &mut Out) -> Option<Block> {
    let none = Map::new();
    let Some(object) = action.as_object() else {
        out.refuse(place, "an action in code", "");
        return None;
    };
    let reader = Reader::new(object, &none, place.to_owned());
    let mut block = Block::new("response_action");
    if let Some(code) = reader.get("status_code").and_then(Value::as_u64) {
        block.set("status_code", Expr::raw(code));
    }
    if let Some(content) = reader.text("content") {
        block.set("content", Expr::text(content));
    }
    let word = match reader.get("action").map(|action| (action, action.as_str())) {
        Some((_, Some("ignore"))) => Some("ignore"),
        Some((_, Some("raise"))) => Some("fail"),
        Some((_, Some("retry"))) => Some("retry"),
        Some(_) => {
            out.refuse(reader.at("action"), "an action in code", "one of ignore, fail, retry, throttle");
            None
        }
        None => Some("ignore"),
    };
    reader.finish(&mut out.unsupported);
    Some(block.with("action", Expr::text(word?)))
}

fn read_paginator(paginator: &Value, place: &str, unsupported: &mut Vec<super::Unsupported>) -> Option<Block> {
    let none = Map::new();
    let mut refuse = |path: String, what: String| {
        unsupported.push(super::Unsupported { path, what, hint: Some("write a `paginator` block by hand".to_owned()) });
    };
    let (kind, reader) = match paginator {
        Value::String(kind) => (kind.as_str(), Reader::new(&none, &none, place.to_owned())),
        Value::Object(object) => {
            let reader = Reader::new(object, &none, place.to_owned());
            (reader.text("type").unwrap_or_default(), reader)
        }
        _ => {
            refuse(place.to_owned(), "a paginator in code".to_owned());
            return None;
        }
    };
    // dlt's older names of the same.
    let kind = match kind {
        "json_response" => "json_link",
        kind => kind,
    };
    let attributes: &[&str] = match kind {
        "auto" | "single_page" => &[],
        "json_link" => &["next_url_path"],
        "header_link" => &["links_next_key"],
        "cursor" => &["cursor_path", "cursor_param", "cursor_body_path"],
        "header_cursor" => &["cursor_param"],
        "offset" => {
            &["limit", "offset", "offset_param", "limit_param", "total_path", "maximum_offset", "stop_after_empty_page"]
        }
        "page_number" => &["base_page", "page_param", "total_path", "maximum_page", "stop_after_empty_page"],
        other => {
            refuse(place.to_owned(), format!("a paginator of the type `{other}`"));
            return None;
        }
    };
    reader.ignore(&["type"]);
    let mut block = Block::named("paginator", if kind == "header_cursor" { "cursor" } else { kind });
    for name in attributes {
        match reader.get_null(name) {
            Some(Value::String(text)) => block.set(name, Expr::text(text)),
            Some(Value::Null) if *name == "total_path" => block.set(name, Expr::raw("null")),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => block.set(name, Expr::raw(value)),
            _ => {}
        }
    }
    if kind == "header_cursor" {
        block.set("cursor_header", Expr::text(reader.text("cursor_key").unwrap_or("next")));
    }
    reader.finish(unsupported);
    Some(block)
}

/// The older name of the same placeholder.
fn template(text: &str) -> Expr {
    Expr::text(text.replace("{incremental.last_value}", "{incremental.start_value}"))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
