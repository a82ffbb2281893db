//! `weir table`: what can be done with a table.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wait until a table, made of another one or not, has all that was acknowledged
    Refresh {
        #[command(flatten)]
        which: Which,
    },
    /// Rebuild every partition that is not as compact as it gets, without waiting until it is due
    Compact {
        #[command(flatten)]
        which: Which,
    },
    /// Delete files that no version needs, without waiting for the next round
    Vacuum {
        #[command(flatten)]
        which: Which,
        /// How long files that were replaced stay, for readers of the version before
        #[arg(long, default_value = "1h")]
        keep: String,
    },
}

#[derive(Debug, ClapArgs)]
struct Which {
    /// The table
    table: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let (which, path) = match &args.command {
        Command::Refresh { which } => (which, "refresh".to_owned()),
        Command::Compact { which } => (which, "compact".to_owned()),
        Command::Vacuum { which, keep } => (which, format!("vacuum?keep={keep}")),
    };
    let (client, table) = (Client::new(&which.server)?, &which.table);
    let answer: Value = client::block_on(async {
        let response = client.send(client.post(&format!("/v1/tables/{table}/{path}"))).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })?;
    if which.json {
        output::data(&format!("{answer}\n"))?;
        return Ok(Exit::Done);
    }
    let told = match args.command {
        Command::Refresh { .. } => format!("table {table} is up to date, in version {}", answer["version"]),
        Command::Compact { .. } if answer["files_in"] == 0 => format!("table {table} is as compact as it gets"),
        Command::Compact { .. } => format!(
            "table {table}: {} files became {}, {} repeats left out",
            answer["files_in"], answer["files_out"], answer["removed"]
        ),
        Command::Vacuum { .. } => format!(
            "table {table}: {} dead files deleted ({} bytes), and {} of its log",
            answer["files"], answer["bytes"], answer["log_files"]
        ),
    };
    output::data(&format!("{told}\n"))?;
    Ok(Exit::Done)
}
