//! Giving answers again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::entry::{Entry, Head, Key};
use super::{FILE, RecordingError, Redaction};
use crate::{Answer, Request, Transport, TransportError};

/// The longest line; a longer one is passed over.
const LINE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Requests that are remembered by name, to say which one is nearest to one that is not there.
const REQUESTS_NAMED_MAX: usize = 10_000;

/// A recording, which answers without a network.
#[derive(Debug)]
pub struct Recorded {
    file: Arc<File>,
    path: PathBuf,
    answers: HashMap<u128, Vec<Place>>,
    given: Mutex<HashMap<u128, usize>>,
    requests: Vec<String>,
    skipped: u64,
    redaction: Redaction,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    bytes: u32,
}

impl Recorded {
    /// Opens a recording, and reads all of it once.
    ///
    /// # Errors
    /// If there is none, or it can't be read.
    pub fn open(folder: &Path) -> Result<Self, RecordingError> {
        let path = folder.join(FILE);
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RecordingError::Missing { path: path.clone() },
            _ => RecordingError::File { what: "open", path: path.clone(), source },
        })?;
        let mut recorded = Self {
            file: Arc::new(file),
            path: path.clone(),
            answers: HashMap::new(),
            given: Mutex::default(),
            requests: Vec::new(),
            skipped: 0,
            redaction: Redaction::default(),
        };
        recorded.index().map_err(|source| RecordingError::File { what: "read", path, source })?;
        Ok(recorded)
    }

    /// Returns how many answers there are.
    pub fn answers(&self) -> usize {
        self.answers.values().map(Vec::len).sum()
    }

    /// Returns how many lines were passed over: torn by a kill, or damaged.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn index(&mut self) -> io::Result<()> {
        let file = self.file.clone();
        let mut reader = BufReader::with_capacity(64 * 1024, &*file);
        let mut line = Vec::new();
        let mut offset = 0;
        for number in 1u64.. {
            line.clear();
            let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                break;
            }
            let whole = line.strip_suffix(b"\n");
            match whole.and_then(|line| serde_json::from_slice::<Head>(line).ok()).and_then(keyed) {
                Some((hash, request)) => {
                    // A line has at most LINE_BYTES_MAX bytes.
                    let bytes = (read - 1) as u32;
                    let places = self.answers.entry(hash).or_default();
                    if places.is_empty() && self.requests.len() < REQUESTS_NAMED_MAX {
                        self.requests.push(request);
                    }
                    places.push(Place { offset, bytes });
                }
                None if line.trim_ascii().is_empty() => {}
                None => {
                    self.skipped += 1;
                    tracing::warn!(path = %self.path.display(), line = number, "a line of the recording is torn or damaged; it is passed over");
                }
            }
            offset += read;
        }
        Ok(())
    }

    /// Returns the place of the next answer to a request.
    fn next(&self, key: &Key) -> Option<Place> {
        let places = self.answers.get(&key.hash)?;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let at = given.entry(key.hash).or_default();
        let place = places.get(*at).or(places.last()).copied();
        *at += 1;
        place
    }

    fn not_recorded(&self, request: &str) -> TransportError {
        let nearest = self.requests.iter().max_by_key(|known| likeness(known, request));
        let request = match nearest {
            Some(nearest) => format!("`{request}`; the nearest that it has is `{nearest}`"),
            None => format!("`{request}`, nor to any other"),
        };
        TransportError::NotRecorded { request }
    }
}

fn keyed(head: Head) -> Option<(u128, String)> {
    Some((u128::from_str_radix(&head.key, 16).ok()?, head.request))
}

/// How many bytes two requests share at their beginning and their end, the beginning counting double.
fn likeness(a: &str, b: &str) -> usize {
    let same = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(a, b)| a == b).count();
    let start = same(&mut a.bytes().zip(b.bytes()));
    let end = same(&mut a.bytes().rev().zip(b.bytes().rev()));
    2 * start + end.min(a.len().min(b.len()) - start)
}

fn read(file: &File, place: Place) -> io::Result<Answer> {
    let mut line = vec![0; place.bytes as usize];
    file.read_exact_at(&mut line, place.offset)?;
    let entry: Entry = serde_json::from_slice(&line)?;
    entry.into_answer().ok_or_else(|| io::Error::other("the body is no base64"))
}

#[async_trait]
impl Transport for Recorded {
    async fn call(&self, request: Request) -> Result<Answer, TransportError> {
        let key = Key::of(&request, &self.redaction);
        let Some(place) = self.next(&key) else { return Err(self.not_recorded(&key.request)) };
        let file = self.file.clone();
        let answer = tokio::task::spawn_blocking(move || read(&file, place)).await;
        answer.map_err(io::Error::other).and_then(|answer| answer).map_err(|error| TransportError::NotRecorded {
            request: format!("`{}` that can be read: {error}", key.request),
        })
    }
}
