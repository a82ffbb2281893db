//! Talking to a server.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::Args;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use weir_server::ErrorBody;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may be silent while it answers.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Which server.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server's address
    #[arg(long, value_name = "URL", env = "WEIR_SERVER", default_value = "http://127.0.0.1:4566")]
    pub server: String,
}

/// No server answers at the address.
#[derive(Debug, thiserror::Error)]
#[error("no weir server answers at {server}: start one with `weir up`, or name another with --server or WEIR_SERVER")]
pub struct Unreachable {
    server: String,
}

/// The server refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Refused(pub ErrorBody);

/// Something answers that is not weir, or something between.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the server answered {status}: {text}")]
pub struct Foreign {
    /// The HTTP status.
    pub status: StatusCode,
    text: String,
}

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let base = args.server.trim_end_matches('/').to_owned();
        let base = if base.contains("://") { base } else { format!("http://{base}") };
        reqwest::Url::parse(&base).with_context(|| format!("`{base}` is not a server's address"))?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .context("prepare the HTTP client")?;
        Ok(Self { http, base })
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.http.delete(format!("{}{path}", self.base))
    }

    /// Sends a request; any answer is the caller's.
    pub async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        self.reach(request).await
    }

    /// Sends a request and reads its whole answer, whatever its status.
    pub async fn send_any(&self, request: RequestBuilder) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.reach(request).await?;
        let status = response.status();
        Ok((status, response.bytes().await?))
    }

    /// Sends a request; an answer that is no success is an error.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = self.reach(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(refusal(status, &response.bytes().await.unwrap_or_default()))
    }

    async fn reach(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        request.send().await.map_err(|error| {
            if error.is_connect() { anyhow!(Unreachable { server: self.base.clone() }) } else { anyhow!(error) }
        })
    }
}

/// Reads the error out of a server's answer.
pub fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let parsed = serde_json::from_slice::<Value>(body).ok();
    match parsed.and_then(|mut body| serde_json::from_value::<ErrorBody>(body["error"].take()).ok()) {
        Some(error) => anyhow!(Refused(error)),
        None => {
            let text: String = String::from_utf8_lossy(body).chars().take(500).collect();
            anyhow!(Foreign { status, text })
        }
    }
}

/// Runs a command's own work.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start")?;
    runtime.block_on(work)
}
