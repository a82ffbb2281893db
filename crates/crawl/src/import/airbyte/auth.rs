//! Authenticators.

use serde_json::{Map, Value};

use super::Import;
use crate::import::hcl::{Block, Expr, Piece as Part};
use crate::import::reader::Reader;

const BY_HAND: &str = "write `auth` of the `api` by hand";

impl Import {
    /// Reads the authenticator of a stream; all of a crawl have one.
    pub(super) fn authenticator(&mut self, value: &Value, place: &str, around: &Map<String, Value>) {
        match &self.authenticator {
            Some(known) if known == value => return,
            Some(_) => {
                let hint = "make an `api` and a `crawl` of their own for the stream";
                return self.out.refuse(place, "a second authenticator", hint);
            }
            None => self.authenticator = Some(value.clone()),
        }
        let Some(object) = value.as_object() else {
            return self.out.refuse(place, "an authenticator that is no component", BY_HAND);
        };
        let parameters = super::parameters(object, around);
        let none = Map::new();
        let reader = Reader::new(object, &none, place.to_owned());
        reader.ignore(&["type", "$parameters", "$options"]);
        match object.get("type").and_then(Value::as_str).unwrap_or_default() {
            "NoAuth" => {}
            "BearerAuthenticator" => {
                let token = reader.text("api_token").unwrap_or_default();
                match self.secret_text(token, "TOKEN", &reader.at("api_token"), &parameters) {
                    Expr::Text(mut parts) => {
                        parts.insert(0, Part::Literal("Bearer ".to_owned()));
                        self.out.api.set_in("headers", "Authorization", Expr::Text(parts));
                    }
                    token => self.out.api.set("auth", Expr::Call("bearer", vec![token])),
                }
            }
            "BasicHttpAuthenticator" => {
                let username = reader.text("username").unwrap_or_default();
                let username = self.text(username, &reader.at("username"), &super::Scope::default(), &parameters).expr;
                let password = match reader.text("password").unwrap_or_default() {
                    // Vendors whose user is the key want an empty password, which is a secret all the same.
                    "" => Expr::secret(&self.out.secret("PASSWORD", "an empty text")),
                    text => self.secret_text(text, "PASSWORD", &reader.at("password"), &parameters),
                };
                self.out.api.set("auth", Expr::Call("basic", vec![username, password]));
            }
            "ApiKeyAuthenticator" => self.api_key(&reader, &parameters),
            "OAuthAuthenticator" => self.oauth(&reader, &parameters),
            other => self.out.refuse(place, format!("an authenticator of the type `{other}`"), BY_HAND),
        }
        reader.finish(&mut self.out.unsupported);
    }

    fn api_key(&mut self, reader: &Reader<'_>, parameters: &Map<String, Value>) {
        let token = reader.text("api_token").unwrap_or_default();
        let token = self.secret_text(token, "API_KEY", &reader.at("api_token"), parameters);
        let inject = reader.get("inject_into").and_then(Value::as_object);
        let place = inject.and_then(|inject| inject.get("inject_into")).and_then(Value::as_str).unwrap_or("header");
        let name = inject.and_then(|inject| inject.get("field_name")).and_then(Value::as_str);
        let name = name.or(reader.text("header")).unwrap_or("Authorization");
        let location = match place {
            "header" => "header",
            "request_parameter" => "query",
            other => return self.out.refuse(reader.at("inject_into"), format!("a key in `{other}`"), ""),
        };
        match token {
            token @ (Expr::Call(..) | Expr::Raw(_)) => {
                let arguments = vec![Expr::text(name), token, Expr::text(location)];
                self.out.api.set("auth", Expr::Call("api_key", arguments));
            }
            // `Token ${secret("X")}` is a header's value, and no key.
            text if location == "header" => self.out.api.set_in("headers", name, text),
            _ => self.out.refuse(reader.at("api_token"), "a key of several parts in the query", ""),
        }
    }

    fn oauth(&mut self, reader: &Reader<'_>, parameters: &Map<String, Value>) {
        let grant = reader.text("grant_type").unwrap_or("refresh_token");
        let names = [
            "refresh_token",
            "token_expiry_date",
            "token_expiry_date_format",
            "refresh_token_updater",
            "access_token_name",
            "expires_in_name",
            "access_token_value",
            "refresh_token_name",
            "client_id_name",
            "client_secret_name",
            "grant_type_name",
        ];
        for name in names {
            reader.refuse(name, "an attribute of OAuth2 that has no place here", "", &mut self.out.unsupported);
        }
        let url = reader.text("token_refresh_endpoint").unwrap_or_default();
        if grant != "client_credentials" {
            let hint =
                "client credentials are known; with a token of long life, write `auth = bearer(secret(\"TOKEN\"))`";
            self.out.refuse(reader.at("grant_type"), format!("the grant `{grant}`"), hint);
        }
        let mut block = Block::new("oauth2_client_credentials");
        let scope = super::Scope::default();
        let url = self.text(url, &reader.at("token_refresh_endpoint"), &scope, parameters).expr;
        block.set("access_token_url", url);
        let id = reader.text("client_id").unwrap_or_default();
        let id = self.text(id, &reader.at("client_id"), &scope, parameters).expr;
        block.set("client_id", id);
        let secret = reader.text("client_secret").unwrap_or_default();
        let secret = self.secret_text(secret, "CLIENT_SECRET", &reader.at("client_secret"), parameters);
        block.set("client_secret", secret);
        let scopes = reader.texts("scopes");
        if !scopes.is_empty() {
            block.set("scopes", Expr::List(scopes.iter().map(Expr::text).collect()));
        }
        let body = reader.get("refresh_request_body").and_then(Value::as_object);
        for (name, value) in body.into_iter().flatten() {
            let place = format!("{}.{name}", reader.at("refresh_request_body"));
            match value {
                Value::String(text) => {
                    let text = self.text(text, &place, &scope, parameters).expr;
                    block.set_in("access_token_request_data", name, text);
                }
                _ => self.out.refuse(place, "is no text", ""),
            }
        }
        self.out.api.blocks.push(block);
    }
}
