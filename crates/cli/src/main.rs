//! The `weir` command: the only printer.
//!
//! stdout is data, stderr is everything else; `--json` works on every command that answers; exit codes are those of
//! [`exit::Exit`]. Each command is a file of its own.

mod api;
mod archive;
mod backfill;
mod check;
mod client;
mod crawl;
mod dead;
mod demo;
mod exit;
mod function;
mod ledger;
mod log;
mod lookup;
mod output;
mod query;
mod queue;
mod replay;
mod send;
mod serve;
mod status;
mod table;
mod tail;
mod telemetry;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

/// Keeps its memory small under the many short allocations of parsing, and gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A serverless data pipeline in one binary: streams, SQL functions, and exactly-once tables.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the flights example in a temporary folder and ask it three questions
    Demo(demo::Args),
    /// Run the folder's plan until SIGINT or SIGTERM
    Up(up::Args),
    /// Check a folder's configuration, schemas and SQL without starting anything
    Check(check::Args),
    /// Send files of records to a stream
    Send(send::Args),
    /// Feed files of the past to a stream at full speed: folders, globs, Parquet; started again, it goes on
    Backfill(backfill::Args),
    /// Answer SQL over tables and lookups
    Query(query::Args),
    /// Print a stream's records as JSON lines
    Tail(tail::Args),
    /// Show streams, queues, functions, files, tables and lookups
    Status(status::Args),
    /// Queues: list, send, look, redrive
    Queue(queue::Args),
    /// A stream's archive: list its hours, verify its files
    Archive(archive::Args),
    /// Dead letters: list, show, group, redrive, drop
    Dead(dead::Args),
    /// Put records of the past through the plan as it is now: rows are replaced, never doubled
    Replay(replay::Args),
    /// Tables: refresh, compact, vacuum
    Table(table::Args),
    /// Functions: list, invoke, logs, versions, rollback
    Function(function::Args),
    /// Show what came in, went out and is in flight, hop by hop, and whether it balances
    Ledger(ledger::Args),
    /// Crawls: run, status, runs, pause, resume, cancel, plan, infer, import, record, test
    Crawl(crawl::Args),
    /// Vendors' accounts: list, show what their budgets allow
    Api(api::Args),
    /// Lookups: list, show, refresh
    Lookup(lookup::Args),
    /// Look into a data folder's log, verify it, or repair it
    Log(log::Args),
}

fn main() -> ExitCode {
    // A process that is about to become a handler: it must not do anything else before.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == serve::CONFINE) {
        weir_lambda::confine::main(std::env::args_os().skip(2));
    }
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Up(args) => up::run(args),
        Command::Check(args) => check::run(args),
        Command::Send(args) => send::run(args),
        Command::Backfill(args) => backfill::run(args),
        Command::Query(args) => query::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Status(args) => status::run(args),
        Command::Queue(args) => queue::run(args),
        Command::Archive(args) => archive::run(args),
        Command::Dead(args) => dead::run(args),
        Command::Crawl(args) => crawl::run(args),
        Command::Api(args) => api::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Table(args) => table::run(args),
        Command::Function(args) => function::run(args),
        Command::Ledger(args) => ledger::run(args),
        Command::Lookup(args) => lookup::run(args),
        Command::Log(args) => log::run(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A reader that has enough (`weir query ... | head`) is no failure.
            if output::is_broken_pipe(&error) {
                return Exit::Done.into();
            }
            output::error(&error);
            exit::of_error(&error).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_arguments_of_a_command_collide() {
        super::Cli::command().debug_assert();
    }
}
