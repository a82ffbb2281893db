//! Reading a log back.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::{Cursor, Entry, LogLine, LogQuery, numbers, path};

pub(super) fn read(folder: &Path, query: &LogQuery) -> io::Result<Vec<LogLine>> {
    match query.after {
        Some(after) => forward(folder, after, query),
        None => last(folder, query),
    }
}

fn forward(folder: &Path, after: Cursor, query: &LogQuery) -> io::Result<Vec<LogLine>> {
    let mut found = Vec::new();
    for number in numbers(folder)?.into_iter().filter(|number| *number >= after.file()) {
        // What was deleted meanwhile is passed over: the reader was too slow for the log's size.
        let Some(text) = content(folder, number)? else { continue };
        let from = if number == after.file() { after.offset() } else { 0 };
        for line in lines(&text, number, from).filter(|line| wanted(line, query)) {
            if found.len() == query.lines_max {
                return Ok(found);
            }
            found.push(line);
        }
    }
    Ok(found)
}

fn last(folder: &Path, query: &LogQuery) -> io::Result<Vec<LogLine>> {
    let mut found: VecDeque<LogLine> = VecDeque::new();
    for number in numbers(folder)?.into_iter().rev() {
        let Some(text) = content(folder, number)? else { continue };
        let mut here: VecDeque<LogLine> = VecDeque::new();
        let room = query.lines_max - found.len();
        for line in lines(&text, number, 0).filter(|line| wanted(line, query)) {
            if here.len() == room {
                here.pop_front();
            }
            if room > 0 {
                here.push_back(line);
            }
        }
        here.append(&mut found);
        found = here;
        if found.len() == query.lines_max {
            break;
        }
    }
    Ok(found.into())
}

fn content(folder: &Path, number: u64) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path(folder, number)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the lines of a file from `from` on; what does not parse is half of a line, and passed over.
fn lines(text: &[u8], number: u64, from: u64) -> impl Iterator<Item = LogLine> {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(text.len());
    let mut at = from as u64;
    text[from..].split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
        at += line.len() as u64;
        let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
        Some(LogLine {
            time: entry.time,
            request_id: entry.request_id.map(|id| id.into_owned()),
            version: entry.version,
            source: entry.source,
            text: entry.text.into_owned(),
            next: Cursor::new(number, at),
        })
    })
}

fn wanted(line: &LogLine, query: &LogQuery) -> bool {
    query.request_id.is_none() || line.request_id == query.request_id
}
