//! What `verify`, `repair` and `inspect` tell.

use std::path::PathBuf;

use weir_types::{LogName, SequenceNumber};

/// Bytes that do not read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub path: PathBuf,
    /// Where the damage begins in the file.
    pub offset: u64,
    /// How many bytes from there can't be trusted.
    pub bytes: u64,
    /// What it is, in words.
    pub what: String,
}

/// Whether records that are lost are known to have been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// They were.
    Certain,
    /// The newest records of the log may have lain in damaged bytes that nothing names, and can't have been more. Few of
    /// them were, or none; their sequence numbers are given up all the same.
    Possible,
}

/// Records that can't be read, and that every read reports until they are trimmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The log.
    pub log: LogName,
    /// The first record that is lost.
    pub from: SequenceNumber,
    /// The place after the last one.
    pub to: SequenceNumber,
    /// Whether there were such records.
    pub certainty: Certainty,
}

/// The outcome of reading, or repairing, everything in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Segment files that were read.
    pub segments: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Frames with records that read well, those that are trimmed but still on disk included.
    pub frames: u64,
    /// Damaged places, by file and offset.
    pub damages: Vec<Damage>,
    /// Records that are lost, from this damage or recorded by an earlier repair.
    pub losses: Vec<Loss>,
    /// Bytes after the last acknowledged append: an append that a crash cut short. No damage.
    pub torn_bytes: u64,
    /// Where repair moved the files that it replaced, if it replaced any.
    pub kept_copies: Vec<PathBuf>,
}

impl Report {
    /// Returns whether everything that was acknowledged, and not recorded as lost before, reads well.
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The logs, by name.
    pub logs: Vec<LogInspection>,
    /// The segments, by number.
    pub segments: Vec<SegmentInspection>,
}

/// What one log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInspection {
    /// The log.
    pub name: LogName,
    /// The oldest record's place.
    pub head: SequenceNumber,
    /// The place that the next record will get.
    pub tail: SequenceNumber,
    /// Bytes that its live frames take on disk.
    pub bytes: u64,
}

/// What one segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInspection {
    /// The file's name.
    pub name: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of frames whose records are not trimmed.
    pub live_bytes: u64,
}
