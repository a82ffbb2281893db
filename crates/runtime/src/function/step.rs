//! One run of a function over a batch: what it is given, and what came of it.

use bytes::Bytes;
use futures::future::BoxFuture;
use weir_queue::Received;
use weir_types::{Fingerprint, SequenceNumber, Timestamp};

use super::outbox::Made;
use crate::dead::Cause;

/// A record that a function is to work on.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub sequence: SequenceNumber,
    pub arrived_at: Timestamp,
    pub fingerprint: Fingerprint,
    /// Its partition key, if the stream has one.
    pub key: Option<Bytes>,
    /// Avro binary.
    pub body: Bytes,
    /// What a stream of redriven records has it under.
    pub redriven: Option<Bytes>,
}

/// What a run over a batch came to. Items that are in none of the lists are done.
#[derive(Debug, Default)]
pub(crate) struct Worked {
    /// What was made of the items that are done.
    pub made: Vec<Made>,
    /// Items that can't pass, however often they are tried: index, cause, and error.
    pub poisoned: Vec<(usize, Cause, String)>,
    /// Items that failed and are to be tried again, in order.
    pub again: Vec<usize>,
    /// What the function said of those.
    pub error: String,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// Some item may be the cause.
    #[error("{0}")]
    Items(String),
    /// The batch is too large for one run; the halves may pass.
    #[error("{0}")]
    TooLarge(String),
    /// No item is the cause: it would be the same with others.
    #[error("{0}")]
    Halt(String),
}

/// A function over records of a stream.
pub(crate) trait RecordStep: Send + Sync + 'static {
    /// Runs over a batch. Must be safe to call again with the same batch, or parts of it.
    fn run<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Worked, StepError>>;
}

/// A function over messages of a queue.
pub(crate) trait MessageStep: Send + Sync + 'static {
    /// Runs over a batch. Must be safe to call again with the same batch, or parts of it.
    fn run<'a>(&'a self, messages: &'a [Received]) -> BoxFuture<'a, Result<Worked, StepError>>;
}

/// Splits a batch by what came of it: the done, the poisoned with their causes, and those to be tried again.
pub(super) struct Split<T> {
    pub done: Vec<T>,
    pub poisoned: Vec<(T, Cause, String)>,
    pub again: Vec<T>,
}

impl<T> Split<T> {
    pub fn new(items: Vec<T>, worked: &mut Worked) -> Self {
        let mut poisoned_at = std::mem::take(&mut worked.poisoned);
        poisoned_at.sort_by_key(|(index, ..)| *index);
        let mut poisoned_at = poisoned_at.into_iter().peekable();
        let mut again_at = std::mem::take(&mut worked.again);
        again_at.sort_unstable();
        let mut split = Self { done: Vec::new(), poisoned: Vec::new(), again: Vec::new() };
        for (index, item) in items.into_iter().enumerate() {
            if let Some((_, cause, error)) = poisoned_at.next_if(|(at, ..)| *at == index) {
                split.poisoned.push((item, cause, error));
            } else if again_at.binary_search(&index).is_ok() {
                split.again.push(item);
            } else {
                split.done.push(item);
            }
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_split_by_what_came_of_it() {
        let poisoned = vec![(4, Cause::Malformed, "b".to_owned()), (1, Cause::Malformed, "a".to_owned())];
        let mut worked = Worked { poisoned, again: vec![3, 0], ..Worked::default() };
        let split = Split::new(vec!['p', 'q', 'r', 's', 't'], &mut worked);
        assert_eq!(split.done, ['r']);
        assert_eq!(split.again, ['p', 's']);
        assert_eq!(
            split.poisoned.iter().map(|(item, _, error)| (*item, error.as_str())).collect::<Vec<_>>(),
            [('q', "a"), ('t', "b")]
        );
    }
}
