//! Which letters a command is about.

use clap::{Args as ClapArgs, ValueEnum};
use weir_server::{ActRequest, LetterQuery};

/// What became of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Nothing yet
    Open,
    /// They were sent on
    Redriven,
    /// They were given up for good
    Dropped,
    /// Whatever it was
    Any,
}

impl State {
    pub fn name(self) -> String {
        let name = match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
            Self::Any => "any",
        };
        name.to_owned()
    }
}

/// Which letters are meant; all of what is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, ClapArgs)]
#[command(next_help_heading = "Which letters")]
pub struct Choice {
    /// A condition in SQL over the columns of dead_letters, such as "error like '%timeout%'"
    #[arg(long = "where", value_name = "SQL")]
    predicate: Option<String>,
    /// unknown_schema, malformed, function_failed, expired, refused_by_table, received_too_often or target_gone
    #[arg(long)]
    cause: Option<String>,
    /// What gave up on them, such as table/flights
    #[arg(long)]
    target: Option<String>,
    /// Where they came from, such as stream/flights
    #[arg(long)]
    source: Option<String>,
    /// Failed at this time or later: 2026-01-31T12:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Failed at this time or before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The letter itself; may be said more than once
    #[arg(long)]
    id: Vec<String>,
}

impl Choice {
    /// Says whether nothing was said.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    pub fn query(&self) -> LetterQuery {
        let Self { predicate, cause, target, source, since, until, id } = self.clone();
        let id = (!id.is_empty()).then(|| id.join("\n"));
        LetterQuery { predicate, cause, target, source, since, until, id, ..LetterQuery::default() }
    }

    pub fn request(&self) -> ActRequest {
        let Self { predicate, cause, target, source, since, until, id } = self.clone();
        ActRequest { predicate, cause, target, source, since, until, ids: id, ..ActRequest::default() }
    }
}
