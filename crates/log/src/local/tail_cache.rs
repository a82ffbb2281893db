//! The newest blocks of each log, for readers that follow the tail.
//!
//! Invariant: what is held of a log is a suffix of it, without gaps; the oldest blocks of all logs go first.

use std::collections::{HashMap, VecDeque};

use weir_types::SequenceNumber;

use super::format::LogId;
use crate::{ReadLimit, StoredBlock};

/// What a block costs beside its payload.
const BLOCK_OVERHEAD: u64 = 128;

#[derive(Debug)]
pub(crate) struct TailCache {
    logs: HashMap<LogId, VecDeque<StoredBlock>>,
    order: VecDeque<LogId>,
    bytes: u64,
    bytes_max: u64,
}

impl TailCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { logs: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds a log's newest block.
    pub(crate) fn add(&mut self, log: LogId, block: StoredBlock) {
        self.bytes += cost(&block);
        self.logs.entry(log).or_default().push_back(block);
        self.order.push_back(log);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.drop_first(oldest);
        }
    }

    fn drop_first(&mut self, log: LogId) {
        let Some(blocks) = self.logs.get_mut(&log) else { return };
        if let Some(block) = blocks.pop_front() {
            self.bytes -= cost(&block);
        }
        if blocks.is_empty() {
            self.logs.remove(&log);
        }
    }

    /// Returns the blocks from the one that holds `from`; `None` if that one is not here.
    pub(crate) fn read(&self, log: LogId, from: SequenceNumber, limit: ReadLimit) -> Option<Vec<StoredBlock>> {
        let blocks = self.logs.get(&log)?;
        if blocks.front()?.first > from {
            return None;
        }
        let start = blocks.partition_point(|block| block.end() <= from);
        let mut room = limit.bytes_max;
        let mut found: Vec<StoredBlock> = Vec::new();
        for block in blocks.range(start..) {
            if !found.is_empty() && block.payload.len() > room {
                break;
            }
            room = room.saturating_sub(block.payload.len());
            found.push(block.clone());
        }
        (!found.is_empty()).then_some(found)
    }
}

fn cost(block: &StoredBlock) -> u64 {
    block.payload.len() as u64 + BLOCK_OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_types::Timestamp;

    use super::*;

    #[test]
    fn the_oldest_blocks_go_first_and_what_is_left_is_a_suffix() {
        let mut cache = TailCache::new(10 * (1000 + BLOCK_OVERHEAD));
        let block = |first| StoredBlock {
            first: SequenceNumber(first),
            records: 1,
            appended_at: Timestamp(0),
            payload: Bytes::from(vec![0; 1000]),
        };
        for first in 0..20 {
            cache.add(LogId(u32::from(first >= 18)), block(first));
        }
        let all = ReadLimit { bytes_max: usize::MAX };
        assert_eq!(cache.read(LogId(0), SequenceNumber(9), all), None);
        assert_eq!(cache.read(LogId(0), SequenceNumber(10), all).unwrap().len(), 8);
        assert_eq!(cache.read(LogId(1), SequenceNumber(19), all).unwrap()[0].first.0, 19);
        assert_eq!(cache.read(LogId(0), SequenceNumber(12), ReadLimit { bytes_max: 2500 }).unwrap().len(), 2);
        assert!(cache.bytes <= cache.bytes_max);
    }
}
