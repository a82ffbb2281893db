//! `weir query`: SQL in, rows out.

use std::io::Read;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::{Args as ClapArgs, ValueEnum};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use futures::StreamExt;
use weir_server::{QueryRequest, RowFormat};

use crate::client::{self, Client, Refused, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// Rows that a table on the terminal shows.
const SHOWN_MAX: usize = 1000;
/// What a table on the terminal may hold in memory.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// A header and rows
    Csv,
    /// One JSON object per line
    Ndjson,
    /// Arrow's IPC stream
    Arrow,
}

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// One SQL statement that only reads; `-` reads it from stdin
    sql: String,
    #[command(flatten)]
    server: ServerArgs,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format ndjson
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let sql = if args.sql == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read SQL from stdin")?;
        text
    } else {
        args.sql
    };
    let format = if args.json { Format::Ndjson } else { args.format };
    let client = Client::new(&args.server)?;
    client::block_on(async {
        match answer(&client, &sql, format).await {
            Ok(()) => Ok(Exit::Done),
            Err(error) => match error.downcast::<Refused>() {
                Ok(refused) => {
                    show_refusal(&sql, &refused);
                    Ok(Exit::Failed)
                }
                Err(error) => Err(error),
            },
        }
    })
}

async fn answer(client: &Client, sql: &str, format: Format) -> anyhow::Result<()> {
    let wire = match format {
        Format::Csv => RowFormat::Csv,
        Format::Ndjson => RowFormat::Ndjson,
        Format::Table | Format::Arrow => RowFormat::Arrow,
    };
    let request = serde_json::to_vec(&QueryRequest { sql: sql.to_owned(), format: Some(wire) })?;
    let request = client.post("/v1/query").header("content-type", "application/json").body(request);
    let response = client.send(request).await?;
    let mut body = response.bytes_stream();
    if format != Format::Table {
        while let Some(chunk) = body.next().await {
            output::bytes(&chunk.context("the answer broke off")?)?;
        }
        return Ok(());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.context("the answer broke off")?);
        anyhow::ensure!(
            bytes.len() <= TABLE_BYTES_MAX,
            "the answer is too large for a table; add a `limit`, or use --format csv, ndjson or arrow"
        );
    }
    let reader = StreamReader::try_new(bytes.as_slice(), None).context("read the answer")?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().context("read the answer")?;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    output::data(&render(&names, &batches)?)
}

/// Renders rows as a table: numbers to the right.
pub fn render(names: &[&str], batches: &[RecordBatch]) -> anyhow::Result<String> {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(names);
    let options = FormatOptions::default().with_null("");
    let mut rows = 0;
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            rows += 1;
            if rows <= SHOWN_MAX {
                table.add_row(columns.iter().map(|column| Cell::new(column.value(row).to_string())));
            }
        }
        for (index, column) in batch.columns().iter().enumerate() {
            if column.data_type().is_numeric()
                && let Some(column) = table.column_mut(index)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let counted = match rows {
        1 => "1 row".to_owned(),
        _ if rows > SHOWN_MAX => {
            format!("{} rows, the first {} shown", output::count(rows as u64), output::count(SHOWN_MAX as u64))
        }
        _ => format!("{} rows", output::count(rows as u64)),
    };
    Ok(format!("{table}\n{counted}\n"))
}

/// Shows what is wrong with the SQL, with the place marked.
fn show_refusal(sql: &str, refused: &Refused) {
    let error = &refused.0;
    let mut text = format!("\x1b[1;31merror\x1b[0m: {}", error.message);
    if let (Some(line), Some(column)) = (error.line, error.column)
        && let Some(source) = sql.lines().nth(line.saturating_sub(1))
    {
        let margin = " ".repeat(line.to_string().len());
        let caret = " ".repeat(column.saturating_sub(1));
        text.push_str(&format!(
            "\n{margin} --> line {line}, column {column}\n{margin} |\n{line} | {source}\n{margin} | {caret}^"
        ));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    output::note(&text);
}
