//! Identifiers: of messages, of leases, of moves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::ReceiptError;

/// A message's id: the same as long as the message lives, also in a dead-letter queue. Shown as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MessageId(pub(crate) u128);

impl MessageId {
    /// The id of a message by its queue's identity and its number there.
    pub(crate) fn new(identity: u64, number: u64) -> Self {
        Self(u128::from(identity) << 64 | u128::from(number))
    }

    /// Returns the number of a message that was sent to the queue of this identity first.
    pub(crate) fn number_in(self, identity: u64) -> Option<u64> {
        ((self.0 >> 64) as u64 == identity).then_some(self.0 as u64)
    }
}

/// A text that is no message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a message id")]
pub struct NoMessageId(String);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl FromStr for MessageId {
    type Err = NoMessageId;
    fn from_str(text: &str) -> Result<Self, NoMessageId> {
        let refused = || NoMessageId(text.chars().take(80).collect());
        let parts: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        u128::from_str_radix(&parts.concat(), 16).map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for MessageId {
    type Error = NoMessageId;
    fn try_from(text: String) -> Result<Self, NoMessageId> {
        text.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> String {
        id.to_string()
    }
}

/// What a receiver holds of a message: its place, which lease it is, and a check, as one opaque text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReceiptHandle(pub(crate) String);

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ReceiptHandle {
    type Err = ReceiptError;
    fn from_str(text: &str) -> Result<Self, ReceiptError> {
        Ok(Self(text.to_owned()))
    }
}

/// Digits of a receipt: number, lease and check.
const RECEIPT_DIGITS: usize = 16 + 8 + 16;

impl ReceiptHandle {
    /// The receipt of a message's lease: its number, its lease's, and a check that ties both to the queue.
    pub(crate) fn new(identity: u64, number: u64, lease: u32) -> Self {
        Self(format!("{number:016x}{lease:08x}{:016x}", check(identity, number, lease)))
    }

    /// Returns the message and the lease.
    ///
    /// # Errors
    /// [`ReceiptError::Invalid`] for any text that this queue has not made.
    pub(crate) fn read(&self, identity: u64) -> Result<(u64, u32), ReceiptError> {
        let text = &self.0;
        // Signs and capitals would be read too, and are not what was given.
        if text.len() != RECEIPT_DIGITS || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReceiptError::Invalid);
        }
        let invalid = |_| ReceiptError::Invalid;
        let number = u64::from_str_radix(&text[..16], 16).map_err(invalid)?;
        let lease = u32::from_str_radix(&text[16..24], 16).map_err(invalid)?;
        let found = u64::from_str_radix(&text[24..], 16).map_err(invalid)?;
        if found == check(identity, number, lease) { Ok((number, lease)) } else { Err(ReceiptError::Invalid) }
    }
}

fn check(identity: u64, number: u64, lease: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&lease.to_le_bytes());
    xxh3_64_with_seed(&bytes, identity)
}

/// The id of a move of messages between queues.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MoveId(pub(crate) String);

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MoveId {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_by_its_own_queue_alone() {
        let receipt = ReceiptHandle::new(7, u64::MAX, 3);
        assert_eq!(receipt.read(7), Ok((u64::MAX, 3)));
        assert_eq!(receipt.read(8), Err(ReceiptError::Invalid));
        for garbled in ["", "x", &receipt.0.to_uppercase(), &receipt.0.replace('3', "4"), &"ä".repeat(20)] {
            assert_eq!(ReceiptHandle(garbled.to_owned()).read(7), Err(ReceiptError::Invalid), "{garbled}");
        }
    }

    #[test]
    fn a_message_id_is_shown_as_a_uuid_and_read_back() {
        let id = MessageId::new(0x0123_4567_89ab_cdef, 5);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0000-000000000005");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!((id.number_in(0x0123_4567_89ab_cdef), id.number_in(1)), (Some(5), None));
        assert!("01234567-89ab-cdef-0000-00000000000".parse::<MessageId>().is_err());
    }
}
