//! What the Delta kernel answers with: columns of its batches, by name and type.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Int64Type;
use delta_kernel::KernelError;

/// The columns of a scan's rows that are of use here: see the kernel's `scan_row_schema`.
pub(crate) struct ScanRows<'a> {
    pub(crate) path: &'a StringArray,
    pub(crate) size: &'a Int64Array,
    pub(crate) modified: &'a Int64Array,
    pub(crate) stats: Option<&'a StringArray>,
    pub(crate) deletion_vector: Option<&'a StructArray>,
    constants: &'a StructArray,
}

impl<'a> ScanRows<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, KernelError> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| unexpected(name));
        Ok(Self {
            path: column("path")?.as_string_opt().ok_or_else(|| unexpected("path"))?,
            size: column("size")?.as_primitive_opt::<Int64Type>().ok_or_else(|| unexpected("size"))?,
            modified: column("modificationTime")?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(|| unexpected("modificationTime"))?,
            stats: column("stats")?.as_string_opt(),
            deletion_vector: column("deletionVector")?.as_struct_opt(),
            constants: struct_of(batch, "fileConstantValues")?,
        })
    }

    pub(crate) fn partition_values(&self, row: usize) -> Vec<(String, Option<String>)> {
        let Some(map) = self.constants.column_by_name("partitionValues").and_then(|map| map.as_map_opt()) else {
            return Vec::new();
        };
        if self.constants.is_null(row) || map.is_null(row) {
            return Vec::new();
        }
        let entries = map.value(row);
        let (Some(keys), Some(values)) =
            (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_string_opt::<i32>())
        else {
            return Vec::new();
        };
        keys.iter()
            .zip(values)
            .filter_map(|(key, value)| {
                Some((key?.to_owned(), value.filter(|value| !value.is_empty()).map(str::to_owned)))
            })
            .collect()
    }
}

fn unexpected(column: &str) -> KernelError {
    KernelError::generic(format!("the Delta kernel's answer has no column `{column}`"))
}

pub(crate) fn struct_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StructArray, KernelError> {
    batch.column_by_name(name).and_then(|column| column.as_struct_opt()).ok_or_else(|| unexpected(name))
}

pub(crate) fn text_of<'a>(parent: &'a StructArray, name: &str) -> Result<&'a StringArray, KernelError> {
    parent.column_by_name(name).and_then(|column| column.as_string_opt()).ok_or_else(|| unexpected(name))
}

pub(crate) fn long_of<'a>(parent: &'a StructArray, name: &str) -> Result<&'a Int64Array, KernelError> {
    parent
        .column_by_name(name)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| unexpected(name))
}
