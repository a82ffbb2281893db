//! Messages on their way into a queue: checked against its settings, and written as records, before its owner hears of them.

use weir_types::QueueName;

use crate::error::SendError;
use crate::limits::DELAY_INTERNAL_MAX;
use crate::message::Message;
use crate::owner::SEND_BYTES_MAX;
use crate::record;
use crate::settings::Settings;
use crate::state::key;
use crate::transfer::Adopted;
use crate::turn::Outgoing;

/// What a record costs in a block beside its own bytes, at most.
const RECORD_OVERHEAD: usize = 64;

/// Checks and writes messages.
pub(crate) fn encode(
    queue: &QueueName,
    settings: &Settings,
    messages: Vec<Message>,
) -> Result<Vec<Outgoing>, SendError> {
    let each = messages.into_iter().enumerate();
    each.map(|(index, message)| encode_one(queue, settings, index, message)).collect()
}

fn encode_one(
    queue: &QueueName,
    settings: &Settings,
    index: usize,
    mut message: Message,
) -> Result<Outgoing, SendError> {
    let (bytes, bytes_max) = (record::size(&message), settings.message_bytes_max);
    if bytes > bytes_max {
        return Err(SendError::TooLarge { queue: queue.clone(), index, bytes, bytes_max });
    }
    let delay = message.delay.unwrap_or(settings.delay);
    if delay > DELAY_INTERNAL_MAX {
        return Err(SendError::Delay { queue: queue.clone(), index });
    }
    let mut found = None;
    if let Some(fifo) = &settings.fifo {
        if message.group.is_none() {
            return Err(SendError::NoGroup { queue: queue.clone(), index });
        }
        let Some((id, key)) = key(fifo, &message) else {
            return Err(SendError::NoDeduplication { queue: queue.clone(), index });
        };
        message.deduplication = Some(id);
        found = Some(key);
    }
    let record = record::encode(&message, None, found, None);
    Ok(Outgoing { record, key: found, sent_at: None, delay })
}

/// Writes messages that come from another queue.
pub(crate) fn adopt(is_fifo: bool, messages: Vec<Adopted>) -> Vec<Outgoing> {
    let each = messages.into_iter();
    each.map(|Adopted { message, id, sent_at, source }| Outgoing {
        record: record::encode(&message, Some(id.0), None, source.as_ref()),
        key: None,
        sent_at: (!is_fifo).then_some(sent_at),
        delay: message.delay.unwrap_or_default(),
    })
    .collect()
}

/// Checks that messages fit into one append.
pub(crate) fn check_together(queue: &QueueName, messages: &[Outgoing]) -> Result<(), SendError> {
    let bytes = messages.iter().map(|message| message.record.len() + RECORD_OVERHEAD).sum();
    if bytes > SEND_BYTES_MAX {
        return Err(SendError::BatchTooLarge { queue: queue.clone(), bytes, bytes_max: SEND_BYTES_MAX });
    }
    Ok(())
}
