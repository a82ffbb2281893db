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
        /// The table
        table: String,
        #[command(flatten)]
        server: ServerArgs,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let Command::Refresh { table, server, json } = args.command;
    let client = Client::new(&server)?;
    let answer: Value = client::block_on(async {
        let response = client.send(client.post(&format!("/v1/tables/{table}/refresh"))).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })?;
    if json {
        output::data(&format!("{answer}\n"))?;
    } else {
        output::data(&format!("table {table} is up to date, in version {}\n", answer["version"]))?;
    }
    Ok(Exit::Done)
}
