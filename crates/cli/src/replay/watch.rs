//! Watching a run until it is over.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use weir_env::Env;

use super::{fetch, in_path};
use crate::client::{Client, Foreign, Refused, Unreachable};
use crate::exit::Exit;
use crate::output;

/// How often the server is asked.
const EVERY: Duration = Duration::from_millis(200);
/// Questions that get no answer before the command gives up.
pub const TRIES: u32 = 30;
/// The wait before the second; it grows.
pub const RETRY: Duration = Duration::from_millis(200);

/// Waits until a run is over, and returns how it ended. A server that is away for a while is waited for.
pub async fn until_over(client: &Client, id: &str) -> anyhow::Result<Value> {
    let env = Env::system();
    let bar = if output::is_watched() { shown() } else { ProgressBar::hidden() };
    let path = format!("/v1/replays/{}", in_path(id));
    let mut tries = 0;
    let ended = loop {
        match fetch(client, &path).await {
            Ok(run) => {
                tries = 0;
                let state = run["state"].as_str().unwrap_or_default();
                show(&bar, &run);
                if !matches!(state, "running" | "paused") {
                    break Ok(run);
                }
                env.sleep(EVERY).await;
            }
            Err(error) if tries < TRIES && is_passing(&error) => {
                tries += 1;
                bar.set_message(format!("{error}"));
                env.sleep(env.jitter(RETRY * tries)).await;
            }
            Err(error) => break Err(error),
        }
    };
    bar.finish_and_clear();
    ended
}

/// Returns what the command's exit code says of a run that is over.
pub fn exit(run: &Value) -> Exit {
    match run["state"].as_str() {
        Some("done") => Exit::Done,
        _ => Exit::Failed,
    }
}

/// Says whether asking again may help.
pub fn is_passing(error: &anyhow::Error) -> bool {
    if let Some(Refused(body)) = error.downcast_ref::<Refused>() {
        return body.retryable;
    }
    if let Some(foreign) = error.downcast_ref::<Foreign>() {
        return foreign.status.is_server_error();
    }
    error.is::<Unreachable>() || error.is::<reqwest::Error>()
}

fn show(bar: &ProgressBar, run: &Value) {
    bar.set_length(run["records"].as_u64().unwrap_or_default());
    bar.set_position(run["behind"].as_u64().unwrap_or_default());
    let speed = run["speed"].as_f64().map(|speed| format!("{} records/s", output::count(speed as u64)));
    let left = run["left_ms"].as_u64().map(|left| {
        let left = Duration::from_secs(left.div_ceil(1000));
        format!("eta {}", indicatif::HumanDuration(left))
    });
    let targets = run["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let trouble = targets.iter().find_map(|target| target["trouble"].as_str()).map(str::to_owned);
    let paused = (run["state"] == "paused").then(|| "paused".to_owned());
    let message: Vec<String> = [paused, speed, left, trouble].into_iter().flatten().collect();
    bar.set_message(message.join("  "));
}

fn shown() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // The template is a constant, and right.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} records  {msg}") {
        bar.set_style(style);
    }
    bar
}
