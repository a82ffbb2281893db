//! One log's part of the contract.

use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use weir_types::{LogName, SequenceNumber, Timestamp};

use super::format::frame::frame_bytes;
use super::queue::{Request, SummedBlock};
use super::read::Reader;
use crate::limits::check;
use crate::{AppendError, Block, Bounds, Condition, Log, ReadError, ReadLimit, StoredBlock, TrimError};

/// A log of a [`LocalEngine`](super::LocalEngine).
#[derive(Debug)]
pub(crate) struct LocalLog {
    reader: Reader,
}

impl LocalLog {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader }
    }

    async fn append_blocks(&self, blocks: Vec<Block>, condition: Condition) -> Result<SequenceNumber, AppendError> {
        let Reader { shared, log, name } = &self.reader;
        check(name, &blocks)?;
        let bytes = blocks.iter().map(|block| frame_bytes(block.payload.len())).sum();
        // Summed here, by the many callers, and not by the one writer.
        let sum = |Block { records, payload }: Block| SummedBlock { records, crc: crc32c::crc32c(&payload), payload };
        let blocks = blocks.into_iter().map(sum).collect();
        let (done, answer) = oneshot::channel();
        let submitted = shared.queue.submit(Request::Append { log: *log, blocks, condition, done }, bytes);
        submitted.map_err(|refusal| refusal.for_log(name))?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    async fn trim_to(&self, to: SequenceNumber) -> Result<(), TrimError> {
        let Reader { shared, log, name } = &self.reader;
        let (done, answer) = oneshot::channel();
        let submitted = shared.queue.submit(Request::Trim { log: *log, to, done }, frame_bytes(0));
        submitted.map_err(|refusal| refusal.for_log(name))?;
        answer.await.unwrap_or(Err(AppendError::Closed.into()))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let reader = self.reader.clone();
        // It fails only while the runtime shuts down.
        spawn_blocking(move || work(&reader)).await.unwrap_or(Err(ReadError::Closed))
    }
}

impl Log for LocalLog {
    fn name(&self) -> &LogName {
        &self.reader.name
    }

    fn append(&self, blocks: Vec<Block>, condition: Condition) -> BoxFuture<'_, Result<SequenceNumber, AppendError>> {
        Box::pin(self.append_blocks(blocks, condition))
    }

    fn read(&self, from: SequenceNumber, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<StoredBlock>, ReadError>> {
        Box::pin(async move {
            if let Some(read) = self.reader.read_cached(from, limit) {
                return read;
            }
            self.blocking(move |reader| reader.read(from, limit)).await
        })
    }

    fn bounds(&self) -> Bounds {
        self.reader.shared.index().log(self.reader.log).bounds()
    }

    fn bytes(&self) -> u64 {
        self.reader.shared.index().log(self.reader.log).payload_bytes()
    }

    fn seek(&self, time: Timestamp) -> BoxFuture<'_, Result<SequenceNumber, ReadError>> {
        Box::pin(async move {
            if self.reader.shared.is_closed() {
                return Err(ReadError::Closed);
            }
            self.blocking(move |reader| reader.seek(time)).await
        })
    }

    fn trim(&self, to: SequenceNumber) -> BoxFuture<'_, Result<(), TrimError>> {
        Box::pin(self.trim_to(to))
    }

    fn tail(&self) -> watch::Receiver<SequenceNumber> {
        self.reader.shared.index().log(self.reader.log).watch.subscribe()
    }
}
