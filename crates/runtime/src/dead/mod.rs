//! Dead letters: records that could not go on, kept with their payload and the cause, and what becomes of them.
//!
//! ```text
//! pipelines, functions, queues, door --letters--> stream and table `dead_letters`
//!                                                              |
//!        list, group, show  <--- a letter is open while no action names it ---+
//!                                                              |             |
//!        redrive, drop --one append: actions--> stream and table `dead_letter_actions`
//!                                                              |
//!                                        [carrier] --> `_redrive-table-NAME`, `_redrive-function-NAME`, streams, queues
//! ```
//!
//! Both are streams of weir's own, and so end up in tables of their names. Invariants: a letter's id is made from where its
//! record stood, so that a letter that is written again after a crash is one letter; the append of the actions is the
//! decision, and a letter has one at most; what was decided is carried out once, also over a crash; what can't be carried
//! out is a letter again, never gone.

mod act;
mod action;
mod actions;
mod avro;
mod carry;
mod cursor;
mod edit;
mod filter;
mod find;
mod given;
mod group;
mod letter;
mod message;
mod park;
mod patch;
mod payload;
mod prepare;
mod record;
mod rows;
mod show;
#[cfg(test)]
mod tests;
mod way;

pub use act::{ActError, Acted, Batch, LETTERS_MAX, RefusedLetter};
pub(crate) use action::{TABLE_SQL as ACTIONS_SQL, schema as actions_schema};
pub(crate) use actions::{Actions, CARRIER};
pub use cursor::{Cursor, CursorError};
pub use edit::{Edit, EditError};
pub(crate) use filter::time;
pub use filter::{Filter, FilterError, State};
pub use find::{FindError, FoundLetters, LETTERS_LISTED_MAX, Taken};
pub use group::{GROUPS_MAX, LetterGroup};
pub use letter::Cause;
pub(crate) use letter::{FORM, Letter, REDRIVE_OF};
pub use park::DeadLetterError;
pub(crate) use park::DeadLetters;
pub use payload::Payload;
pub(crate) use record::{encode, fingerprint, schema};
pub(crate) use rows::Columns;
pub use rows::LetterRow;
pub use show::{ShowError, Shown};

/// The stream and the table of dead letters.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";
/// The stream and the table of what became of them.
pub(crate) const ACTIONS: &str = "dead_letter_actions";

/// Tells whether a stream and table are of weir's own, so that nothing comes from outside.
pub(crate) fn is_own(name: &str) -> bool {
    [DEAD_LETTERS, ACTIONS].contains(&name)
}
