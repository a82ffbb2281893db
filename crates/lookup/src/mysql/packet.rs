//! Packets: 3 bytes of length, one that counts, then the payload; and what stands in them.
//!
//! A payload of 16 MiB less a byte goes on in the next packet. Invariant: a payload is bounded before it is read, by what a
//! lookup may hold.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use crate::database::DatabaseError;
use crate::tls::Stream;

/// The largest payload of one packet: one of this length goes on in the next.
const PART_MAX: usize = 0xff_ffff;
/// What is read ahead.
const AHEAD_BYTES: usize = 256 * 1024;
/// The least that a payload may have: greetings and errors fit.
const PAYLOAD_MIN: u64 = 64 * 1024;

const PROTOCOL: fn(&'static str) -> DatabaseError = |reason| DatabaseError::Protocol { reason };

/// A connection, by packets.
pub(super) struct Packets {
    stream: BufReader<Stream>,
    payload: Vec<u8>,
    sequence: u8,
    payload_max: u64,
}

impl Packets {
    pub(super) fn new(stream: Stream, payload_max: u64) -> Self {
        let stream = BufReader::with_capacity(AHEAD_BYTES, stream);
        Self { stream, payload: Vec::new(), sequence: 0, payload_max: payload_max.max(PAYLOAD_MIN) }
    }

    /// Gives the connection back, to be secured. Nothing that came is lost: the server is silent before TLS begins.
    pub(super) fn into_plain(self) -> Result<(Stream, u8), DatabaseError> {
        // Whoever put something there wants it to be taken for the server's, as if TLS had carried it.
        match self.stream.buffer().is_empty() {
            true => Ok((self.stream.into_inner(), self.sequence)),
            false => Err(PROTOCOL("the server spoke before TLS began")),
        }
    }

    /// Goes on counting where a connection was before it was secured.
    pub(super) fn counting_from(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// Reads a payload; the server's refusal is an error.
    pub(super) async fn read(&mut self) -> Result<&[u8], DatabaseError> {
        self.payload.clear();
        loop {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head).await.map_err(broken)?;
            let part = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
            if head[3] != self.sequence {
                return Err(PROTOCOL("packets are out of order"));
            }
            self.sequence = self.sequence.wrapping_add(1);
            let before = self.payload.len();
            if (before + part) as u64 > self.payload_max {
                return Err(PROTOCOL("a row is larger than the lookup's `bytes_max`"));
            }
            self.payload.resize(before + part, 0);
            self.stream.read_exact(&mut self.payload[before..]).await.map_err(broken)?;
            if part < PART_MAX {
                break;
            }
        }
        match self.payload.first() {
            Some(0xff) => Err(refused(&self.payload)),
            Some(_) => Ok(&self.payload),
            None => Err(PROTOCOL("a packet is empty")),
        }
    }

    /// Begins a new exchange.
    pub(super) async fn command(&mut self, command: u8, body: &[u8]) -> Result<(), DatabaseError> {
        self.sequence = 0;
        let mut payload = Vec::with_capacity(body.len() + 1);
        payload.push(command);
        payload.extend_from_slice(body);
        self.write(&payload).await
    }

    /// Writes a payload within an exchange.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<(), DatabaseError> {
        if payload.len() >= PART_MAX {
            return Err(DatabaseError::Statement { reason: "the statement is larger than 16 MiB" });
        }
        let mut packet = Vec::with_capacity(payload.len() + 4);
        packet.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        packet.push(self.sequence);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&packet).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }
}

fn broken(source: io::Error) -> DatabaseError {
    DatabaseError::Broken { source }
}

/// 0xff, the error's number, `#`, the SQL state of five, and the text.
fn refused(payload: &[u8]) -> DatabaseError {
    let read = || -> Result<DatabaseError, DatabaseError> {
        let mut reader = Reader(payload);
        reader.byte()?;
        let code = u16::from_le_bytes(reader.array()?);
        let mut state = "HY000".to_owned();
        if let [b'#', rest @ ..] = reader.0
            && let Some((found, text)) = rest.split_at_checked(5)
        {
            state = String::from_utf8_lossy(found).into_owned();
            reader.0 = text;
        }
        let message = String::from_utf8_lossy(reader.0).into_owned();
        Ok(DatabaseError::Refused { code, state, message })
    };
    read().unwrap_or_else(|error| error)
}

/// The rest of a payload.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, DatabaseError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DatabaseError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(PROTOCOL("a packet is cut off"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DatabaseError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(PROTOCOL("a packet is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    /// Reads up to a zero byte, or to the end.
    pub(super) fn until_zero(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (head, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        head
    }

    /// Reads an integer of variable length.
    pub(super) fn length(&mut self) -> Result<u64, DatabaseError> {
        Ok(match self.byte()? {
            0xfc => u16::from_le_bytes(self.array()?).into(),
            0xfd => {
                let [a, b, c] = self.array()?;
                u32::from_le_bytes([a, b, c, 0]).into()
            }
            0xfe => u64::from_le_bytes(self.array()?),
            0xfb | 0xff => return Err(PROTOCOL("a length is none")),
            small => small.into(),
        })
    }

    /// Reads bytes behind their length.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], DatabaseError> {
        let length = usize::try_from(self.length()?).map_err(|_| PROTOCOL("a packet is cut off"))?;
        self.bytes(length)
    }

    pub(super) fn text(&mut self) -> Result<String, DatabaseError> {
        String::from_utf8(self.sized()?.to_vec()).map_err(|_| PROTOCOL("a name is not UTF-8"))
    }
}
