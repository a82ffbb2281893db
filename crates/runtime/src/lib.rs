//! Takes a checked plan and runs it: the only crate that knows all the nouns.
//!
//! ```text
//! deliver (door) --> streams --> pipelines: decode, function --> tables
//!                       |              |                           |
//!                       +--------------+--- query: tables joined with the rows behind their last commit
//! ```
//!
//! A [`Node`] is everything of one process: its log engine, machines, streams, lookups, tables, and the tasks that move
//! records between them. It knows no HTTP: the server and the tests call the same methods.
//!
//! Invariants: what is acknowledged is durable; a table's rows and the positions that they came from are committed
//! together; a query sees every record that was acknowledged before it began.

mod archive;
mod compaction;
mod crawl;
mod dead;
mod door;
mod exhausted;
mod files;
mod folder;
mod function;
mod ledger;
mod lookups;
mod maintain;
mod node;
mod opening;
mod pipeline;
mod preview;
mod query;
mod replay;
mod rollup;
mod schemas;
mod status;
mod streams;
mod system;
mod tables;
mod tail;
mod upkeep;

pub use archive::{ArchiveError, ArchiveStatus};
pub use crawl::{
    CallError, CrawlError, Crawls, INFER_CALLS_MAX, InferError, Inferred, InferredSchema, MakeTransport, RunAsk,
    Transports, infer as infer_schemas,
};
pub use dead::{
    ActError, Acted, Batch, Cause, Cursor, CursorError, DeadLetterError, Edit, EditError, Filter, FilterError,
    FindError, FoundLetters, GROUPS_MAX, LETTERS_LISTED_MAX, LETTERS_MAX, LetterGroup, LetterRow, Payload,
    RefusedLetter, ShowError, Shown, State, Taken,
};
pub use door::{
    BodyError, DOOR_BYTES_MAX, DeliverError, Delivery, Encoding, Failed, Format, NoRoom, Place, REFUSALS_LISTED_MAX,
    Refusal, Report, SILENCE_MAX, UnknownEncoding, UnknownFormat,
};
pub use files::{HearError, NotificationError};
pub use folder::{Folder, FolderError};
pub use function::{DeployFailed, InvokeFailed, Invoked, OutboxError};
pub use ledger::{BookError, Checked, Depth as LedgerDepth, Keeping as LedgerKeeping, LedgerError, LedgerReport};
pub use lookups::{LookupError, RefreshFailed};
pub use maintain::{CompactedTable, MaintainError};
pub use node::{CloseError, Handlers, Node, Options, StartError};
pub use preview::{StreamPreview, TablePreview, is_in_use, preview_stream, preview_streams, preview_tables};
pub use query::QueryFailed;
pub use replay::{
    ACTIVE_MAX as REPLAYS_ACTIVE_MAX, Ask as ReplayAsk, Counts as ReplayCounts, Destination, DestinationError,
    HISTORY_MAX as REPLAYS_HISTORY_MAX, Origin as ReplayOrigin, PartitionPreview, Preview, Rate, RateError,
    ReplayError, ResolveError, RunStatus, ShardRange, Target, TargetError, TargetPreview, TargetStatus, Window,
};
pub use rollup::{RefreshError, RollupStatus};
pub use schemas::Catalog;
pub use status::{
    FilesStatus, FunctionStatus, GatheredStatus, LedgerStatus, LookupStatus, PARTITIONS_LISTED_MAX, PartitionStatus,
    QueueStatus, ShardStatus, Status, StreamStatus, TableStatus,
};
pub use system::SystemTableError;
pub use tail::{TailError, TailPage, TailRecord};
pub use weir_ledger::Choice as LedgerChoice;
