//! What every engine refuses, so that an append that one takes is taken by all.

use weir_types::LogName;
use weir_types::limits::APPEND_BYTES_MAX;

use crate::{AppendError, Block};

/// Blocks of one append.
pub const BLOCKS_MAX: usize = 4096;

/// Logs of one engine.
pub const LOGS_MAX: usize = 65_536;

/// Records that a block may have beyond one per byte of its payload, so that records without bytes can be stored. With the
/// rest it bounds the records that any stretch of a damaged file can have held.
pub const SPARE_RECORDS_MAX: usize = 64;

/// Checks an append against the limits and returns its payload bytes.
pub(crate) fn check(log: &LogName, blocks: &[Block]) -> Result<usize, AppendError> {
    let refuse = |what: String| Err(AppendError::Limit { log: log.clone(), what });
    if blocks.is_empty() {
        return refuse("no blocks".to_owned());
    }
    if blocks.len() > BLOCKS_MAX {
        return refuse(format!("{} blocks, and may have {BLOCKS_MAX}", blocks.len()));
    }
    if let Some(index) = blocks.iter().position(|block| block.records == 0) {
        return refuse(format!("no records in block {index}"));
    }
    if let Some(block) = blocks.iter().find(|block| block.records as usize > block.payload.len() + SPARE_RECORDS_MAX) {
        return refuse(format!(
            "{} records in a block of {} bytes, and it may have {SPARE_RECORDS_MAX} more than bytes",
            block.records,
            block.payload.len()
        ));
    }
    // Can't overflow: each length fits a `usize` of 64 bits, and there are few.
    let bytes: usize = blocks.iter().map(|block| block.payload.len()).sum();
    if bytes > APPEND_BYTES_MAX {
        return refuse(format!("{bytes} bytes, and may have {APPEND_BYTES_MAX}"));
    }
    Ok(bytes)
}
