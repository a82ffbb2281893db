//! What a stream says of its archive.

use std::time::Duration;

use url::Url;
use weir_schema::Codec;

/// How a stream's records are kept as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivePlan {
    /// How long, counted from the end of the hour in which they arrived.
    pub retention: Duration,
    /// Where; none: in the data folder.
    pub location: Option<Url>,
    /// How old a record may become before it is in a file; none: until its hour is over.
    pub every: Option<Duration>,
    /// How the files' blocks are compressed.
    pub codec: Codec,
}
