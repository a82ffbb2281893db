mod answers;
mod secrets;
mod server;
mod tokens;

use std::time::Duration;

use bytes::Bytes;
use weir_env::Env;

use self::server::Server;
use super::{Http, Limits};
use crate::spec::{Auth, Client};
use crate::{Answer, Method, Request, Transport, TransportError};

const MAX: u64 = 100_000;

fn client(server: &Server, auth: Auth) -> Client {
    Client {
        base_url: server.url("/"),
        headers: Vec::new(),
        auth,
        paginator: None,
        timeout: Duration::from_secs(20),
        answer_bytes_max: MAX,
    }
}

fn http(server: &Server, auth: Auth) -> Http {
    Http::new(&client(server, auth), Env::system(), Limits::default()).unwrap()
}

fn get(server: &Server, path: &str) -> Request {
    Request { method: Method::Get, url: server.url(path), headers: Vec::new(), body: Bytes::new() }
}

async fn ask(server: &Server) -> Result<Answer, TransportError> {
    http(server, Auth::None).call(get(server, "/")).await
}
