//! Sorting: batches as they come become runs.

use arrow::array::RecordBatch;

use super::CompactError;
use super::order::{Keys, Order};
use super::run::{Form, Run, RunWriter, gather};
use super::scratch::Scratch;

/// Bytes that sorting takes per row beside the row.
const ROW_BYTES: u64 = 64;

/// Rows that are to become one run.
pub(crate) struct Sorter {
    form: Form,
    order: Order,
    batches: Vec<RecordBatch>,
    keys: Vec<Keys>,
    rows: usize,
    bytes: u64,
}

impl Sorter {
    pub(crate) fn new(form: Form, order: Order) -> Self {
        Self { form, order, batches: Vec::new(), keys: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Takes rows in the form of runs.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<(), CompactError> {
        let keys = self.form.keys(&batch, &self.order)?;
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size() as u64 + keys.memory() as u64 + batch.num_rows() as u64 * ROW_BYTES;
        self.batches.push(batch);
        self.keys.push(keys);
        Ok(())
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the bytes that they take, and will take while they are sorted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn places(&self) -> Vec<(usize, usize)> {
        let all = self.keys.iter().enumerate().flat_map(|(batch, keys)| {
            keys.heads.iter().enumerate().map(move |(row, head)| (*head, batch as u32, row as u32))
        });
        let mut all: Vec<(u128, u32, u32)> = all.collect();
        // Stable, since that sort makes use of stretches that are in order already.
        if self.keys.iter().all(Keys::are_heads) {
            all.sort_by_key(|(head, ..)| *head);
        } else {
            all.sort_by(|(_, batch, row), (_, other, other_row)| {
                self.keys[*batch as usize].compare(*row as usize, &self.keys[*other as usize], *other_row as usize)
            });
        }
        all.into_iter().map(|(_, batch, row)| (batch as usize, row as usize)).collect()
    }

    /// Sorts them and leaves them in memory.
    pub(crate) fn into_memory(self, block_rows: usize) -> Run {
        let places = self.places();
        let Self { batches, keys, .. } = self;
        Run::in_memory(batches, places, |batch, row| keys[batch].key(row), block_rows)
    }

    /// Sorts them into scratch. This is empty afterwards.
    pub(crate) fn spill(&mut self, scratch: &Scratch, block_rows: usize) -> Result<Run, CompactError> {
        let places = self.places();
        let mut writer = RunWriter::new(scratch, &self.form)?;
        let sources: Vec<&RecordBatch> = self.batches.iter().collect();
        for block in places.chunks(block_rows.max(1)) {
            let (batch, row) = block[0];
            writer.write(&gather(&sources, block)?, self.keys[batch].key(row))?;
        }
        self.batches.clear();
        self.keys.clear();
        (self.rows, self.bytes) = (0, 0);
        writer.finish()
    }
}

/// Returns how many rows make a block of `bytes` where all take about so many.
pub(crate) fn block_rows(bytes: u64, rows: u64, of_bytes: u64) -> usize {
    const ROWS_MIN: u64 = 16;
    const ROWS_MAX: u64 = 8192;
    let fitting = bytes.saturating_mul(rows.max(1)) / of_bytes.max(1);
    usize::try_from(fitting.clamp(ROWS_MIN, ROWS_MAX)).unwrap_or(ROWS_MAX as usize)
}
