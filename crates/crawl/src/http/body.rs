//! Bodies: read in chunks, decompressed as they come, and refused once they are too large.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};

use super::error::reason;
use crate::TransportError;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

impl Encoding {
    /// Reads `Content-Encoding`; None for one that was not asked for.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Plain),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Reads a body to its end.
///
/// # Errors
/// [`TransportError::CutOff`] if it ends early, [`TransportError::TooLarge`] beyond `max` bytes, on the wire or decompressed.
pub(super) async fn read(
    response: &mut reqwest::Response,
    encoding: Encoding,
    max: u64,
) -> Result<Bytes, TransportError> {
    let status = response.status().as_u16();
    let too_large = || TransportError::TooLarge { status, max };
    // A length that is announced is refused before it is read.
    if encoding == Encoding::Plain && response.content_length().is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let mut sink: Option<Sink> = None;
    let mut wire: u64 = 0;
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => return Err(TransportError::CutOff { status, bytes: wire, reason: reason(error) }),
        };
        wire += chunk.len() as u64;
        if wire > max {
            return Err(too_large());
        }
        // Most answers are one chunk, which is taken as it is.
        if encoding == Encoding::Plain && sink.is_none() && response.content_length() == Some(wire) {
            end(response, status, wire).await?;
            return Ok(chunk);
        }
        let sink = sink.get_or_insert_with(|| Sink::new(encoding, max));
        if let Err(error) = sink.write_all(&chunk) {
            let cut_off = || TransportError::CutOff { status, bytes: wire, reason: broken(&error) };
            return Err(if sink.is_full() { too_large() } else { cut_off() });
        }
    }
    let Some(sink) = sink else { return Ok(Bytes::new()) };
    match sink.finish() {
        Ok(body) => Ok(body),
        Err(Full::Size) => Err(too_large()),
        Err(Full::Broken(error)) => Err(TransportError::CutOff { status, bytes: wire, reason: broken(&error) }),
    }
}

/// Waits for the end that follows a body's last byte, so that its connection is free for the next call.
async fn end(response: &mut reqwest::Response, status: u16, bytes: u64) -> Result<(), TransportError> {
    match response.chunk().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(TransportError::CutOff { status, bytes, reason: "it goes on behind its length".to_owned() }),
        Err(error) => Err(TransportError::CutOff { status, bytes, reason: reason(error) }),
    }
}

fn broken(error: &io::Error) -> String {
    format!("its compression is broken off or damaged ({error})")
}

/// Where decompressed bytes go.
enum Sink {
    Plain(Bounded),
    Gzip(MultiGzDecoder<Bounded>),
    Deflate(ZlibDecoder<Bounded>),
}

enum Full {
    Size,
    Broken(io::Error),
}

impl Sink {
    fn new(encoding: Encoding, max: u64) -> Self {
        let bounded = Bounded { bytes: Vec::new(), max, full: false };
        match encoding {
            Encoding::Plain => Self::Plain(bounded),
            Encoding::Gzip => Self::Gzip(MultiGzDecoder::new(bounded)),
            Encoding::Deflate => Self::Deflate(ZlibDecoder::new(bounded)),
        }
    }

    fn write_all(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(chunk),
            Self::Gzip(sink) => sink.write_all(chunk),
            Self::Deflate(sink) => sink.write_all(chunk),
        }
    }

    fn bounded(&self) -> &Bounded {
        match self {
            Self::Plain(sink) => sink,
            Self::Gzip(sink) => sink.get_ref(),
            Self::Deflate(sink) => sink.get_ref(),
        }
    }

    fn is_full(&self) -> bool {
        self.bounded().full
    }

    fn finish(mut self) -> Result<Bytes, Full> {
        let ended = match &mut self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(sink) => sink.try_finish(),
            Self::Deflate(sink) => sink.try_finish(),
        };
        if self.is_full() {
            return Err(Full::Size);
        }
        ended.map_err(Full::Broken)?;
        let bounded = match &mut self {
            Self::Plain(sink) => sink,
            Self::Gzip(sink) => sink.get_mut(),
            Self::Deflate(sink) => sink.get_mut(),
        };
        Ok(Bytes::from(std::mem::take(&mut bounded.bytes)))
    }
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    max: u64,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.max {
            self.full = true;
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
