//! What this crate refuses to exceed. Limits that other layers share are in [`weir_types::limits`].

/// The text of one schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;

/// Types that a schema unfolds to, where types used by name are counted as often as they are used.
pub const UNFOLDED_TYPES_MAX: usize = 20_000;

/// Types inside of types, by name too.
pub const UNFOLDED_DEPTH_MAX: usize = 4 * weir_types::limits::NESTING_MAX;

/// Pairs of types inside of pairs that are followed where two schemas are compared.
pub const COMPARED_DEPTH_MAX: usize = 512;

/// One block of a container file, in bytes, compressed and also decompressed.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The header of a container file, in bytes, schema included.
pub const HEADER_BYTES_MAX: usize = 2 * SCHEMA_BYTES_MAX;

/// Array or map items, or records in a block, that take no bytes at all (such as nulls): nothing else bounds them.
pub const EMPTY_ITEMS_MAX: u64 = 64 * 1024;

/// Branches of unions that are tried while one JSON record is encoded, before the Avro JSON form has to name the branch.
pub const UNION_TRIES_MAX: u32 = 1024;

/// Columns of a CSV file.
pub const CSV_COLUMNS_MAX: usize = 4096;

/// Live and deleted versions of one subject.
pub const VERSIONS_MAX: usize = 10_000;

/// Schemas of one registry.
pub const SCHEMAS_MAX: usize = 100_000;
