//! Records of messages: from the last blocks that were written or read, or from the log.
//!
//! Invariant: the blocks that are kept have at most so many bytes, one block more at most.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use weir_log::{Log, ReadError, ReadLimit};
use weir_types::SequenceNumber;

use crate::command::{Written, written};

/// What a block costs beside its payload and the spans in it.
const BLOCK_OVERHEAD: usize = 128;

/// One queue's payloads.
#[derive(Debug)]
pub(crate) struct Payloads {
    recent: Mutex<Recent>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Recent {
    blocks: BTreeMap<u64, Arc<Written>>,
    order: VecDeque<u64>,
    bytes: usize,
}

fn cost(block: &Written) -> usize {
    block.payload.len() + block.spans.len() * size_of::<(u32, u32)>() + BLOCK_OVERHEAD
}

impl Payloads {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { recent: Mutex::default(), bytes_max }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Nothing in here panics while it holds the lock.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a block, and drops those that came first. Blocks without messages are not kept.
    pub(crate) fn keep(&self, block: Written) {
        if block.spans.is_empty() || cost(&block) > self.bytes_max {
            return;
        }
        let mut recent = self.recent();
        recent.bytes += cost(&block);
        recent.order.push_back(block.first);
        if let Some(before) = recent.blocks.insert(block.first, Arc::new(block)) {
            // Two receivers have read it at once. The order has it twice, and the second drop finds nothing.
            recent.bytes -= cost(&before);
        }
        while recent.bytes > self.bytes_max {
            let Some(first) = recent.order.pop_front() else { break };
            if let Some(block) = recent.blocks.remove(&first) {
                recent.bytes -= cost(&block);
            }
        }
    }

    /// Returns the record that lies at a place, if its block is kept.
    pub(crate) fn recent_record(&self, place: u64) -> Option<Bytes> {
        let block = {
            let recent = self.recent();
            let (_, block) = recent.blocks.range(..=place).next_back()?;
            Arc::clone(block)
        };
        block.record(place)
    }

    /// Returns the record that lies at a place.
    ///
    /// # Errors
    /// See [`ReadError`]; `Trimmed` if the message was copied forward since somebody has looked where it lies.
    pub(crate) async fn record(&self, log: &dyn Log, place: u64) -> Result<Bytes, ReadError> {
        if let Some(record) = self.recent_record(place) {
            return Ok(record);
        }
        let damaged = |what: &str| ReadError::Damaged {
            log: log.name().clone(),
            from: SequenceNumber(place),
            to: SequenceNumber(place + 1),
            place: what.to_owned(),
        };
        let blocks = log.read(SequenceNumber(place), ReadLimit { bytes_max: 1 }).await?;
        let block = blocks.into_iter().next().ok_or_else(|| damaged("there is no such place"))?;
        let block = written(block.first.0, block.records, block.payload).map_err(|error| damaged(error.0))?;
        let record = block.record(place).ok_or_else(|| damaged("no message begins there"))?;
        self.keep(block);
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Writer};

    #[test]
    fn the_last_blocks_are_kept_within_their_bound() {
        let payloads = Payloads::new(10_000);
        for place in 0..100 {
            let mut writer = Writer::new(0, place);
            let record = [place as u8; 1000];
            writer.put(&Command::Message { sent_at: 0, visible_at: 0, record: &record });
            for block in writer.finish().0 {
                payloads.keep(block.clone());
                payloads.keep(block);
            }
            assert!(payloads.recent().bytes <= 10_000 && payloads.recent().order.len() < 20);
        }
        assert_eq!(payloads.recent_record(99).unwrap(), vec![99; 1000]);
        assert_eq!(payloads.recent_record(10), None);
    }
}
