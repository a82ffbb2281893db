//! Reference tables in Parquet: names and types are the file's own.

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::error::LoadError;
use crate::rows::check_names;
use crate::source::Limits;

/// Rows of one batch.
const BATCH_ROWS: usize = 65_536;

/// Reads the rows of some files, which are named for errors.
pub(crate) fn read(files: &[(String, Bytes)], limits: Limits) -> Result<Vec<RecordBatch>, LoadError> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut columns: Option<SchemaRef> = None;
    let (mut rows, mut size) = (0, 0);
    for (place, bytes) in files {
        let wrong =
            |source: Box<dyn std::error::Error + Send + Sync>| LoadError::Parquet { place: place.clone(), source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| wrong(error.into()))?;
        rows += u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        if rows > limits.rows_max {
            return Err(LoadError::TooManyRows { place: place.clone(), rows_max: limits.rows_max });
        }
        // Without the metadata of the writer: it says nothing of the rows.
        let found = SchemaRef::new(builder.schema().as_ref().clone().with_metadata(Default::default()));
        match &columns {
            None => {
                check_names(place, &found)?;
                columns = Some(found);
            }
            Some(first) if first.fields() == found.fields() => {}
            Some(first) => {
                let differs = first.fields().iter().zip(found.fields()).find(|(first, found)| first != found);
                let difference = match differs {
                    Some((first, found)) => format!(
                        "`{}` {}, and not `{}` {}",
                        found.name(),
                        found.data_type(),
                        first.name(),
                        first.data_type()
                    ),
                    None => format!("{} columns, and not {}", found.fields().len(), first.fields().len()),
                };
                return Err(LoadError::Differs { place: place.clone(), difference });
            }
        }
        for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(|error| wrong(error.into()))? {
            let batch = batch.map_err(|error| wrong(error.into()))?;
            size += batch.get_array_memory_size() as u64;
            if size > limits.bytes_max {
                return Err(LoadError::TooLarge { place: place.clone(), bytes_max: limits.bytes_max });
            }
            let columns = columns.clone().unwrap_or_else(|| batch.schema());
            let batch = batch.with_schema(columns).map_err(|error| wrong(error.into()))?;
            batches.push(batch);
        }
    }
    if let (true, Some(columns)) = (batches.is_empty(), columns) {
        batches.push(RecordBatch::new_empty(columns));
    }
    Ok(batches)
}
