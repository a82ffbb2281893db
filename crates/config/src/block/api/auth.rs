//! `auth = bearer(...)`, or an `oauth2_client_credentials` block.

use weir_crawl::spec::{Auth, KeyLocation};
use weir_types::Secret;

use super::url;
use crate::block::{Attributes, Shape};
use crate::diagnostic::Report;
use crate::value::{CredentialForm, Credentials, Kind, Value};
use crate::{Diagnostic, Place, nearest};

/// dlt's words.
const CLIENT_CREDENTIALS: Shape = Shape {
    attributes: &[
        "access_token_url",
        "client_id",
        "client_secret",
        "scopes",
        "access_token_request_data",
        "credentials_in",
    ],
    later: &[],
    blocks: &[],
};

const LOCATIONS: [(&str, KeyLocation); 3] =
    [("header", KeyLocation::Header), ("query", KeyLocation::Query), ("cookie", KeyLocation::Cookie)];

/// Where the client's id and secret go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CredentialsIn {
    Header,
    Body,
}

const CREDENTIALS_IN: [(&str, CredentialsIn); 2] = [("header", CredentialsIn::Header), ("body", CredentialsIn::Body)];

/// Reads how it is shown who calls; `None` if it was refused.
pub(super) fn read(block: &Attributes<'_>, report: &mut Report) -> Option<Auth> {
    let inner = block.inner("oauth2_client_credentials", &CLIENT_CREDENTIALS, report);
    if let Some(inner) = inner.first() {
        let message = |_: &str| format!("{block} has both `auth` and `oauth2_client_credentials`");
        block.forbid(["auth"], message, "remove one of the two", report);
        return client_credentials(inner, report);
    }
    let Some(value) = block.any_value("auth", report) else { return Some(Auth::None) };
    let hint = "such as `auth = bearer(secret(\"TOKEN\"))`; others: `api_key`, `basic`, and the block \
                `oauth2_client_credentials`";
    match value.kind {
        Kind::Null => Some(Auth::None),
        Kind::Unknown => None,
        Kind::Credentials(ref credentials) => made_of(block, credentials, &value, report),
        Kind::Text(_) => {
            let place = Place::masked(block.evaluator.source, value.span);
            report.push(Diagnostic::error("`auth` is credentials, and this is a string").at(place).hint(hint));
            None
        }
        _ => {
            block.wrong_type("auth", "credentials", &value, hint, report);
            None
        }
    }
}

fn made_of(block: &Attributes<'_>, credentials: &Credentials, whole: &Value, report: &mut Report) -> Option<Auth> {
    let form = credentials.form;
    let argument = |value, report: &mut Report| Argument { block, form }.secret(value, report);
    let plain = |value, report: &mut Report| Argument { block, form }.text(value, report);
    match (form, credentials.arguments.as_slice()) {
        (CredentialForm::Bearer, [token]) => Some(Auth::Bearer(argument(token, report)?)),
        (CredentialForm::Basic, [username, password]) => {
            Some(Auth::Basic { username: plain(username, report)?, password: argument(password, report)? })
        }
        (CredentialForm::ApiKey, [name, key]) => Some(Auth::ApiKey {
            name: plain(name, report)?,
            key: argument(key, report)?,
            location: KeyLocation::Header,
        }),
        (CredentialForm::ApiKey, [name, key, location]) => {
            let word = plain(location, report)?;
            let Some((_, known)) = LOCATIONS.iter().find(|(known, _)| *known == word) else {
                let hint = nearest::hint(&word, LOCATIONS.iter().map(|(word, _)| *word), "places of a key");
                let message = format!("`{word}` is no place of a key");
                report.push(Diagnostic::error(message).at(block.place_of(Some(location.span.clone()))).hint(hint));
                return None;
            };
            Some(Auth::ApiKey { name: plain(name, report)?, key: argument(key, report)?, location: *known })
        }
        (form, arguments) => {
            let message = format!("`{}` can't be made of {} arguments", form.name(), arguments.len());
            let place = block.place_of(Some(whole.span.clone()));
            report.push(Diagnostic::error(message).at(place).hint(format!("write `{}`", form.example())));
            None
        }
    }
}

/// Reads one argument of credentials.
struct Argument<'b, 'a> {
    block: &'b Attributes<'a>,
    form: CredentialForm,
}

impl Argument<'_, '_> {
    fn secret(&self, value: &Value, report: &mut Report) -> Option<Secret> {
        match &value.kind {
            Kind::Secret(secret) => checked(self.block, &secret.name, &secret.text, value, report),
            Kind::Text(_) => {
                let place = Place::masked(self.block.evaluator.source, value.span.clone());
                let message = format!("the secret of `{}` stands in plain text", self.form.name());
                let hint = format!("set it in the environment, and write `{}`", self.form.example());
                report.push(Diagnostic::error(message).at(place).hint(hint));
                None
            }
            other => self.refuse("a secret", other, value, report),
        }
    }

    fn text(&self, value: &Value, report: &mut Report) -> Option<String> {
        match &value.kind {
            Kind::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Kind::Secret(secret) => Some(secret.text.clone()),
            other => self.refuse("a string", other, value, report),
        }
    }

    fn refuse<T>(&self, wanted: &str, found: &Kind, value: &Value, report: &mut Report) -> Option<T> {
        let found = match found {
            Kind::Text(_) => "empty",
            other => other.described(),
        };
        let message = format!("`{}` takes {wanted} here, and this is {found}", self.form.name());
        let place = self.block.place_of(Some(value.span.clone()));
        report.push(Diagnostic::error(message).at(place).hint(format!("write `{}`", self.form.example())));
        None
    }
}

/// Takes a secret that a header can hold.
fn checked(block: &Attributes<'_>, name: &str, text: &str, value: &Value, report: &mut Report) -> Option<Secret> {
    if text.is_empty() || text.chars().any(char::is_control) {
        let message = format!("secret `{name}` is empty, or has a character that no header can hold");
        let hint = "is there a line break at its end?";
        report.push(Diagnostic::error(message).at(block.place_of(Some(value.span.clone()))).hint(hint));
        return None;
    }
    Some(Secret::new(text))
}

fn client_credentials(inner: &Attributes<'_>, report: &mut Report) -> Option<Auth> {
    for (name, hint) in [
        ("access_token_url", "say where tokens are asked for: `access_token_url = \"https://...\"`"),
        ("client_id", "name the client: `client_id = \"...\"`"),
        ("client_secret", "name its secret: `client_secret = secret(\"NAME\")`"),
    ] {
        if !inner.has(name) {
            inner.missing(name, hint, report);
        }
    }
    let token_url = url(inner, "access_token_url", report);
    let client_id = revealed(inner, "client_id", report);
    let client_secret = secret(inner, "client_secret", report);
    let scopes = match inner.has("scopes") {
        true => inner.one_or_more("scopes", "\"read\"", report)?.into_iter().map(|scope| scope.value).collect(),
        false => Vec::new(),
    };
    let params = match inner.has("access_token_request_data") {
        true => inner.plain_map("access_token_request_data", "the client's secret is `client_secret`", report)?,
        false => Vec::new(),
    };
    let credentials_in = inner.choice("credentials_in", &CREDENTIALS_IN, report).unwrap_or(CredentialsIn::Body);
    Some(Auth::ClientCredentials {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        params,
        in_body: credentials_in == CredentialsIn::Body,
    })
}

/// Reads a text that may be a secret, and need not.
fn revealed(block: &Attributes<'_>, name: &str, report: &mut Report) -> Option<String> {
    let value = block.any_value(name, report)?;
    match value.kind {
        Kind::Text(text) if !text.trim().is_empty() => Some(text),
        Kind::Secret(secret) => Some(secret.text),
        Kind::Null => None,
        _ => {
            block.wrong_type(
                name,
                "a string that is not empty",
                &value,
                &format!("such as `{name} = \"weir\"`"),
                report,
            );
            None
        }
    }
}

/// Reads a text that must be a secret.
fn secret(block: &Attributes<'_>, name: &str, report: &mut Report) -> Option<Secret> {
    let value = block.any_value(name, report)?;
    match value.kind {
        Kind::Secret(ref secret) => checked(block, &secret.name, &secret.text, &value, report),
        Kind::Text(_) => {
            let place = Place::masked(block.evaluator.source, value.span);
            let hint = format!("set it in the environment, and write `{name} = secret(\"NAME\")`");
            report.push(Diagnostic::error(format!("`{name}` stands in plain text")).at(place).hint(hint));
            None
        }
        Kind::Null => None,
        _ => {
            block.wrong_type(name, "a secret", &value, &format!("write `{name} = secret(\"NAME\")`"), report);
            None
        }
    }
}
