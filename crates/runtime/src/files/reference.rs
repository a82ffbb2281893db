//! Files by reference: functions are told of each, as S3 does.
//!
//! One message for each file in the function's own queue, so that retries and dead letters are those of every event. The
//! messages of a claim are one stamped send: a claim that is handed on again is stored once.

use std::sync::Arc;

use weir_lambda::event::{S3Object, s3};
use weir_queue::{Message, Queue, SendError, Stamp};
use weir_types::FilesName;

use super::machine::Claim;
use super::object::Object;
use super::place::Place;

/// The way to all functions that are on one block.
pub(crate) struct Reference {
    files: FilesName,
    queues: Vec<Arc<Queue>>,
}

impl Reference {
    pub fn new(files: FilesName, queues: Vec<Arc<Queue>>) -> Self {
        Self { files, queues }
    }

    /// Sends one event for each object of a claim to each function.
    ///
    /// # Errors
    /// See [`SendError`]. It may be called again with the same claim.
    pub async fn hand_on(&self, place: &Place, claim: &Claim) -> Result<(), SendError> {
        let bucket = place.bucket(&self.files);
        let events = claim.objects.iter().enumerate();
        let events: Vec<Message> = events
            .map(|(index, object)| Message::new(self.event(place, &bucket, claim.number, index, object)))
            .collect();
        for queue in &self.queues {
            let stamp = Stamp { producer: producer(&self.files), number: claim.number };
            queue.send_once(stamp, events.clone()).await?;
        }
        Ok(())
    }

    fn event(&self, place: &Place, bucket: &str, number: u64, index: usize, object: &Object) -> Vec<u8> {
        let key = place.key(&object.path);
        // Claims have rising numbers, and so has every key that is found again.
        let sequencer = format!("{number:016X}{index:04X}");
        let id = format!("{:016X}", xxhash_rust::xxh3::xxh3_64(format!("{}@{sequencer}", self.files).as_bytes()));
        s3([S3Object {
            bucket,
            key: key.as_ref(),
            bytes: object.bytes,
            etag: object.etag.as_deref().unwrap_or_default().trim_matches('"'),
            version_id: object.version.as_deref(),
            sequencer: &sequencer,
            created_at: object.modified,
            trigger: self.files.as_str(),
            request_id: &id,
        }])
    }
}

/// What a block calls itself where it hands things on.
pub(crate) fn producer(files: &FilesName) -> String {
    format!("files/{files}")
}
