//! A group: requests that become durable with one write and one sync.
//!
//! Planning assigns sequence numbers in the order of submission, and checks each condition against the tail that the requests
//! before it will leave. Invariant: no answer leaves before the write is decided, so that a conflict with an append that
//! then fails is never reported.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use weir_types::{LogName, SequenceNumber, Timestamp};

use super::format::LogId;
use super::format::frame::{FrameHeader, FrameKind, HEADER_BYTES, Part, Previous};
use super::index::{Index, LogState};
use super::queue::{CreateRefusal, Request, SummedBlock};
use super::shared::Shared;
use super::writer::is_full;
use crate::{AppendError, Condition, LOGS_MAX, TrimError};

/// A frame to be written.
pub(crate) struct Frame {
    pub header: FrameHeader,
    pub payload: Bytes,
    /// Where it stands, once that is known.
    pub offset: u64,
    /// Where its payload stands in the buffer that was written, if it was copied there.
    pub staged_at: Option<usize>,
}

enum Answer {
    Append {
        log: LogId,
        result: Result<SequenceNumber, AppendError>,
        done: oneshot::Sender<Result<SequenceNumber, AppendError>>,
    },
    Trim {
        log: LogId,
        to: SequenceNumber,
        result: Result<(), TrimError>,
        done: oneshot::Sender<Result<(), TrimError>>,
    },
    Create {
        name: LogName,
        result: Result<LogId, CreateRefusal>,
        done: oneshot::Sender<Result<LogId, CreateRefusal>>,
    },
}

/// A log as the requests that are planned so far leave it.
#[derive(Debug, Clone, Copy)]
struct Planned {
    head: SequenceNumber,
    tail: SequenceNumber,
    last_at: Timestamp,
}

pub(crate) struct Group {
    /// In the order in which they are written: by log, and within a log as submitted.
    pub frames: Vec<Frame>,
    answers: Vec<Answer>,
    created: Vec<(LogName, Timestamp)>,
    planned: HashMap<LogId, Planned>,
}

impl Group {
    pub(crate) fn plan(shared: &Shared, requests: Vec<Request>) -> Self {
        let mut group = Self { frames: Vec::new(), answers: Vec::new(), created: Vec::new(), planned: HashMap::new() };
        let now = shared.env.now();
        let index = shared.index();
        for request in requests {
            let answer = match request {
                Request::Append { log, blocks, condition, done } => {
                    let result = group.append(&index, now, log, blocks, condition);
                    Answer::Append { log, result, done }
                }
                Request::Trim { log, to, done } => {
                    Answer::Trim { log, to, result: group.trim(&index, now, log, to), done }
                }
                Request::Create { name, done } => {
                    Answer::Create { result: group.create(&index, now, &name), name, done }
                }
            };
            group.answers.push(answer);
        }
        // Stable: a log's frames lie together, in their order.
        group.frames.sort_by_key(|frame| frame.header.log);
        group
    }

    fn planned(&mut self, index: &Index, log: LogId) -> &mut Planned {
        self.planned.entry(log).or_insert_with(|| {
            let state = index.log(log);
            Planned { head: state.head, tail: state.tail, last_at: state.last_at }
        })
    }

    fn append(
        &mut self,
        index: &Index,
        now: Timestamp,
        log: LogId,
        blocks: Vec<SummedBlock>,
        condition: Condition,
    ) -> Result<SequenceNumber, AppendError> {
        let planned = self.planned(index, log);
        let (first, appended_at) = (planned.tail, planned.last_at.max(now));
        if let Condition::TailIs(expected) = condition
            && expected != first
        {
            return Err(AppendError::Conflict { log: index.log(log).name.clone(), expected, tail: first });
        }
        let mut next = first;
        let count = blocks.len();
        let mut frames = Vec::with_capacity(count);
        for (position, SummedBlock { records, payload, crc }) in blocks.into_iter().enumerate() {
            let part = if position + 1 < count { Part::More } else { Part::Last };
            let header = FrameHeader {
                part,
                records,
                payload_crc: crc,
                ..header(FrameKind::Data, log, next, appended_at, &payload)
            };
            next = header.end();
            frames.push(Frame { header, payload, offset: 0, staged_at: None });
        }
        (planned.tail, planned.last_at) = (next, appended_at);
        self.frames.extend(frames);
        Ok(first)
    }

    fn trim(&mut self, index: &Index, now: Timestamp, log: LogId, to: SequenceNumber) -> Result<(), TrimError> {
        let planned = self.planned(index, log);
        if to > planned.tail {
            return Err(TrimError::PastTail { log: index.log(log).name.clone(), asked: to, tail: planned.tail });
        }
        if to > planned.head {
            planned.head = to;
            self.add_control(header(FrameKind::Trim, log, to, now, &Bytes::new()), Bytes::new());
        }
        Ok(())
    }

    fn create(&mut self, index: &Index, now: Timestamp, name: &LogName) -> Result<LogId, CreateRefusal> {
        if let Some(id) = index.by_name.get(name) {
            return Ok(*id);
        }
        let known = index.logs.len();
        if let Some(position) = self.created.iter().position(|(created, _)| created == name) {
            return Ok(LogId((known + position) as u32));
        }
        let id = known + self.created.len();
        if id >= LOGS_MAX {
            return Err(CreateRefusal::TooMany);
        }
        let (id, payload) = (LogId(id as u32), Bytes::copy_from_slice(name.as_str().as_bytes()));
        self.add_control(header(FrameKind::Create, id, SequenceNumber::ZERO, now, &payload), payload);
        self.created.push((name.clone(), now));
        Ok(id)
    }

    fn add_control(&mut self, header: FrameHeader, payload: Bytes) {
        let header = FrameHeader { payload_crc: crc32c::crc32c(&payload), ..header };
        self.frames.push(Frame { header, payload, offset: 0, staged_at: None });
    }

    /// Returns whether there is a frame that takes space for good.
    pub(crate) fn has_records(&self) -> bool {
        self.frames.iter().any(|frame| frame.header.kind != FrameKind::Trim)
    }

    /// Returns the bytes that are written from one buffer if payloads below `copied` are copied to it.
    pub(crate) fn staged_bytes(&self, copied: usize) -> usize {
        let staged =
            |frame: &Frame| HEADER_BYTES + 8 + if frame.payload.len() < copied { frame.payload.len() } else { 0 };
        self.frames.iter().map(staged).sum()
    }

    /// Adds the logs that the group has made.
    pub(crate) fn create_logs(&mut self, index: &mut Index) {
        for (name, at) in self.created.drain(..) {
            index.create(LogState::new(name, SequenceNumber::ZERO, SequenceNumber::ZERO, at));
        }
    }

    /// Returns the logs that the group may have changed.
    pub(crate) fn touched(&self) -> impl Iterator<Item = LogId> {
        self.planned.keys().copied()
    }

    /// Answers what was planned: the group is durable.
    pub(crate) fn succeed(self, shared: &Shared) {
        let trims = self.answers.iter().any(|answer| matches!(answer, Answer::Trim { .. }));
        let dead = trims && !shared.index().dead().is_empty();
        for answer in self.answers {
            // A caller that is gone does not want to know.
            match answer {
                Answer::Append { result, done, .. } => drop(done.send(result)),
                Answer::Create { result, done, .. } => drop(done.send(result)),
                // The space is free when the caller hears of it.
                Answer::Trim { result: Ok(()), done, .. } if dead => shared.tidy.answer_when_deleted(done),
                Answer::Trim { result, done, .. } => drop(done.send(result)),
            }
        }
    }

    /// Answers that the write was refused; if for want of space, returns the trims instead, to be tried alone.
    pub(crate) fn refuse(mut self, shared: &Shared, error: &Arc<io::Error>) -> Vec<Request> {
        let mut trims = Vec::new();
        if is_full(error) && self.has_records() {
            let mut others = Vec::new();
            for answer in self.answers {
                match answer {
                    Answer::Trim { log, to, done, .. } => trims.push(Request::Trim { log, to, done }),
                    other => others.push(other),
                }
            }
            self.answers = others;
        }
        self.fail(shared, error);
        trims
    }

    /// Answers that the write was refused.
    pub(crate) fn fail(self, shared: &Shared, error: &Arc<io::Error>) {
        let name = |log: LogId| shared.index().log(log).name.clone();
        for answer in self.answers {
            match answer {
                Answer::Append { log, done, .. } => drop(done.send(Err(append_error(name(log), error)))),
                Answer::Trim { log, done, .. } => drop(done.send(Err(append_error(name(log), error).into()))),
                Answer::Create { name, done, .. } => {
                    drop(done.send(Err(CreateRefusal::Append(append_error(name, error)))));
                }
            }
        }
    }

    /// Answers that the engine is closed.
    pub(crate) fn close(self) {
        for answer in self.answers {
            match answer {
                Answer::Append { done, .. } => drop(done.send(Err(AppendError::Closed))),
                Answer::Trim { done, .. } => drop(done.send(Err(AppendError::Closed.into()))),
                Answer::Create { done, .. } => drop(done.send(Err(CreateRefusal::Append(AppendError::Closed)))),
            }
        }
    }
}

fn append_error(log: LogName, error: &Arc<io::Error>) -> AppendError {
    if is_full(error) { AppendError::DiskFull { log } } else { AppendError::Io { log, source: Arc::clone(error) } }
}

fn header(kind: FrameKind, log: LogId, first: SequenceNumber, appended_at: Timestamp, payload: &Bytes) -> FrameHeader {
    FrameHeader {
        kind,
        part: Part::Last,
        group: 0,
        log,
        records: 0,
        length: payload.len() as u32,
        first,
        appended_at,
        payload_crc: 0,
        previous: Previous::default(),
    }
}
