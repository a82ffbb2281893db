//! `api "NAME" { base_url, headers, auth, paginator, timeout, answer_bytes_max, budget { ... } }`: a vendor's account.
//!
//! ```text
//! mod.rs      where it is, and within which limits it is called
//! auth.rs     how it is shown who calls
//! budget.rs   how fast it may be called
//! rate.rs     "10/s"
//! ```
//!
//! Invariant: whatever opens the account is a secret in the environment, and stands in no file.

mod auth;
mod budget;
mod rate;

use std::time::Duration;

use url::Url;
use weir_crawl::spec::Client;
use weir_types::{ApiName, ByteSize, Secret};

use super::{Attributes, Inner, Shape, Times, paginator};
use crate::diagnostic::Report;
use crate::value::Kind;
use crate::{ApiPlan, Diagnostic, Place};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &["base_url", "headers", "auth", "paginator", "timeout", "answer_bytes_max"],
    later: &["verify", "proxy", "certificate"],
    blocks: &[
        Inner { kind: "oauth2_client_credentials", times: Times::Once },
        paginator::INNER,
        Inner { kind: "budget", times: Times::Once },
    ],
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
const ANSWER_DEFAULT: ByteSize = ByteSize(16 << 20);
const ANSWER_MIN: ByteSize = ByteSize(1024);
const ANSWER_MAX: ByteSize = ByteSize(1 << 30);

/// What a connection sets itself.
const HEADERS_OF_CONNECTIONS: [&str; 6] =
    ["connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"];

pub(crate) fn read(block: &Attributes<'_>, name: ApiName, report: &mut Report) -> Option<ApiPlan> {
    let timeout = block.span("timeout", TIMEOUT_MIN..=TIMEOUT_MAX, report).unwrap_or(TIMEOUT_DEFAULT);
    let answer = block.bytes("answer_bytes_max", ANSWER_MIN..=ANSWER_MAX, report).unwrap_or(ANSWER_DEFAULT);
    let headers = headers(block, report);
    let auth = auth::read(block, report);
    let paginator = paginator::read(block, report);
    let budget = budget::read(block, report);
    if !block.has("base_url") {
        block.missing("base_url", "say where it is: `base_url = \"https://api.example.com/v1\"`", report);
    }
    let base_url = url(block, "base_url", report)?;
    let client =
        Client { base_url, headers: headers?, auth: auth?, paginator: paginator?, timeout, answer_bytes_max: answer.0 };
    Some(ApiPlan { name, client, budget: budget?, place: block.place() })
}

/// Reads where something is over HTTP.
fn url(block: &Attributes<'_>, name: &str, report: &mut Report) -> Option<Url> {
    let text = block.name_text(name, "https://api.example.com/v1", report)?;
    let hint = "write a URL such as \"https://api.example.com/v1\"";
    let url = match Url::parse(&text.value) {
        Ok(url) => url,
        Err(error) => {
            block.refuse(name, format!("`{name}` is not a URL: {error}"), hint, report);
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        let place = Place::masked(block.evaluator.source, text.span);
        let message = format!("`{name}` holds a password in plain text");
        let hint = "write `auth = basic(\"user\", secret(\"PASSWORD\"))`, and set it in the environment";
        report.push(Diagnostic::error(message).at(place).hint(hint));
        return None;
    }
    if !["http", "https"].contains(&url.scheme()) {
        block.refuse(name, format!("`{}` is not HTTP", url.scheme()), hint, report);
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        let message = format!("`{name}` has a query or a fragment, behind which no path can be put");
        block.refuse(name, message, "set `params` of the resources, or of `resource_defaults`", report);
        return None;
    }
    Some(url)
}

/// Reads headers, whose values may be secrets.
fn headers(block: &Attributes<'_>, report: &mut Report) -> Option<Vec<(String, Secret)>> {
    let hint = "such as `headers = { Accept = \"application/json\", X-Key = secret(\"KEY\") }`";
    let Some(value) = block.value("headers", report) else { return (!block.has("headers")).then(Vec::new) };
    let Kind::Map(entries) = value.kind else {
        block.wrong_type("headers", "a map of strings", &value, hint, report);
        return None;
    };
    let mut headers = Vec::new();
    let mut whole = true;
    for (name, value) in entries {
        let place = block.place_of(Some(value.span.clone()));
        if let Some((message, hint)) = wrong_header(&name) {
            report.push(Diagnostic::error(message).at(place).hint(hint));
            whole = false;
            continue;
        }
        let text = match value.kind {
            Kind::Secret(secret) => secret.text,
            Kind::Text(_) if is_credential(&name) => {
                let place = Place::masked(block.evaluator.source, value.span);
                let message = format!("`{name}` of `headers` stands in plain text");
                let hint = "set it in the environment, and write `secret(\"NAME\")`";
                report.push(Diagnostic::error(message).at(place).hint(hint));
                whole = false;
                continue;
            }
            ref kind => match kind.as_text() {
                Some(text) => text,
                None => {
                    block.wrong_type("headers", "a map of strings", &value, hint, report);
                    whole = false;
                    continue;
                }
            },
        };
        if text.chars().any(char::is_control) {
            let message = format!("`{name}` of `headers` has a character that no header can hold");
            report.push(Diagnostic::error(message).at(place).hint("is there a line break at its end?"));
            whole = false;
            continue;
        }
        headers.push((name, Secret::new(text)));
    }
    whole.then_some(headers)
}

/// Tells whether a header's value opens the account.
fn is_credential(name: &str) -> bool {
    ["authorization", "cookie", "proxy-authorization"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Says why a header can't be set.
pub(super) fn wrong_header(name: &str) -> Option<(String, &'static str)> {
    let is_token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    if name.is_empty() || !name.chars().all(is_token) {
        let message = format!("`{}` is no name of a header", name.escape_debug());
        return Some((message, "letters, digits and `-`, such as `X-Api-Version`"));
    }
    let set = HEADERS_OF_CONNECTIONS.iter().any(|known| known.eq_ignore_ascii_case(name));
    set.then(|| (format!("header `{name}` is set by the connection"), "remove it"))
}
