//! What a plan would change in data that are there: schemas, and tables' columns.

use std::path::Path;

use anyhow::Context;
use reqwest::StatusCode;
use serde::Deserialize;
use weir_config::{Diagnostic, Plan};
use weir_env::Env;
use weir_runtime::{StreamPreview, TablePreview, is_in_use, preview_stream, preview_streams, preview_tables};
use weir_schema::Schema;
use weir_types::ByteSize;

use crate::client::{Client, ServerArgs};
use crate::serve;

/// Lines that say what would change, and what would be refused.
#[derive(Debug, Default)]
pub struct Compared {
    /// What would change, a line each.
    pub changes: Vec<String>,
    /// What would be refused.
    pub refused: Vec<Diagnostic>,
}

/// Compares a plan with the tables of a data folder, and with the schemas of a server that runs, or of the folder if it was
/// named: looking at these takes the folder for a moment.
pub fn compare(plan: &Plan, data: &Path, named: bool, server: Option<&str>) -> anyhow::Result<Compared> {
    let env = Env::system();
    serve::runtime()?.block_on(async {
        let mut compared = Compared::default();
        let streams = match server {
            Some(server) => of_server(plan, server).await?,
            None if named && is_data_folder(data) => match preview_streams(plan, data, &env).await {
                Err(error) if is_in_use(&error) => {
                    let message = format!("a server has `{}`: the schemas there are not compared", data.display());
                    let hint = "name it: `--server http://127.0.0.1:4566`";
                    compared.refused.push(Diagnostic::warning(message).hint(hint));
                    Vec::new()
                }
                found => found.with_context(|| format!("look at the schemas in `{}`", data.display()))?,
            },
            _ => Vec::new(),
        };
        for stream in &streams {
            tell_stream(plan, stream, &mut compared);
        }
        if is_data_folder(data) {
            for table in preview_tables(plan, data, &env).await {
                tell_table(plan, &table, &mut compared);
            }
        } else if named {
            compared.changes.push(format!("there are no data in `{}` yet", data.display()));
        }
        Ok(compared)
    })
}

/// A folder that is none would become one by being opened.
fn is_data_folder(data: &Path) -> bool {
    data.join("FORMAT").is_file()
}

#[derive(Deserialize)]
struct Subject {
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
    schema: serde_json::Value,
}

async fn of_server(plan: &Plan, server: &str) -> anyhow::Result<Vec<StreamPreview>> {
    let client = Client::new(&ServerArgs { server: server.to_owned() })?;
    let mut found = Vec::new();
    for stream in plan.streams.values() {
        let request = client.get(&format!("/v1/schemas/{}-value", stream.name));
        let (status, body) = client.send_any(request).await?;
        if status == StatusCode::NOT_FOUND {
            continue;
        }
        anyhow::ensure!(
            status.is_success(),
            "the server answered {status} when asked for the schemas of `{}`",
            stream.name
        );
        let subject: Subject = serde_json::from_slice(&body).context("read the server's schemas")?;
        let Some(last) = subject.versions.last() else { continue };
        let wanted: serde_json::Value = serde_json::from_str(stream.schema.to_json()).unwrap_or_default();
        if last.schema == wanted {
            continue;
        }
        let versions = subject.versions.iter().map(|version| Schema::parse(&version.schema.to_string()));
        let versions = versions.collect::<Result<Vec<_>, _>>().context("read the server's schemas")?;
        found.push(preview_stream(plan, stream, last.version, &versions));
    }
    Ok(found)
}

fn tell_stream(plan: &Plan, preview: &StreamPreview, compared: &mut Compared) {
    if preview.refused.is_empty() {
        compared.changes.push(format!(
            "stream \"{}\": its schema becomes version {}",
            preview.stream,
            preview.version + 1
        ));
        return;
    }
    for (reason, users) in &preview.refused {
        let message =
            format!("stream \"{}\" can't have this schema after version {}: {reason}", preview.stream, preview.version);
        let mend = "keep the field, give the new one a default, or the old name as an alias";
        let hint = match users.as_slice() {
            [] => mend.to_owned(),
            users => format!("{mend}; the field is used by {}", users.join(", ")),
        };
        let diagnostic = Diagnostic::error(message).hint(hint);
        compared.refused.push(match plan.streams.get(&preview.stream) {
            Some(stream) => diagnostic.at(stream.place.clone()),
            None => diagnostic,
        });
    }
}

fn tell_table(plan: &Plan, preview: &TablePreview, compared: &mut Compared) {
    let table = &preview.table;
    if let Some(refused) = &preview.refused {
        let diagnostic = Diagnostic::error(format!("table \"{table}\" would not start: {refused}"));
        compared.refused.push(match plan.tables.get(table) {
            Some(plan) => diagnostic.at(plan.place.clone()),
            None => diagnostic,
        });
        return;
    }
    for change in &preview.changes {
        compared.changes.push(format!("table \"{table}\": {change}"));
    }
    if preview.files > 0 {
        let (files, bytes) = (preview.files, ByteSize(preview.bytes));
        compared.changes.push(format!(
            "table \"{table}\": {files} files ({bytes}) are rewritten at the next start, beside everything else"
        ));
    }
}
