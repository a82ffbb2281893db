//! `weir dead`: records that could not go on, and what is to become of them.

mod act;
mod choice;
mod show;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use weir_server::{LetterQuery, View};

use self::act::{Drop, Redrive};
use self::choice::{Choice, State};
use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// How much of an error a table shows, in characters.
const ERROR_CHARACTERS: usize = 80;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List dead letters, the one that failed last first
    List {
        #[command(flatten)]
        choice: Choice,
        /// Which, by what became of them
        #[arg(long, value_enum, default_value_t = State::Open)]
        state: State,
        /// How many
        #[arg(long, short = 'n', default_value_t = 100)]
        limit: usize,
        /// Go on behind the page before: what it called `next`
        #[arg(long, value_name = "NEXT")]
        after: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show one with its payload
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Count them by cause, target and error
    Group {
        #[command(flatten)]
        choice: Choice,
        /// Which, by what became of them
        #[arg(long, value_enum, default_value_t = State::Open)]
        state: State,
        #[command(flatten)]
        common: Common,
    },
    /// Send open ones on once more, to what gave up on them
    Redrive(Redrive),
    /// Give open ones up for good; they stay in the table
    Drop(Drop),
}

#[derive(Debug, Clone, ClapArgs)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { choice, state, limit, after, common } => {
            let query = LetterQuery { state: Some(state.name()), limit: Some(limit), after, ..choice.query() };
            print(&common, &get(&common, &query)?, list)
        }
        Command::Group { choice, state, common } => {
            let query = LetterQuery { view: Some(View::Groups), state: Some(state.name()), ..choice.query() };
            print(&common, &get(&common, &query)?, groups)
        }
        Command::Show { id, common } => {
            let client = Client::new(&common.server)?;
            let path = format!("/v1/dead-letters/{}", in_path(&id));
            let letter = client::block_on(async {
                let response = client.send(client.get(&path)).await?;
                Ok(serde_json::from_slice(&response.bytes().await?)?)
            })?;
            print(&common, &letter, show::render)
        }
        Command::Redrive(redrive) => redrive.run(),
        Command::Drop(drop) => drop.run(),
    }
}

fn get(common: &Common, query: &LetterQuery) -> anyhow::Result<Value> {
    let client = Client::new(&common.server)?;
    client::block_on(fetch(&client, query))
}

async fn fetch(client: &Client, query: &LetterQuery) -> anyhow::Result<Value> {
    let response = client.send(client.get("/v1/dead-letters").query(query)).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

fn print(common: &Common, answer: &Value, render: impl FnOnce(&Value) -> String) -> anyhow::Result<Exit> {
    output::data(&if common.json { format!("{answer}\n") } else { render(answer) })?;
    Ok(Exit::Done)
}

/// Writes an id as part of a path: slashes may stay, the rest is escaped where it must be.
fn in_path(id: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~/@".contains(byte);
    id.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn short(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= ERROR_CHARACTERS && line.len() == text.len() {
        return line.to_owned();
    }
    line.chars().take(ERROR_CHARACTERS).chain("...".chars()).collect()
}

fn rows_of<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn list(answer: &Value) -> String {
    let letters = rows_of(answer, "letters");
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let rows = letters.iter().map(|letter| {
        let state = match &letter["taken"]["action"] {
            Value::String(action) => action.clone(),
            _ => "open".to_owned(),
        };
        vec![text(&letter["id"]), text(&letter["cause"]), text(&letter["failed_at"]), state, short(&letter["error"])]
    });
    let mut out = output::aligned(&["id", "cause", "failed at", "state", "error"], &[], rows) + "\n";
    if let Some(next) = answer["next"].as_str() {
        out.push_str(&format!("more: --after '{next}'\n"));
    }
    out
}

fn groups(answer: &Value) -> String {
    let groups = rows_of(answer, "groups");
    if groups.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let rows = groups.iter().map(|group| {
        let count = output::count(group["count"].as_u64().unwrap_or_default());
        let names = ["cause", "target"];
        let mut row: Vec<String> = names.iter().map(|name| text(&group[*name])).collect();
        row.extend([
            count,
            text(&group["first"]),
            text(&group["last"]),
            short(&group["error"]),
            text(&group["example"]),
        ]);
        row
    });
    output::aligned(&["cause", "target", "letters", "first", "last", "error", "example"], &[2], rows) + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_id_goes_into_a_path() {
        assert_eq!(super::in_path("stream/a/0@7>table/b"), "stream/a/0@7%3Etable/b");
        assert_eq!(super::in_path("a b?c#d%ü"), "a%20b%3Fc%23d%25%C3%BC");
    }
}
