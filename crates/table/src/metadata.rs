//! The `metaData` action of a version whose columns change in a way that the kernel has no call for: other types, other
//! names. Source of the form: the Delta protocol, "Change Metadata".

use std::collections::BTreeMap;

use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::schema::StructType;
use delta_kernel::{KernelError, SnapshotRef};
use serde_json::json;

/// Returns the action as a line: as it is in `snapshot`, with other columns, and some other properties.
pub(crate) fn action(
    snapshot: &SnapshotRef,
    columns: &SchemaRef,
    partition_fields: &[Field],
    properties: &[(&'static str, String)],
) -> Result<Bytes, KernelError> {
    let fields = columns.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<Field> = fields.chain(partition_fields.iter().cloned()).collect();
    let schema = StructType::try_from_arrow(&Schema::new(fields))?;
    let metadata = snapshot.table_configuration().metadata();
    let mut configuration: BTreeMap<&str, &str> =
        metadata.configuration().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    configuration.extend(properties.iter().map(|(key, value)| (*key, value.as_str())));
    let mut action = json!({
        "id": metadata.id(),
        "format": {"provider": metadata.format_provider(), "options": metadata.format_options()},
        "schemaString": serde_json::to_string(&schema)?,
        "partitionColumns": metadata.partition_columns(),
        "configuration": configuration,
    });
    if let Some(fields) = action.as_object_mut() {
        // What is not there is left out: null is another thing to some readers.
        fields.extend(metadata.name().map(|name| ("name".to_owned(), json!(name))));
        fields.extend(metadata.description().map(|text| ("description".to_owned(), json!(text))));
        fields.extend(metadata.created_time().map(|time| ("createdTime".to_owned(), json!(time))));
    }
    let mut line = serde_json::to_vec(&json!({ "metaData": action }))?;
    line.push(b'\n');
    Ok(line.into())
}
