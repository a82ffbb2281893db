//! The service: one request in, one answer out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_env::Env;
use weir_queue::Queues;

use crate::access::{Access, Anyone, Credential};
use crate::action::{self, Context};
use crate::address::{self, Address};
use crate::error::{ErrorCode, Failure};
use crate::purges::Purges;
use crate::wire::{self, Answer, Call, Protocol};

/// In what pieces room for requests is given out, in bytes.
const ROOM_UNIT: usize = 4096;

/// What the service is told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The account in queues' URLs and names (ARNs): twelve digits. Default `000000000000`.
    pub account: String,
    /// The region in names (ARNs). Default `us-east-1`.
    pub region: String,
    /// A request's body, in bytes. Default 7 MiB: a batch of 1 MiB, each byte of which may be escaped by six (`\u003c`), and its frame.
    pub body_bytes_max: usize,
    /// Bodies that are read or worked on at once, in bytes. Default 64 MiB. More requests wait, and at last are throttled.
    pub room_bytes_max: usize,
    /// How long a body may take to arrive, and before it a request to be let in. Default 30 s.
    pub body_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            body_bytes_max: 7 << 20,
            room_bytes_max: 64 << 20,
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// The SQS wire API of a node's queues.
pub struct Sqs {
    queues: Arc<Queues>,
    env: Env,
    options: Options,
    address: Address,
    access: Arc<dyn Access>,
    purges: Purges,
    /// Room for requests, in units of [`ROOM_UNIT`] bytes.
    room: Arc<Semaphore>,
}

impl std::fmt::Debug for Sqs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqs").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Sqs {
    /// Serves `queues` to anyone.
    pub fn new(queues: Arc<Queues>, env: Env, options: Options) -> Self {
        let address = Address { account: options.account.clone(), region: options.region.clone() };
        let room = Arc::new(Semaphore::new(units(options.room_bytes_max.max(options.body_bytes_max))));
        Self { queues, env, options, address, access: Arc::new(Anyone), purges: Purges::default(), room }
    }

    /// Asks `access` about every request.
    #[must_use]
    pub fn guarded_by(mut self, access: Arc<dyn Access>) -> Self {
        self.access = access;
        self
    }

    /// Tells whether a request is SQS's: by its `X-Amz-Target`, by `Action=` in the query, as a form posted to `/`, or by a path
    /// `/ACCOUNT/QUEUE`. The port is shared with other wire APIs, and they all use `POST /`; a form that is signed for another
    /// service is theirs.
    pub fn speaks(head: &Parts) -> bool {
        wire::speaks(head)
    }

    /// Answers one request, whatever it is, in its own protocol. Dropping the future ends a long poll, and takes no message.
    pub async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let answer = Answer { protocol: Protocol::of(&head), request_id: self.request_id() };
        match self.admit(&head, body).await {
            Ok((call, permit)) => {
                let context = Context {
                    queues: &self.queues,
                    env: &self.env,
                    address: &self.address,
                    purges: &self.purges,
                    base: address::base(&head),
                };
                action::run(&context, call, &answer, permit).await
            }
            Err(failure) => answer.failure(&failure),
        }
    }

    /// Takes a request in: room for its body, the body, and whether its sender may.
    async fn admit(&self, head: &Parts, body: Body) -> Result<(Call, OwnedSemaphorePermit), Failure> {
        let bytes = wire::announced(&head.headers, self.options.body_bytes_max);
        let limit = self.options.body_timeout;
        let room = Arc::clone(&self.room).acquire_many_owned(u32::try_from(units(bytes)).unwrap_or(u32::MAX));
        // The semaphore is never closed: what fails is the time.
        let Some(Ok(permit)) = self.env.within(limit, room).await else {
            return Err(Failure::new(
                ErrorCode::RequestThrottled,
                "Rate exceeded: too many large requests at once. Try again.",
            ));
        };
        let body = wire::read_body(head, body, &self.env, self.options.body_bytes_max, limit).await?;
        self.access
            .check(Credential::of(head).as_ref(), head, &body)
            .map_err(|denied| Failure::new(ErrorCode::AccessDenied, denied.reason))?;
        Ok((Call::parse(head, body)?, permit))
    }

    /// Makes a request's id, in the form of a random UUID.
    fn request_id(&self) -> String {
        let (high, low) = (self.env.random(), self.env.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }
}

/// How many units of room so many bytes take, at least one.
fn units(bytes: usize) -> usize {
    bytes.div_ceil(ROOM_UNIT).clamp(1, Semaphore::MAX_PERMITS)
}
