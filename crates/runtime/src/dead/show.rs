//! One letter with all that is known of it.

use serde::Serialize;

use super::action::parse_fingerprint;
use super::cursor::Order;
use super::filter::{Filter, State, quoted};
use super::find::FindError;
use super::payload::Payload;
use super::rows::{Columns, LetterRow};
use super::{ACTIONS, DEAD_LETTERS};
use crate::node::Node;

/// A letter with its payload.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The letter.
    #[serde(flatten)]
    pub letter: LetterRow,
    /// Its payload's length in bytes.
    pub payload_bytes: u64,
    /// Its payload.
    pub payload: Payload,
    /// Why the payload is not shown as JSON although it has a schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_error: Option<String>,
    /// The payload as it was sent on, if it was edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<Payload>,
}

/// Why a letter is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// There is none.
    #[error("there is no dead letter `{0}`")]
    NoLetter(String),
    /// It could not be looked for.
    #[error(transparent)]
    Find(#[from] FindError),
}

impl Node {
    /// Returns a letter, whatever was decided about it.
    ///
    /// # Errors
    /// See [`ShowError`].
    pub async fn letter(&self, id: &str) -> Result<Shown, ShowError> {
        let filter = Filter { ids: vec![id.to_owned()], state: State::Any, ..Filter::default() };
        let letter = self.find(&filter, None, Order::NewestFirst, 1).await?.pop();
        let no_letter = || ShowError::NoLetter(id.chars().take(400).collect());
        let letter = letter.ok_or_else(no_letter)?;
        let schema = letter.schema.as_deref().and_then(|text| parse_fingerprint(text).ok());
        let payload = self.bytes_of(DEAD_LETTERS, "payload", id).await?.ok_or_else(no_letter)?;
        let payload_bytes = payload.len() as u64;
        let (payload, payload_error) = Payload::of(&payload, schema, self.registry());
        let edited = match &letter.taken {
            Some(_) => self.bytes_of(ACTIONS, "edited", id).await?,
            None => None,
        };
        let edited = edited.map(|edited| Payload::of(&edited, schema, self.registry()).0);
        Ok(Shown { letter, payload_bytes, payload, payload_error, edited })
    }

    async fn bytes_of(&self, table: &str, column: &'static str, id: &str) -> Result<Option<Vec<u8>>, FindError> {
        let sql = format!("select {column} from {table} where id = {}", quoted(id));
        for batch in self.ask(&sql).await? {
            if batch.num_rows() > 0 {
                return Ok(Columns(&batch).bytes(column, 0)?.map(<[u8]>::to_vec));
            }
        }
        Ok(None)
    }
}
