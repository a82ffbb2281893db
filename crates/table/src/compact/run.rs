//! Runs: rows in the wanted order, in blocks, in memory or in scratch.
//!
//! A run's batches have the table's columns, then [`ORDINALS`], then [`IDS`] where ids were needed. A block is an Arrow IPC
//! message; what is known of it in memory is where it lies and its least key, so that a merge may begin anywhere.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::Buffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::writer::StreamEncoder;
use arrow_ipc::{Block, MetadataVersion};

use super::CompactError;
use super::order::{Key, Keys, Order};
use super::scratch::Scratch;

/// The column of ordinals.
const ORDINALS: &str = "\u{0}ordinal";
/// The column of ids, their bits read as a signed number.
const IDS: &str = "\u{0}id";
/// The one type of 128 bits that Arrow gathers as fast as numbers.
const ID_TYPE: DataType = DataType::Decimal128(38, 0);
/// What an IPC message begins with, and how long its header says that its metadata is.
const PREFIX_BYTES: usize = 8;
/// What blocks are written through.
const WRITE_BYTES: usize = 1 << 20;

/// The columns of runs.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    schema: SchemaRef,
    columns: SchemaRef,
    has_ids: bool,
}

impl Form {
    pub(crate) fn new(columns: SchemaRef, has_ids: bool) -> Self {
        let mut fields: Vec<_> = columns.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ORDINALS, DataType::UInt64, false)));
        if has_ids {
            fields.push(Arc::new(Field::new(IDS, ID_TYPE, false)));
        }
        Self { schema: Arc::new(Schema::new(fields)), columns, has_ids }
    }

    /// Adds ordinals and ids to rows of the table.
    pub(crate) fn attach(&self, batch: &RecordBatch, first: u64, ids: &[u128]) -> Result<RecordBatch, ArrowError> {
        let mut arrays = batch.columns().to_vec();
        arrays.push(Arc::new(UInt64Array::from_iter_values(first..first + batch.num_rows() as u64)));
        if self.has_ids {
            let ids = Decimal128Array::from_iter_values(ids.iter().map(|id| id.cast_signed()));
            arrays.push(Arc::new(ids.with_data_type(ID_TYPE)));
        }
        RecordBatch::try_new(self.schema.clone(), arrays)
    }

    /// Returns the keys of a run's batch.
    pub(crate) fn keys(&self, batch: &RecordBatch, order: &Order) -> Result<Keys, ArrowError> {
        let ordinals = batch.column(self.columns.fields().len());
        let ordinals = ordinals.as_primitive_opt::<UInt64Type>();
        let ordinals = ordinals.ok_or_else(|| ArrowError::SchemaError("a run without ordinals".to_owned()))?;
        order.keys(batch, ordinals.values().iter().copied())
    }

    /// Takes ordinals away: what a merge hands on.
    pub(crate) fn without_ordinals(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let at = self.columns.fields().len();
        let others: Vec<usize> = (0..batch.num_columns()).filter(|column| *column != at).collect();
        batch.project(&others)
    }

    /// Splits what a merge handed on into the table's rows and their ids, if they were noted.
    pub(crate) fn detach(&self, batch: RecordBatch) -> Result<(RecordBatch, Option<Vec<u128>>), ArrowError> {
        let count = self.columns.fields().len();
        let noted = batch.columns().get(count).and_then(|ids| ids.as_primitive_opt::<Decimal128Type>());
        let ids = noted.map(|ids| ids.values().iter().map(|id| id.cast_unsigned()).collect());
        let arrays: Vec<ArrayRef> = batch.columns().iter().take(count).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok((RecordBatch::try_new_with_options(self.columns.clone(), arrays, &options)?, ids))
    }
}

/// Where a block is, and how it begins.
struct Mark {
    least: Key,
    rows: usize,
    at: u64,
    bytes: usize,
}

/// Rows in order.
pub(crate) struct Run {
    marks: Vec<Mark>,
    body: Body,
}

enum Body {
    /// Batches as they came, and the rows' places in them.
    Memory {
        batches: Vec<RecordBatch>,
        places: Vec<(usize, usize)>,
        starts: Vec<usize>,
    },
    Scratch {
        file: File,
        decoder: FileDecoder,
    },
}

impl Run {
    /// A run in memory: `places` name rows of `batches`, in order.
    pub(crate) fn in_memory(
        batches: Vec<RecordBatch>,
        places: Vec<(usize, usize)>,
        key_of: impl Fn(usize, usize) -> Key,
        block_rows: usize,
    ) -> Self {
        let mut marks = Vec::with_capacity(places.len().div_ceil(block_rows));
        let mut starts = Vec::with_capacity(marks.capacity());
        for (index, block) in places.chunks(block_rows).enumerate() {
            let (batch, row) = block[0];
            marks.push(Mark { least: key_of(batch, row), rows: block.len(), at: 0, bytes: 0 });
            starts.push(index * block_rows);
        }
        Self { marks, body: Body::Memory { batches, places, starts } }
    }

    pub(crate) fn blocks(&self) -> usize {
        self.marks.len()
    }

    /// Returns the least key of each block, and its rows.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (&Key, usize)> {
        self.marks.iter().map(|mark| (&mark.least, mark.rows))
    }

    /// Returns the block in which rows from a key on begin.
    pub(crate) fn block_of(&self, key: &Key) -> usize {
        self.marks.partition_point(|mark| mark.least <= *key).saturating_sub(1)
    }

    /// Reads a block.
    pub(crate) fn load(&self, block: usize, scratch: &Scratch) -> Result<RecordBatch, CompactError> {
        let mark = &self.marks[block];
        match &self.body {
            Body::Memory { batches, places, starts } => {
                let start = starts[block];
                let sources: Vec<&RecordBatch> = batches.iter().collect();
                Ok(gather(&sources, &places[start..start + mark.rows])?)
            }
            Body::Scratch { file, decoder } => {
                let mut bytes = vec![0; mark.bytes];
                file.read_exact_at(&mut bytes, mark.at).map_err(|source| scratch.failed(source))?;
                let length = bytes.get(4..PREFIX_BYTES).and_then(|length| length.try_into().ok());
                let metadata = length.map_or(0, i32::from_le_bytes).saturating_add(PREFIX_BYTES as i32);
                let place = Block::new(0, metadata, 0);
                let batch = decoder.read_record_batch(&place, &Buffer::from_vec(bytes))?;
                batch.ok_or_else(|| ArrowError::IpcError("a spilled block is empty".to_owned()).into())
            }
        }
    }
}

/// Gathers rows: without a copy where they follow each other.
pub(crate) fn gather(sources: &[&RecordBatch], places: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    let Some((source, first)) = places.first().copied() else {
        return Err(ArrowError::InvalidArgumentError("no rows to gather".to_owned()));
    };
    let follow = places.iter().zip(first..).all(|(place, row)| *place == (source, row));
    if follow {
        return Ok(sources[source].slice(first, places.len()));
    }
    interleave_record_batch(sources, places)
}

/// Writes a run into scratch, block by block.
pub(crate) struct RunWriter<'a> {
    scratch: &'a Scratch,
    file: File,
    pending: Vec<u8>,
    encoder: StreamEncoder,
    form: Form,
    marks: Vec<Mark>,
    written: u64,
}

impl<'a> RunWriter<'a> {
    pub(crate) fn new(scratch: &'a Scratch, form: &Form) -> Result<Self, CompactError> {
        let mut encoder = StreamEncoder::try_new(&form.schema)?;
        // The schema comes with the first message, and is known anyway.
        encoder.encode(&RecordBatch::new_empty(form.schema.clone()))?;
        let pending = Vec::with_capacity(WRITE_BYTES);
        Ok(Self { scratch, file: scratch.file()?, pending, encoder, form: form.clone(), marks: Vec::new(), written: 0 })
    }

    /// Adds rows that come behind all before.
    pub(crate) fn write(&mut self, batch: &RecordBatch, least: Key) -> Result<(), CompactError> {
        let at = self.written;
        for buffer in self.encoder.encode(batch)? {
            self.put(buffer.as_slice())?;
        }
        let bytes = usize::try_from(self.written - at).unwrap_or(usize::MAX);
        self.marks.push(Mark { least, rows: batch.num_rows(), at, bytes });
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CompactError> {
        self.written += bytes.len() as u64;
        if self.pending.len() + bytes.len() > WRITE_BYTES {
            self.flush()?;
        }
        if bytes.len() > WRITE_BYTES {
            return self.file.write_all(bytes).map_err(|source| self.scratch.failed(source));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CompactError> {
        self.file.write_all(&self.pending).map_err(|source| self.scratch.failed(source))?;
        self.pending.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Run, CompactError> {
        self.flush()?;
        self.scratch.count(self.written);
        let decoder = FileDecoder::new(self.form.schema.clone(), MetadataVersion::V5);
        Ok(Run { marks: self.marks, body: Body::Scratch { file: self.file, decoder } })
    }
}
