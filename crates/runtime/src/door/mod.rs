//! The door: bytes of a body in, durable records out.
//!
//! ```text
//! body --decompress--> split --check and encode--> chunks per shard --log--> Report
//! ```
//!
//! Everything streams: a body is never in memory as a whole, and neither are its records. What is good is stored, what is
//! not is reported by line, field and reason. Invariant: what the report calls stored is durable.

mod body;
mod format;
mod held;
mod parse;
mod report;
mod room;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use body::{BodyError, SILENCE_MAX};
use bytes::Bytes;
pub use format::{Encoding, Format, UnknownEncoding, UnknownFormat};
use futures::Stream;
pub use report::{Place, REFUSALS_LISTED_MAX, Refusal, Report};
pub use room::{DOOR_BYTES_MAX, NoRoom};
use weir_stream::{Receipt, WriteError};
use weir_types::{ProducerId, StreamName};

pub(crate) use self::body::Body;
pub(crate) use self::parse::{Parser, Sink};
pub(crate) use self::room::Room;
use crate::dead::{ACTIONS, DEAD_LETTERS, DeadLetterError};
use crate::node::Node;

/// How a body is to be read.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where its records go.
    pub stream: StreamName,
    /// In which form they are.
    pub format: Format,
    /// How the body is compressed.
    pub encoding: Encoding,
    /// Who sends, and which of its batches this is, so that a repeat is recognised.
    pub batch: Option<(ProducerId, u64)>,
}

/// Why a body was not taken as a whole. What the report calls stored is stored all the same.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// There is no such stream.
    #[error("there is no stream `{stream}`")]
    NoStream {
        /// As asked for.
        stream: StreamName,
    },
    /// The door is full.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The stream is one that weir alone writes.
    #[error("`{stream}` is a stream of weir's own, and takes no records")]
    Own {
        /// As asked for.
        stream: StreamName,
    },
    /// The body can't be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is not of the form that its content type says.
    #[error("{reason}")]
    Malformed {
        /// Why, in words, with the place.
        reason: String,
    },
    /// The log did not take the records.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Records of an unknown schema could not be kept.
    #[error("keep records of an unknown schema")]
    DeadLetter(#[from] DeadLetterError),
}

/// A delivery that ended early: why, and what became of the records before.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Why.
    #[source]
    pub error: DeliverError,
    /// What is known to be durable, and what was refused until then.
    pub report: Report,
}

impl Node {
    /// Takes in one body, and returns when its good records are durable.
    ///
    /// Dropping the future stores what was flushed until then; a stamped batch may be sent again.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub async fn deliver(
        &self,
        delivery: Delivery,
        chunks: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<Report, Box<Failed>> {
        let mut report = Report::default();
        match self.take_in(delivery, chunks, &mut report).await {
            Ok(()) => Ok(report),
            Err(error) => Err(Box::new(Failed { error, report })),
        }
    }

    async fn take_in(
        &self,
        delivery: Delivery,
        chunks: impl Stream<Item = io::Result<Bytes>> + Send,
        report: &mut Report,
    ) -> Result<(), DeliverError> {
        let stream =
            self.stream(&delivery.stream).ok_or_else(|| DeliverError::NoStream { stream: delivery.stream.clone() })?;
        // What they say is done: a record that came from outside would be believed.
        if [DEAD_LETTERS, ACTIONS].contains(&delivery.stream.as_str()) {
            return Err(DeliverError::Own { stream: delivery.stream.clone() });
        }
        let mut body = Body::new(self.env().clone(), delivery.encoding, chunks);
        // The first bytes before the room and the producer's turn: a silent sender holds up nobody.
        let mut chunk = body.next().await?;
        let mut share = self.room().enter().await?;
        let writer = stream.stream.write(delivery.batch).await?;
        let mut sink = Sink::new(self.env(), stream.clone(), writer, report);
        let mut parser = Parser::new(stream, delivery.format, Arc::new(self.registry().clone()));
        let result = async {
            while let Some(bytes) = chunk {
                share.grow(bytes.len()).await?;
                parser.feed(&bytes, &mut sink)?;
                sink.flush(self.dead_letters()).await?;
                chunk = body.next().await?;
            }
            parser.finish(&mut sink)?;
            sink.flush(self.dead_letters()).await
        }
        .await;
        let receipt = match result {
            Ok(()) => sink.finish().await,
            Err(error) => Err(sink.fail(error).await),
        };
        let (result, receipt) = match receipt {
            Ok(receipt) => (Ok(()), receipt),
            Err((error, receipt)) => (Err(error), receipt),
        };
        take_receipt(report, &receipt);
        let answered = report.stored + report.repeated + report.refused + report.dead_lettered;
        let counters = &stream.counters;
        // Received first: the books must never see an answer without its record.
        counters.received.fetch_add(report.received, Ordering::Release);
        counters.stored.fetch_add(report.stored, Ordering::Release);
        counters.repeated.fetch_add(report.repeated, Ordering::Release);
        counters.refused.fetch_add(report.refused, Ordering::Release);
        counters.dead_lettered.fetch_add(report.dead_lettered, Ordering::Release);
        if result.is_err() {
            counters.failed.fetch_add(report.received.saturating_sub(answered), Ordering::Release);
        }
        result
    }
}

fn take_receipt(report: &mut Report, receipt: &Receipt) {
    report.stored = receipt.stored;
    report.repeated = receipt.repeated;
    report.places = receipt.places.iter().map(|&(shard, first, records)| Place { shard, first, records }).collect();
}
