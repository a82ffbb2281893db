//! A body's bytes as they come, decompressed, with an end to waiting.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;
use weir_env::Env;

use super::format::Encoding;

/// How long the door waits for the next bytes of a body.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;

/// A body that can't be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for [`SILENCE_MAX`].
    #[error("nothing came for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The connection broke.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// It is not what its content encoding says, or cut off.
    #[error("the body is not valid {encoding}: {reason}")]
    Encoding {
        /// What it should be.
        encoding: &'static str,
        /// What the decoder says.
        reason: String,
    },
}

/// The bytes of one body.
pub(crate) struct Body<'a> {
    env: Env,
    encoding: Encoding,
    source: Source<'a>,
    buffer: BytesMut,
}

type Chunks<'a> = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'a>>;

enum Source<'a> {
    Plain(Chunks<'a>),
    Decoded(Pin<Box<dyn AsyncRead + Send + 'a>>),
}

/// Marks an error of the connection, so that it is not taken for one of the decoder.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Connection(String);

impl<'a> Body<'a> {
    pub fn new(env: Env, encoding: Encoding, chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'a) -> Self {
        let chunks: Chunks<'a> =
            Box::pin(chunks.map(|chunk| chunk.map_err(|error| io::Error::other(Connection(error.to_string())))));
        let source = match encoding {
            Encoding::Identity => Source::Plain(chunks),
            Encoding::Gzip => {
                let mut decoder = GzipDecoder::new(StreamReader::new(chunks));
                decoder.multiple_members(true);
                Source::Decoded(Box::pin(decoder))
            }
            Encoding::Zstd => {
                let mut decoder = ZstdDecoder::new(StreamReader::new(chunks));
                decoder.multiple_members(true);
                Source::Decoded(Box::pin(decoder))
            }
        };
        Self { env, encoding, source, buffer: BytesMut::new() }
    }

    /// Returns the next bytes, `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let read = async {
            match &mut self.source {
                Source::Plain(chunks) => chunks.next().await.transpose(),
                Source::Decoded(reader) => {
                    self.buffer.reserve(READ_BYTES);
                    let read = reader.read_buf(&mut self.buffer).await?;
                    Ok((read > 0).then(|| self.buffer.split().freeze()))
                }
            }
        };
        let read = self.env.within(SILENCE_MAX, read).await.ok_or(BodyError::Silent)?;
        read.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<Connection>()) {
            Some(broken) => BodyError::Broken(broken.to_string()),
            None => BodyError::Encoding {
                encoding: match self.encoding {
                    Encoding::Gzip => "gzip",
                    Encoding::Zstd => "zstd",
                    Encoding::Identity => "data",
                },
                reason: error.to_string(),
            },
        })
    }
}
