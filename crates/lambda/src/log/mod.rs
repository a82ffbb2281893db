//! What functions print, and what the host says about them: JSON lines in files of bounded size.
//!
//! ```text
//! FOLDER/logs/NAME/00000007.log   {"t":1700000000000,"r":"8d2...","v":3,"s":"stdout","l":"hello"}
//!                  00000008.log   ...
//! ```
//!
//! Invariants: lines stand in the order in which they were read, a line is whole or not there, and a function's log takes
//! no more than [`LOG_FILES_MAX`] times [`LOG_FILE_BYTES_MAX`](crate::limits::LOG_FILE_BYTES_MAX). What is written survives
//! the server's end, not the machine's: there is no fsync. A log that can't be written never fails an invocation; the server's own log says so.

mod read;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use weir_types::Timestamp;

use crate::limits::{LOG_FILE_BYTES_MAX, LOG_FILES_MAX};

/// A place in a function's log; later lines have greater ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Cursor(pub u64);

impl Cursor {
    fn new(file: u64, offset: u64) -> Self {
        Self(file << 32 | offset)
    }

    fn file(self) -> u64 {
        self.0 >> 32
    }

    fn offset(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}

/// Where a line of a log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
    /// The host: START, END, REPORT, and what it has to say.
    Platform,
}

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub time: Timestamp,
    /// The invocation that ran then.
    pub request_id: Option<String>,
    /// The version.
    pub version: u64,
    /// Where it came from.
    pub source: Source,
    /// The text, without its end of line.
    pub text: String,
    /// The place behind this line.
    pub next: Cursor,
}

/// Which lines of a log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// The first lines from this place on; `None`: the last ones.
    pub after: Option<Cursor>,
    /// Only lines of this invocation.
    pub request_id: Option<String>,
    /// How many at most.
    pub lines_max: usize,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { after: None, request_id: None, lines_max: 100 }
    }
}

/// A line as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    #[serde(rename = "t")]
    pub time: Timestamp,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(rename = "v")]
    pub version: u64,
    #[serde(rename = "s")]
    pub source: Source,
    #[serde(rename = "l")]
    pub text: std::borrow::Cow<'a, str>,
}

/// The log of one function.
#[derive(Debug)]
pub(crate) struct FunctionLog {
    folder: PathBuf,
    writer: Mutex<Writer>,
    end: watch::Sender<Cursor>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    number: u64,
    bytes: u64,
    buffer: Vec<u8>,
    failed: bool,
}

impl FunctionLog {
    /// Opens the log below `folder`, which is made if it is missing, and goes on where it ends.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let number = numbers(&folder)?.last().copied().unwrap_or(1);
        let (mut file, mut bytes) = open(&folder, number)?;
        if bytes > 0 && !ends_with_line(&folder, number, bytes) {
            // A server that died has left half of a line, which readers pass over.
            file.write_all(b"\n")?;
            bytes += 1;
        }
        let end = watch::Sender::new(Cursor::new(number, bytes));
        let writer = Writer { file, number, bytes, buffer: Vec::new(), failed: false };
        Ok(Self { folder, writer: Mutex::new(writer), end })
    }

    /// Appends lines, and wakes whoever follows.
    pub fn append<'a>(&self, entries: impl IntoIterator<Item = Entry<'a>>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.buffer.clear();
        for entry in entries {
            // Texts and numbers: serialising them has no way to fail.
            let _ = serde_json::to_writer(&mut writer.buffer, &entry);
            writer.buffer.push(b'\n');
        }
        if writer.buffer.is_empty() {
            return;
        }
        match writer.write(&self.folder) {
            Ok(()) => writer.failed = false,
            Err(error) if !writer.failed => {
                writer.failed = true;
                tracing::error!(log = %self.folder.display(), %error, "lines of a function are lost until this works again");
            }
            Err(_) => {}
        }
        self.end.send_replace(Cursor::new(writer.number, writer.bytes));
    }

    /// Returns a watch of the log's end.
    pub fn follow(&self) -> watch::Receiver<Cursor> {
        self.end.subscribe()
    }

    /// Returns the log's end.
    pub fn end(&self) -> Cursor {
        *self.end.borrow()
    }

    /// Reads lines, oldest first. Reads files: not for an async thread.
    pub fn read(&self, query: &LogQuery) -> io::Result<Vec<LogLine>> {
        read::read(&self.folder, query)
    }
}

impl Writer {
    fn write(&mut self, folder: &Path) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + self.buffer.len() as u64 > LOG_FILE_BYTES_MAX {
            (self.file, self.bytes) = open(folder, self.number + 1)?;
            self.number += 1;
            for old in numbers(folder)?.into_iter().rev().skip(LOG_FILES_MAX) {
                std::fs::remove_file(path(folder, old))?;
            }
        }
        self.file.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        Ok(())
    }
}

fn open(folder: &Path, number: u64) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path(folder, number))?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

fn ends_with_line(folder: &Path, number: u64, bytes: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    let read = File::open(path(folder, number)).and_then(|file| file.read_exact_at(&mut last, bytes - 1));
    read.is_ok() && last == *b"\n"
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// Returns the numbers of the files, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}
