//! Storing answers.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::entry::{Entry, Key};
use super::{FILE, RecordingError, Redaction};
use crate::{Answer, Request, Transport, TransportError};

/// A transport that stores each answer before it hands it on.
#[derive(Debug)]
pub struct Recorder<T> {
    inner: T,
    redaction: Arc<Redaction>,
    file: Arc<Mutex<File>>,
    path: PathBuf,
}

impl<T: Transport> Recorder<T> {
    /// Begins a recording in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If the folder holds a recording already, or can't be written to.
    pub fn create(inner: T, folder: &Path, redaction: Redaction) -> Result<Self, RecordingError> {
        let path = folder.join(FILE);
        if path.exists() {
            return Err(RecordingError::Exists { path });
        }
        Self::resume(inner, folder, redaction)
    }

    /// Goes on with a recording, or begins one.
    ///
    /// # Errors
    /// If the folder can't be written to.
    pub fn resume(inner: T, folder: &Path, redaction: Redaction) -> Result<Self, RecordingError> {
        std::fs::create_dir_all(folder).map_err(|source| RecordingError::File {
            what: "make folder",
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join(FILE);
        let file = open(&path).map_err(|source| RecordingError::File { what: "open", path: path.clone(), source })?;
        Ok(Self { inner, redaction: Arc::new(redaction), file: Arc::new(Mutex::new(file)), path })
    }

    /// Returns the transport that is recorded.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    async fn store(&self, request: Request, answer: Answer) -> io::Result<()> {
        let (redaction, file) = (self.redaction.clone(), self.file.clone());
        let stored = tokio::task::spawn_blocking(move || {
            let key = Key::of(&request, &redaction);
            let mut line = serde_json::to_vec(&Entry::new(&key, &answer, &redaction))?;
            line.push(b'\n');
            // One write per line: a kill tears the last one at most. A line is whole or torn whatever panicked before.
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
        });
        stored.await.unwrap_or_else(|_| Err(io::Error::other("the write was given up")))
    }
}

/// Opens for appending; what a kill tore is ended, so that it does not spoil the next line.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[async_trait]
impl<T: Transport> Transport for Recorder<T> {
    async fn call(&self, request: Request) -> Result<Answer, TransportError> {
        let answer = self.inner.call(request.clone()).await?;
        if let Err(error) = self.store(request, answer.clone()).await {
            // The answer is good, and the crawl goes on; its recording has a hole.
            tracing::error!(path = %self.path.display(), %error, "an answer could not be recorded");
        }
        Ok(answer)
    }
}
