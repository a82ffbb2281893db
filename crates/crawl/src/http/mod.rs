//! Requests over HTTP, and how the client shows who it is.
//!
//! Invariants: credentials (the client's headers and its [`Auth`](crate::spec::Auth)) go to the base URL's origin alone, wherever a
//! request, a next page or a redirect points. An answer is whole, or an error: a body that ends early, be it by its length,
//! its chunks or its compression, is [`CutOff`](crate::TransportError::CutOff). No more than `answer_bytes_max` bytes of a body
//! are held, before decompression and after it. No error and no debug print shows a credential.
//!
//! It retries nothing, but for one thing: a call that is answered with 401 under a token that was fetched (OAuth2) is made once
//! more with a new one. Pace, attempts and delays are the callers'.
//!
//! ```no_run
//! # async fn example(client: weir_crawl::spec::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use weir_crawl::http::{Http, Limits};
//! use weir_crawl::{Method, Request, Transport};
//!
//! let http = Http::new(&client, weir_env::Env::system(), Limits::default())?;
//! let url = client.base_url.join("pokemon?limit=100")?;
//! let answer = http.call(Request { method: Method::Get, url, headers: Vec::new(), body: bytes::Bytes::new() }).await?;
//! assert_eq!(answer.status, 200);
//! # Ok(()) }
//! ```

mod auth;
mod body;
mod client;
mod error;
mod token;

#[cfg(test)]
mod tests;

pub use client::{Http, Limits};
pub use error::HttpError;
