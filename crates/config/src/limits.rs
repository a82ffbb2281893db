//! Limits of a configuration.

/// `*.hcl` files in a folder.
pub(crate) const FILES_MAX: usize = 256;

/// One `*.hcl`, schema or SQL file, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Blocks in a folder.
pub(crate) const BLOCKS_MAX: usize = 4096;

/// Elements of a list, and of a set of tags.
pub(crate) const ELEMENTS_MAX: usize = 256;

/// What strings and templates may evaluate to, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 256 * 1024;

/// Diagnostics that are reported at once; the last one tells how many were left out.
pub(crate) const DIAGNOSTICS_MAX: usize = 100;

/// Buckets of a table.
pub(crate) const BUCKETS_MAX: u32 = 1024;

/// What a schedule gives its functions, as JSON, in bytes: as EventBridge has it.
pub(crate) const INPUT_BYTES_MAX: usize = 256 * 1024;

/// The pattern of a files block, in bytes.
pub(crate) const PATTERN_BYTES_MAX: usize = 1024;

/// Names and values of a handler's environment, in bytes.
pub(crate) const ENVIRONMENT_BYTES_MAX: usize = 32 * 1024;

/// Entries of a handler's code folder that are looked at for the name that was meant.
pub(crate) const CODE_ENTRIES_MAX: usize = 2000;

/// Outputs of a function.
pub(crate) const OUTPUTS_MAX: usize = 64;

/// Tags of a queue, as SQS has it.
pub(crate) const QUEUE_TAGS_MAX: usize = 50;
