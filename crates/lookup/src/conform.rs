//! Rows brought into the columns that they must have.
//!
//! Columns are found by name; others are left out, and named. Invariant: a value keeps its meaning to the last digit, or the
//! rows are refused: a cast is undone, and must give what was there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::LoadError;
use crate::rows::type_name;

/// Rows in the columns that were wanted.
pub(crate) struct Conformed {
    pub(crate) batches: Vec<RecordBatch>,
    /// Columns of the source that were not.
    pub(crate) left_out: Vec<String>,
}

/// Brings rows into the wanted columns.
///
/// # Errors
/// If a column is not there, or has a value that does not fit.
pub(crate) fn conform(place: &str, batches: &[RecordBatch], wanted: &SchemaRef) -> Result<Conformed, LoadError> {
    let found = batches.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(Schema::empty()));
    let mut places = Vec::new();
    for field in wanted.fields() {
        let index = found.index_of(field.name());
        places.push(index.map_err(|_| LoadError::NoColumn { place: place.to_owned(), column: field.name().clone() })?);
    }
    let left_out = found.fields().iter().enumerate().filter(|(index, _)| !places.contains(index));
    let left_out = left_out.map(|(_, field)| field.name().clone()).collect();
    let conformed = batches.iter().map(|batch| {
        let columns = places.iter().zip(wanted.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(index, field)| column(place, batch.column(*index), field)).collect::<Result<_, _>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &rows)
            .map_err(|source| LoadError::Build { place: place.to_owned(), source })
    });
    Ok(Conformed { batches: conformed.collect::<Result<_, _>>()?, left_out })
}

fn column(place: &str, found: &ArrayRef, wanted: &Field) -> Result<ArrayRef, LoadError> {
    let (from, to) = (found.data_type(), wanted.data_type());
    let misfit = |reason: String| LoadError::Misfit {
        place: place.to_owned(),
        column: wanted.name().clone(),
        wanted: type_name(to),
        reason,
    };
    if found.null_count() > 0 && !wanted.is_nullable() {
        return Err(misfit("it has nulls now, and had none".to_owned()));
    }
    if from == to {
        return Ok(Arc::clone(found));
    }
    if !can_cast_types(from, to) {
        return Err(misfit(format!("it is {}", type_name(from))));
    }
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(found, to, &exact).map_err(|error| misfit(error.to_string()))?;
    // What was text is read, and what becomes text is written: neither has digits to lose.
    if is_text(from) || is_text(to) || matches!(from, DataType::Null) {
        return Ok(cast);
    }
    match cast_with_options(&cast, from, &exact) {
        Ok(back) if &back == found => Ok(cast),
        _ => Err(misfit(format!("it is {}, and has values that would lose digits", type_name(from)))),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("rate", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
            ("day", Arc::new(StringArray::from(vec!["2026-01-31", "2026-02-01"]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn wanted(columns: &[(&str, DataType)]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>()))
    }

    fn conformed(columns: &[(&str, DataType)]) -> Result<Conformed, LoadError> {
        conform("test", &[batch()], &wanted(columns))
    }

    #[test]
    fn columns_are_found_by_name_and_others_left_out() {
        let found = conformed(&[("day", DataType::Date32), ("id", DataType::Int32)]).unwrap();
        assert_eq!(found.left_out, ["rate"]);
        let schema = found.batches[0].schema();
        assert_eq!((schema.field(0).data_type(), schema.field(1).data_type()), (&DataType::Date32, &DataType::Int32));
    }

    #[test]
    fn what_would_lose_digits_is_refused() {
        assert!(matches!(conformed(&[("rate", DataType::Int64)]), Err(LoadError::Misfit { .. })));
        assert!(matches!(conformed(&[("rate", DataType::Decimal128(5, 0))]), Err(LoadError::Misfit { .. })));
        assert!(conformed(&[("rate", DataType::Decimal128(5, 1))]).is_ok());
        assert!(matches!(conformed(&[("day", DataType::Int64)]), Err(LoadError::Misfit { .. })));
        assert!(matches!(conformed(&[("name", DataType::Utf8)]), Err(LoadError::NoColumn { .. })));
    }

    #[test]
    fn nulls_where_there_were_none_are_refused() {
        let wanted = Arc::new(Schema::new(vec![Field::new("rate", DataType::Float64, false)]));
        assert!(matches!(conform("test", &[batch()], &wanted), Err(LoadError::Misfit { .. })));
    }
}
