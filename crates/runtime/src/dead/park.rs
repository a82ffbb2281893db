//! The way to the dead letters: they are durable before their records' place is passed.

use std::sync::Arc;

use weir_schema::RecordError;
use weir_stream::{Route, WriteError};

use super::letter::Letter;
use super::record::encode;
use crate::streams::OpenStream;

/// Why letters could not be kept. The records they stand for stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The stream of dead letters did not take them.
    #[error("store dead letters")]
    Write(#[from] WriteError),
    /// One does not fit its schema.
    #[error("a dead letter is not valid: {0}")]
    Record(RecordError),
}

/// The way to the dead letters. Clones share it.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    stream: Arc<OpenStream>,
}

impl DeadLetters {
    pub fn new(stream: Arc<OpenStream>) -> Self {
        Self { stream }
    }

    pub fn stream(&self) -> &Arc<OpenStream> {
        &self.stream
    }

    /// Makes letters durable.
    pub async fn park(&self, letters: Vec<Letter>) -> Result<(), DeadLetterError> {
        let fingerprint = self.stream.schema.fingerprint();
        let mut writer = self.stream.stream.write(None).await?;
        let count = letters.len() as u64;
        for letter in letters {
            tracing::warn!(source = letter.source, cause = letter.cause.as_str(), error = letter.error, "dead letter");
            let record = encode(&letter);
            weir_schema::validate(&self.stream.schema, &record).map_err(DeadLetterError::Record)?;
            if writer.push(Route::Spread, fingerprint, &record) {
                writer.flush().await?;
            }
        }
        writer.finish().await?;
        self.stream.counters.carried(count, 0);
        Ok(())
    }
}
