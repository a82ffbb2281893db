//! What changes a queue, as it stands in the log.
//!
//! ```text
//! block   = version 1 | time (zigzag ms) | command*
//! command = kind | length | body
//! ```
//!
//! A block takes as many places as it has messages ([`Command::Message`] and [`Command::Carry`]), at least one; the message
//! with index `i` in its block lies at the block's first place and `i`. All blocks of an append have one time.

use bytes::Bytes;
use weir_log::Block;

use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_numbers, put_u64};
use crate::entry::Phase;

const VERSION: u8 = 1;
/// A block is closed once it has this many bytes: what one read of a message costs.
const BLOCK_BYTES: usize = 64 << 10;

/// The state of a message that was copied forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    pub number: u64,
    pub sent_at: i64,
    pub visible_at: i64,
    pub first_received: i64,
    pub last_received_s: u32,
    pub delay_s: u32,
    pub receives: u32,
    pub phase: Phase,
}

/// One change. All of it is decided when it is written: to apply it needs no clock and no settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// A message is sent.
    Message { sent_at: i64, visible_at: i64, record: &'a [u8] },
    /// A producer's stamped send is stored.
    Stamp { producer: &'a str, number: u64 },
    /// Messages are received.
    Lease { until: i64, numbers: Vec<u64> },
    /// Messages are deleted, or grew too old.
    Delete { numbers: Vec<u64> },
    /// Leases end at another time.
    Hide { until: i64, numbers: Vec<u64> },
    /// Leases that nobody has seen are taken back.
    Return { numbers: Vec<u64> },
    /// Messages wait for the table of dead letters.
    Exhaust { numbers: Vec<u64> },
    /// Messages go to another queue: the first has the transfer number `first`, each next one the next.
    Transfer { phase: Phase, first: u64, numbers: Vec<u64> },
    /// Transfers are at their target.
    Forget { transfers: Vec<u64> },
    /// All messages below a number are deleted, but those that are given up.
    Purge { before: u64 },
    /// A message is copied to here, with its state.
    Carry { state: Carried, record: &'a [u8] },
    /// The next transfer number: what else would be lost with the log's old part.
    Counter { next_transfer: u64 },
}

impl Command<'_> {
    /// Tells whether it takes a place of its own.
    pub(crate) fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. } | Self::Carry { .. })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Message { .. } => 1,
            Self::Stamp { .. } => 2,
            Self::Lease { .. } => 3,
            Self::Delete { .. } => 4,
            Self::Hide { .. } => 5,
            Self::Return { .. } => 6,
            Self::Exhaust { .. } => 7,
            Self::Transfer { .. } => 8,
            Self::Forget { .. } => 9,
            Self::Purge { .. } => 10,
            Self::Carry { .. } => 11,
            Self::Counter { .. } => 12,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message { sent_at, visible_at, record } => {
                put_i64(out, *sent_at);
                put_i64(out, visible_at.wrapping_sub(*sent_at));
                out.extend_from_slice(record);
            }
            Self::Stamp { producer, number } => {
                put_bytes(out, producer.as_bytes());
                put_u64(out, *number);
            }
            Self::Lease { until, numbers } | Self::Hide { until, numbers } => {
                put_i64(out, *until);
                put_numbers(out, numbers);
            }
            Self::Delete { numbers } | Self::Return { numbers } | Self::Exhaust { numbers } => {
                put_numbers(out, numbers);
            }
            Self::Transfer { phase, first, numbers } => {
                out.push(*phase as u8);
                put_u64(out, *first);
                put_numbers(out, numbers);
            }
            Self::Forget { transfers } => put_numbers(out, transfers),
            Self::Purge { before } => put_u64(out, *before),
            Self::Carry { state, record } => {
                put_u64(out, state.number);
                put_i64(out, state.sent_at);
                put_i64(out, state.visible_at);
                put_i64(out, state.first_received);
                put_u64(out, u64::from(state.last_received_s));
                put_u64(out, u64::from(state.delay_s));
                put_u64(out, u64::from(state.receives));
                out.push(state.phase as u8);
                out.extend_from_slice(record);
            }
            Self::Counter { next_transfer } => put_u64(out, *next_transfer),
        }
    }
}

fn phase(reader: &mut Reader<'_>) -> Result<Phase, Malformed> {
    Phase::from_u8(reader.u8()?).ok_or(Malformed("a message has an unknown phase"))
}

fn read_command(kind: u8, body: &[u8]) -> Result<Command<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let command = match kind {
        1 => {
            let sent_at = reader.i64()?;
            let visible_at = sent_at.wrapping_add(reader.i64()?);
            return Ok(Command::Message { sent_at, visible_at, record: reader.rest() });
        }
        2 => Command::Stamp { producer: reader.text()?, number: reader.u64()? },
        3 => Command::Lease { until: reader.i64()?, numbers: reader.numbers()? },
        4 => Command::Delete { numbers: reader.numbers()? },
        5 => Command::Hide { until: reader.i64()?, numbers: reader.numbers()? },
        6 => Command::Return { numbers: reader.numbers()? },
        7 => Command::Exhaust { numbers: reader.numbers()? },
        8 => Command::Transfer { phase: phase(&mut reader)?, first: reader.u64()?, numbers: reader.numbers()? },
        9 => Command::Forget { transfers: reader.numbers()? },
        10 => Command::Purge { before: reader.u64()? },
        11 => {
            let state = Carried {
                number: reader.u64()?,
                sent_at: reader.i64()?,
                visible_at: reader.i64()?,
                first_received: reader.i64()?,
                last_received_s: reader.u32()?,
                delay_s: reader.u32()?,
                receives: reader.u32()?,
                phase: phase(&mut reader)?,
            };
            return Ok(Command::Carry { state, record: reader.rest() });
        }
        12 => Command::Counter { next_transfer: reader.u64()? },
        _ => return Err(Malformed("it has a command that this weir does not know")),
    };
    if reader.is_empty() { Ok(command) } else { Err(Malformed("a command is longer than it should be")) }
}

/// A block that was written, with the places of its messages' records.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub first: u64,
    pub records: u32,
    pub payload: Bytes,
    /// Of each message: where its record begins and ends.
    pub spans: Vec<(u32, u32)>,
}

impl Written {
    /// Returns the block as a log takes it.
    pub(crate) fn block(&self) -> Block {
        Block { records: self.records, payload: self.payload.clone() }
    }

    /// Returns the record of the message that lies at a place.
    pub(crate) fn record(&self, place: u64) -> Option<Bytes> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        let (from, to) = *self.spans.get(index)?;
        Some(self.payload.slice(from as usize..to as usize))
    }
}

/// Writes the blocks of one append.
#[derive(Debug)]
pub(crate) struct Writer {
    time: i64,
    first: u64,
    done: Vec<Written>,
    bytes_done: usize,
    current: Vec<u8>,
    spans: Vec<(u32, u32)>,
    body: Vec<u8>,
}

impl Writer {
    /// Begins an append at `time`, where the log's tail is `first`.
    pub(crate) fn new(time: i64, first: u64) -> Self {
        let (current, body) = (Vec::new(), Vec::new());
        Self { time, first, done: Vec::new(), bytes_done: 0, current, spans: Vec::new(), body }
    }

    /// Returns the place that the next message will get.
    pub(crate) fn place(&self) -> u64 {
        self.first + self.spans.len() as u64
    }

    /// Returns the first place of the block that is being written.
    pub(crate) fn block_first(&self) -> u64 {
        self.first
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes_done + self.current.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.done.is_empty() && self.current.is_empty()
    }

    pub(crate) fn put(&mut self, command: &Command<'_>) {
        if self.current.is_empty() {
            self.current.push(VERSION);
            put_i64(&mut self.current, self.time);
        }
        self.body.clear();
        command.put_body(&mut self.body);
        self.current.push(command.kind());
        put_u64(&mut self.current, self.body.len() as u64);
        self.current.extend_from_slice(&self.body);
        if let Command::Message { record, .. } | Command::Carry { record, .. } = command {
            let end = self.current.len();
            self.spans.push(((end - record.len()) as u32, end as u32));
        }
        if self.current.len() >= BLOCK_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let records = (self.spans.len() as u32).max(1);
        let payload = Bytes::from(std::mem::take(&mut self.current));
        self.bytes_done += payload.len();
        let spans = std::mem::take(&mut self.spans);
        self.done.push(Written { first: self.first, records, payload, spans });
        self.first += u64::from(records);
    }

    /// Returns the blocks, and the place behind them.
    pub(crate) fn finish(mut self) -> (Vec<Written>, u64) {
        self.close();
        (self.done, self.first)
    }
}

/// Reads a block: calls `each` with the block's time, the command, and the place that it has or would have.
pub(crate) fn read_block(
    first: u64,
    payload: &[u8],
    mut each: impl FnMut(i64, u64, Command<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(payload);
    if reader.u8()? != VERSION {
        return Err(Malformed("it has a version that this weir does not know"));
    }
    let time = reader.i64()?;
    let mut place = first;
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let command = read_command(kind, reader.bytes()?)?;
        let step = u64::from(command.is_message());
        each(time, place, command)?;
        place += step;
    }
    Ok(())
}

/// Finds the records in a block that was read from the log.
pub(crate) fn written(first: u64, records: u32, payload: Bytes) -> Result<Written, Malformed> {
    let mut spans = Vec::new();
    let base = payload.as_ptr() as usize;
    read_block(first, &payload, |_, _, command| {
        if let Command::Message { record, .. } | Command::Carry { record, .. } = command {
            let from = record.as_ptr() as usize - base;
            spans.push((from as u32, (from + record.len()) as u32));
        }
        Ok(())
    })?;
    Ok(Written { first, records, payload, spans })
}

/// Returns the messages of a block that was read from the log: number, place, record.
pub(crate) fn messages(first: u64, payload: &Bytes) -> Result<Vec<(u64, u64, Bytes)>, Malformed> {
    let mut found = Vec::new();
    read_block(first, payload, |_, place, command| {
        match command {
            Command::Message { record, .. } => found.push((place, place, payload.slice_ref(record))),
            Command::Carry { state, record } => found.push((state.number, place, payload.slice_ref(record))),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_back_with_their_places() {
        let state = Carried {
            number: 3,
            sent_at: -5,
            visible_at: 9,
            first_received: 7,
            last_received_s: 2,
            delay_s: 1,
            receives: 4,
            phase: Phase::Dead,
        };
        let big = vec![7; BLOCK_BYTES];
        let commands = [
            Command::Stamp { producer: "a", number: 8 },
            Command::Message { sent_at: 5, visible_at: 50, record: b"one" },
            Command::Lease { until: 77, numbers: vec![9, 3, u64::MAX] },
            Command::Message { sent_at: 5, visible_at: 5, record: &big },
            Command::Delete { numbers: vec![1] },
            Command::Hide { until: -1, numbers: vec![] },
            Command::Return { numbers: vec![2] },
            Command::Exhaust { numbers: vec![2] },
            Command::Transfer { phase: Phase::Moving, first: 6, numbers: vec![1, 2] },
            Command::Forget { transfers: vec![6] },
            Command::Purge { before: 12 },
            Command::Carry { state, record: b"two" },
            Command::Counter { next_transfer: 8 },
        ];
        let mut writer = Writer::new(1000, 40);
        for command in &commands {
            writer.put(command);
        }
        assert_eq!(writer.place(), 43);
        let (blocks, end) = writer.finish();
        assert_eq!((blocks.len(), end), (2, 43));
        let mut found = 0;
        for block in &blocks {
            let again = written(block.first, block.records, block.payload.clone()).unwrap();
            assert_eq!((&again.spans, again.records), (&block.spans, block.records));
            read_block(block.first, &block.payload, |time, _, command| {
                assert_eq!((time, &command), (1000, &commands[found]));
                found += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(found, commands.len());
        assert_eq!(&blocks[0].record(40).unwrap()[..], b"one");
        assert_eq!(&blocks[1].record(42).unwrap()[..], b"two");
        assert_eq!(blocks[0].record(42), None);
    }
}
