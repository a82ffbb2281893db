//! Ids of rows, for whoever compares what should be there with what is.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::{BoxStream, StreamExt};

use crate::columns;
use crate::error::{AppendError, FileError};
use crate::file::DataFile;
use crate::place::Place;
use crate::reader::Reader;
use crate::route;
use crate::table::Table;

/// Some rows of a file: the columns that make them unique, and their ids.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The columns of [`Spec::unique_by`](crate::Spec::unique_by), in their order.
    pub columns: RecordBatch,
    /// An id per row.
    pub ids: Vec<u128>,
}

impl Table {
    /// Returns where each row of a batch belongs, and its id: what an append would do. Ids are 0 in tables without.
    ///
    /// # Errors
    /// If the batch does not fit the table.
    pub fn identify(&self, batch: &RecordBatch) -> Result<Vec<(Place, u128)>, AppendError> {
        let batch = columns::conform(&self.spec.name, &self.columns(), batch)?;
        let cast = |source| AppendError::Cast { table: self.spec.name.clone(), column: "*".to_owned(), source };
        let routed = route::route(&self.spec, &self.hasher, batch, self.env.now()).map_err(cast)?;
        let rows = routed.place_of.iter().enumerate();
        let place = |at: u32| routed.places[at as usize];
        Ok(rows.map(|(row, at)| (place(*at), routed.ids.get(row).copied().unwrap_or(0))).collect())
    }

    /// Returns the committed files of a place.
    pub fn files_at(&self, place: Place) -> Vec<Arc<DataFile>> {
        self.state().files.at(place).to_vec()
    }

    /// Streams the ids of a file's rows, with the columns that they are made of.
    ///
    /// # Errors
    /// If the file can't be read, or lacks the columns.
    pub async fn keys_of(&self, file: Arc<DataFile>) -> Result<BoxStream<'static, Result<Keys, FileError>>, FileError> {
        let failed = {
            let path = file.location.clone();
            move |source: arrow::error::ArrowError| FileError {
                verb: "read",
                path: path.clone(),
                source: source.into(),
            }
        };
        let all = self.columns();
        let fields = self.spec.unique_by.iter().map(|name| all.field_with_name(name).cloned());
        let columns: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>().map_err(&failed)?));
        let reader = Reader::open(self.store.clone(), file).await?;
        let rows = reader.rows_as(&self.spec.name, &columns)?;
        let hasher = self.hasher.clone();
        let keys = rows.map(move |batch| {
            let columns = batch?;
            let ids = hasher.ids(columns.columns()).map_err(&failed)?;
            Ok(Keys { columns, ids })
        });
        Ok(keys.boxed())
    }
}
