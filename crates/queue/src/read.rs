//! Reading messages: the records of those that an owner has named, and the log from a place on.
//!
//! A message may be copied forward while it is being read; then it is looked for again.

use bytes::Bytes;
use hashbrown::HashSet;
use tokio::sync::mpsc;
use weir_log::{ReadError, ReadLimit};
use weir_types::{SequenceNumber, Timestamp};

use crate::codec::Malformed;
use crate::command::messages;
use crate::error::QueueError;
use crate::id::ReceiptHandle;
use crate::message::Received;
use crate::owner::{Call, Found, ask};
use crate::queues::MoveFilter;
use crate::record::{self, Content};
use crate::shared::Shared;
use crate::transfer::{MoveStep, Transfer};
use crate::turn::Taken;

/// How often a message is looked for that is copied forward again and again.
const LOOKS_MAX: u32 = 8;
/// What one read of the log asks for, in bytes.
const READ_BYTES: usize = 1 << 20;
/// Messages of one answer.
const BROWSE_MAX: usize = 10_000;

type Calls = mpsc::Sender<Call>;

fn failed(shared: &Shared, source: ReadError) -> QueueError {
    QueueError::Read { queue: shared.name.clone(), source }
}

fn malformed(shared: &Shared, place: u64, error: Malformed) -> QueueError {
    let log = shared.log.name().clone();
    let (from, to) = (SequenceNumber(place), SequenceNumber(place + 1));
    failed(shared, ReadError::Damaged { log, from, to, place: error.0.to_owned() })
}

/// Reads a message's content; none if it is gone.
async fn content(shared: &Shared, calls: &Calls, taken: &Taken) -> Result<Option<Content>, QueueError> {
    let mut place = taken.place;
    for _ in 0..LOOKS_MAX {
        match shared.payloads.record(&*shared.log, place).await {
            Ok(record) => return record::decode(&record).map(Some).map_err(|error| malformed(shared, place, error)),
            Err(ReadError::Trimmed { .. }) => {
                let numbers = vec![taken.number];
                let found = ask::<_, QueueError>(shared, calls, |answer| Call::Locate { numbers, answer }).await?;
                let Some(now) = found.first() else { return Ok(None) };
                place = now.place;
            }
            Err(error) => return Err(failed(shared, error)),
        }
    }
    let (log, from) = (shared.log.name().clone(), SequenceNumber(place));
    let what = "it was copied forward again and again".to_owned();
    Err(failed(shared, ReadError::Damaged { log, from, to: from + 1, place: what }))
}

fn build(taken: &Taken, receipt: ReceiptHandle, sequence: u64, content: Content) -> Received {
    let Content { message, source } = content;
    Received {
        id: taken.id,
        receipt,
        sequence: SequenceNumber(sequence),
        body: message.body,
        attributes: message.attributes,
        trace_header: message.trace_header,
        group: message.group,
        deduplication: message.deduplication,
        headers: message.headers,
        sent_at: Timestamp(taken.sent_at),
        first_received_at: Timestamp(taken.first_received),
        receive_count: taken.receives,
        source,
    }
}

/// Reads messages that were received or given up; those that are gone meanwhile are left out.
pub(crate) async fn received(shared: &Shared, calls: &Calls, taken: &[Taken]) -> Result<Vec<Received>, QueueError> {
    let mut found = Vec::with_capacity(taken.len());
    for taken in taken {
        if let Some(content) = content(shared, calls, taken).await? {
            let receipt = ReceiptHandle::new(shared.identity, taken.number, taken.receives);
            found.push(build(taken, receipt, taken.number, content));
        }
    }
    Ok(found)
}

/// As [`received`], but leaves out what does not read, as long as anything does.
pub(crate) async fn readable(shared: &Shared, calls: &Calls, taken: &[Taken]) -> Result<Vec<Received>, QueueError> {
    let (mut found, mut failure) = (Vec::with_capacity(taken.len()), None);
    for one in taken {
        match received(shared, calls, std::slice::from_ref(one)).await {
            Ok(read) => found.extend(read),
            Err(error) if error.is_closed() => return Err(error),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(queue = %shared.name, message = %one.id, cause, "a message does not read; it stays hidden");
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// Reads messages that are under way to another queue.
pub(crate) async fn transfers(shared: &Shared, calls: &Calls, taken: &[Taken]) -> Result<Vec<Transfer>, QueueError> {
    let mut found = Vec::with_capacity(taken.len());
    for taken in taken {
        let Some(Content { message, source }) = content(shared, calls, taken).await? else { continue };
        found.push(Transfer {
            number: taken.transfer,
            message,
            id: taken.id,
            sent_at: Timestamp(taken.sent_at),
            source,
            receive_count: taken.receives,
        });
    }
    Ok(found)
}

/// The live messages of a stretch of the log, and the place behind it; none if that was the log's end when it was read.
struct Stretch {
    /// Each with the place where its record was read.
    found: Vec<(Found, u64, Bytes)>,
    next: Option<SequenceNumber>,
}

/// Which messages of a stretch count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lying {
    /// Those that still lie there.
    There,
    /// Those that were copied forward meanwhile too: whoever looks at everything once misses none.
    Anywhere,
}

async fn stretch(shared: &Shared, calls: &Calls, from: SequenceNumber, lying: Lying) -> Result<Stretch, QueueError> {
    let bounds = shared.log.bounds();
    let mut from = from.max(bounds.head);
    let mut looks = 0;
    let blocks = loop {
        match shared.log.read(from, ReadLimit { bytes_max: READ_BYTES }).await {
            Ok(blocks) => break blocks,
            Err(ReadError::Trimmed { head, .. }) if looks < LOOKS_MAX => (from, looks) = (head, looks + 1),
            Err(error) => return Err(failed(shared, error)),
        }
    };
    let next = blocks.last().map(weir_log::StoredBlock::end).filter(|next| *next < bounds.tail);
    let mut records = Vec::new();
    for block in blocks {
        let each = messages(block.first.0, &block.payload).map_err(|error| malformed(shared, block.first.0, error))?;
        records.extend(each.into_iter().filter(|(_, place, _)| *place >= from.0));
    }
    let places = records.iter().map(|(number, place, _)| (*number, *place)).collect();
    let anywhere = lying == Lying::Anywhere;
    let live: Vec<Found> =
        ask::<_, QueueError>(shared, calls, |answer| Call::AtPlaces { places, anywhere, answer }).await?;
    let mut records = records.into_iter();
    let with_record = |found: Found| {
        // Both are in the order of the records; a message that lies in the stretch twice was named twice.
        let (_, place, record) = records.find(|(number, ..)| *number == found.taken.number)?;
        Some((found, place, record))
    };
    Ok(Stretch { found: live.into_iter().filter_map(with_record).collect(), next })
}

/// Reads live messages from a place on.
pub(crate) async fn browse(
    shared: &Shared,
    calls: &Calls,
    from: SequenceNumber,
    max: usize,
) -> Result<Vec<Received>, QueueError> {
    let max = max.min(BROWSE_MAX);
    let (mut from, mut browsed) = (from, Vec::new());
    while browsed.len() < max {
        let Stretch { found, next } = stretch(shared, calls, from, Lying::There).await?;
        for (Found { taken, .. }, _, record) in found.into_iter().take(max - browsed.len()) {
            let content = record::decode(&record).map_err(|error| malformed(shared, taken.place, error))?;
            browsed.push(build(&taken, ReceiptHandle(String::new()), taken.place, content));
        }
        let Some(next) = next else { break };
        from = next;
    }
    Ok(browsed)
}

fn passes(filter: &MoveFilter, taken: &Taken, content: &Content) -> bool {
    let has_text =
        |text: &String| text.is_empty() || content.message.body.windows(text.len()).any(|part| part == text.as_bytes());
    filter.body_contains.as_ref().is_none_or(has_text)
        && filter.group.as_ref().is_none_or(|group| content.message.group.as_ref() == Some(group))
        && filter.since.is_none_or(|since| taken.sent_at >= since.0)
        && filter.until.is_none_or(|until| taken.sent_at < until.0)
}

/// Takes ready messages of one stretch of the log for a move.
pub(crate) async fn take_for_move(
    shared: &Shared,
    calls: &Calls,
    from: SequenceNumber,
    until: SequenceNumber,
    max: usize,
    filter: Option<&MoveFilter>,
) -> Result<MoveStep, QueueError> {
    let Stretch { found, mut next } = stretch(shared, calls, from, Lying::Anywhere).await?;
    let (mut numbers, mut contents) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for (Found { taken, is_ready }, place, record) in found {
        if !is_ready || taken.number >= until.0 || !seen.insert(taken.number) {
            continue;
        }
        if numbers.len() == max {
            next = Some(SequenceNumber(place));
            break;
        }
        let content = record::decode(&record).map_err(|error| malformed(shared, taken.place, error))?;
        if filter.is_none_or(|filter| passes(filter, &taken, &content)) {
            numbers.push(taken.number);
            contents.push((taken.number, content));
        }
    }
    let taken = if numbers.is_empty() {
        Vec::new()
    } else {
        ask::<_, QueueError>(shared, calls, |answer| Call::TakeForMove { numbers, answer }).await?
    };
    let mut contents = contents.into_iter();
    let transfer = |taken: Taken| {
        let (_, Content { message, source }) = contents.find(|(number, _)| *number == taken.number)?;
        let (number, sent_at) = (taken.transfer, Timestamp(taken.sent_at));
        Some(Transfer { number, message, id: taken.id, sent_at, source, receive_count: taken.receives })
    };
    Ok(MoveStep { transfers: taken.into_iter().filter_map(transfer).collect(), next })
}
