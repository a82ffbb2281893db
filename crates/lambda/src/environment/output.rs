//! What an environment prints: lines, cut and counted, into the function's log.
//!
//! Two read the pipes, under one lock: a task that wakes when something comes, and whoever finishes an invocation, who takes
//! what is there so that a line printed before the response stands before END. Invariants: the pipes are always
//! emptied, so that a handler never waits for its log; an invocation adds at most
//! [`OUTPUT_BYTES_MAX`](crate::limits::OUTPUT_BYTES_MAX), and what is dropped is counted and told.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::unix::pipe::Receiver;
use weir_env::Env;
use weir_types::Timestamp;

use crate::limits::{LAST_LINES_MAX, LINE_BYTES_MAX, OUTPUT_BYTES_MAX, TAIL_BYTES_MAX};
use crate::log::{Entry, FunctionLog, Source};

/// What one turn reads of a pipe, so that a flood does not hold a thread.
const TURN_BYTES: usize = 1 << 20;
/// A line that a crash carries, in bytes.
const LAST_LINE_BYTES_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct Output {
    stdout: Receiver,
    stderr: Receiver,
    env: Env,
    log: Arc<FunctionLog>,
    version: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stdout: Partial,
    stderr: Partial,
    request_id: Option<String>,
    /// Lines that are not in the log yet.
    pending: Vec<Line>,
    bytes: usize,
    dropped_lines: u64,
    dropped_bytes: u64,
    last_lines: VecDeque<String>,
    tail: Option<VecDeque<u8>>,
}

#[derive(Debug)]
struct Line {
    time: Timestamp,
    request_id: Option<String>,
    source: Source,
    text: String,
}

/// The beginning of a line whose end has not come.
#[derive(Debug, Default)]
struct Partial {
    text: Vec<u8>,
    cut: bool,
}

impl Output {
    pub fn new(stdout: OwnedFd, stderr: OwnedFd, env: Env, log: Arc<FunctionLog>, version: u64) -> io::Result<Self> {
        Ok(Self {
            stdout: Receiver::from_owned_fd(stdout)?,
            stderr: Receiver::from_owned_fd(stderr)?,
            env,
            log,
            version,
            state: Mutex::new(State::default()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until both pipes have ended.
    pub async fn run(&self) {
        let (mut stdout, mut stderr) = (true, true);
        while stdout || stderr {
            let ready = async |pipe: &Receiver, open: bool| match open {
                true => pipe.readable().await.is_ok(),
                false => std::future::pending().await,
            };
            let (out, err) = (std::pin::pin!(ready(&self.stdout, stdout)), std::pin::pin!(ready(&self.stderr, stderr)));
            futures::future::select(out, err).await;
            {
                let mut state = self.state();
                let waiting = |pipe: &Receiver, buffer: &mut [u8]| pipe.try_read(buffer);
                stdout = stdout && self.pull(&mut state, Source::Stdout, waiting);
                stderr = stderr && self.pull(&mut state, Source::Stderr, waiting);
                self.flush(&mut state);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Takes what is in the pipes at this moment.
    fn drain(&self, state: &mut State) {
        // Past tokio's record of what is ready, which may lag behind.
        let now = |pipe: &Receiver, buffer: &mut [u8]| rustix::io::read(pipe, buffer).map_err(io::Error::from);
        self.pull(state, Source::Stdout, now);
        self.pull(state, Source::Stderr, now);
    }

    /// Reads one pipe until nothing is there; tells whether more may come.
    fn pull(
        &self,
        state: &mut State,
        source: Source,
        read: impl Fn(&Receiver, &mut [u8]) -> io::Result<usize>,
    ) -> bool {
        let pipe = if source == Source::Stdout { &self.stdout } else { &self.stderr };
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while taken < TURN_BYTES {
            match read(pipe, &mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    taken += length;
                    state.take(source, &buffer[..length], self.env.now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn flush(&self, state: &mut State) {
        let version = self.version;
        self.log.append(state.pending.iter().map(|line| Entry {
            time: line.time,
            request_id: line.request_id.as_deref().map(Cow::Borrowed),
            version,
            source: line.source,
            text: Cow::Borrowed(&line.text),
        }));
        state.pending.clear();
    }

    /// An invocation begins. Its START is written with whatever comes next.
    pub fn begin(&self, request_id: &str, tail: bool) {
        let mut state = self.state();
        self.drain(&mut state);
        state.told(self.env.now());
        state.request_id = Some(request_id.to_owned());
        state.last_lines.clear();
        state.bytes = 0;
        state.tail = tail.then(VecDeque::new);
        let start = format!("START RequestId: {request_id} Version: {}", self.version);
        state.line(Source::Platform, start, self.env.now());
    }

    /// The invocation has ended; `report` is what the host has to say of it. Returns the tail, if it was asked for.
    pub fn end(&self, report: impl IntoIterator<Item = String>) -> Option<Bytes> {
        let mut state = self.state();
        let now = self.env.now();
        self.drain(&mut state);
        state.told(now);
        for text in report {
            state.line(Source::Platform, text, now);
        }
        self.flush(&mut state);
        state.request_id = None;
        state.bytes = 0;
        state.tail.take().map(|tail| Bytes::from(Vec::from(tail)))
    }

    /// The host says something outside of any invocation.
    pub fn say(&self, text: String) {
        let mut state = self.state();
        self.drain(&mut state);
        state.line(Source::Platform, text, self.env.now());
        self.flush(&mut state);
    }

    /// The process has ended: takes the rest, lines without an end too.
    pub fn close(&self) {
        let mut state = self.state();
        let now = self.env.now();
        self.drain(&mut state);
        state.finish(Source::Stdout, now);
        state.finish(Source::Stderr, now);
        state.told(now);
        self.flush(&mut state);
    }

    /// Returns the last lines of the standard error since the invocation began.
    pub fn last_lines(&self) -> Vec<String> {
        let mut state = self.state();
        self.drain(&mut state);
        let mut lines: Vec<String> = state.last_lines.iter().cloned().collect();
        if !state.stderr.text.is_empty() {
            lines.push(String::from_utf8_lossy(&state.stderr.text).into_owned());
        }
        lines
    }
}

impl State {
    fn partial(&mut self, source: Source) -> &mut Partial {
        if source == Source::Stdout { &mut self.stdout } else { &mut self.stderr }
    }

    fn take(&mut self, source: Source, mut bytes: &[u8], now: Timestamp) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.partial(source).push(&bytes[..at]);
            bytes = &bytes[at + 1..];
            self.finish_line(source, now);
        }
        self.partial(source).push(bytes);
    }

    fn finish(&mut self, source: Source, now: Timestamp) {
        if !self.partial(source).text.is_empty() {
            self.finish_line(source, now);
        }
    }

    fn finish_line(&mut self, source: Source, now: Timestamp) {
        let partial = self.partial(source);
        let mut text = String::from_utf8_lossy(&partial.text).into_owned();
        if partial.cut {
            text.push_str(" [cut]");
        }
        if text.ends_with('\r') {
            text.pop();
        }
        partial.text.clear();
        partial.cut = false;
        if self.bytes + text.len() > OUTPUT_BYTES_MAX {
            self.dropped_lines += 1;
            self.dropped_bytes += text.len() as u64;
            return;
        }
        self.bytes += text.len();
        if source == Source::Stderr {
            if self.last_lines.len() == LAST_LINES_MAX {
                self.last_lines.pop_front();
            }
            self.last_lines.push_back(text.chars().take(LAST_LINE_BYTES_MAX).collect());
        }
        self.line(source, text, now);
    }

    fn line(&mut self, source: Source, text: String, time: Timestamp) {
        if let Some(tail) = &mut self.tail {
            tail.extend(text.as_bytes());
            tail.push_back(b'\n');
            let excess = tail.len().saturating_sub(TAIL_BYTES_MAX);
            tail.drain(..excess);
        }
        self.pending.push(Line { time, request_id: self.request_id.clone(), source, text });
    }

    /// Says what was dropped.
    fn told(&mut self, now: Timestamp) {
        if self.dropped_lines > 0 {
            let text = format!(
                "{} lines of output ({} bytes) were dropped: an invocation may print {OUTPUT_BYTES_MAX} bytes",
                self.dropped_lines, self.dropped_bytes
            );
            (self.dropped_lines, self.dropped_bytes) = (0, 0);
            self.line(Source::Platform, text, now);
        }
    }
}

impl Partial {
    fn push(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.text.len();
        self.cut |= bytes.len() > room;
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(state: &State) -> Vec<&str> {
        state.pending.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_are_whole_whatever_the_reads() {
        let mut state = State::default();
        for part in ["he", "llo\nwor", "ld\r\n", "", "rest"] {
            state.take(Source::Stdout, part.as_bytes(), Timestamp(0));
        }
        assert_eq!(texts(&state), ["hello", "world"]);
        state.finish(Source::Stdout, Timestamp(0));
        assert_eq!(texts(&state)[2], "rest");
    }

    #[test]
    fn a_flood_is_cut_dropped_and_told() {
        let mut state = State::default();
        state.take(Source::Stderr, &vec![b'x'; LINE_BYTES_MAX + 10], Timestamp(0));
        state.take(Source::Stderr, b"\n", Timestamp(0));
        assert!(texts(&state)[0].ends_with("x [cut]"));
        assert_eq!(state.last_lines[0].len(), LAST_LINE_BYTES_MAX);
        let line = [vec![b'y'; 1023], vec![b'\n']].concat();
        for _ in 0..OUTPUT_BYTES_MAX / 1000 {
            state.take(Source::Stdout, &line, Timestamp(0));
        }
        assert!(state.bytes <= OUTPUT_BYTES_MAX && state.dropped_lines > 0);
        assert_eq!(state.last_lines.len(), 1);
        state.told(Timestamp(0));
        assert!(texts(&state).last().unwrap().contains("were dropped"));
    }

    #[test]
    fn the_tail_is_the_last_four_kilobytes() {
        let mut state = State { tail: Some(VecDeque::new()), ..State::default() };
        for number in 0..1000 {
            state.take(Source::Stdout, format!("line {number}\n").as_bytes(), Timestamp(0));
        }
        let tail = Vec::from(state.tail.unwrap());
        assert_eq!(tail.len(), TAIL_BYTES_MAX);
        assert!(tail.ends_with(b"line 999\n"));
    }
}
