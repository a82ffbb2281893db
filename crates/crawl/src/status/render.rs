//! A run's status as lines of text. Pure: the same status gives the same lines.

use std::fmt::Write;
use std::time::Duration;

use super::{RunStatus, StepStatus, Waiting};

/// Returns a span as people say it, to two digits or so: `8 s`, `4 min`, `1 h 20 min`, `3 d 4 h`.
pub fn span_in_words(span: Duration) -> String {
    let seconds = span.as_secs_f64().round() as u64;
    let (minutes, hours, days) = (
        seconds.saturating_add(30) / 60,
        seconds.saturating_add(1_800) / 3_600,
        seconds.saturating_add(43_200) / 86_400,
    );
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_939 => format!("{minutes} min"),
        5_940..=35_999 => join(minutes / 60, "h", minutes % 60, "min"),
        36_000..=863_999 if hours < 24 => format!("{hours} h"),
        36_000..=863_999 => join(hours / 24, "d", hours % 24, "h"),
        _ => format!("{days} d"),
    }
}

fn join(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// Returns a run as lines: its state and end, its steps, and why it waits.
pub fn render(run: &RunStatus) -> Vec<String> {
    let mut first = format!("run {} of {}: {}", run.run, run.crawl, run.state.as_str());
    if let Some(reason) = &run.reason {
        let _ = write!(first, " ({reason})");
    }
    if let Some(eta) = run.eta.as_ref().filter(|_| !run.state.is_over()) {
        let _ = write!(first, ", {}", eta.text);
    }
    let mut lines = vec![first];
    let name = run.steps.iter().map(|step| step.resource.chars().count()).max().unwrap_or(0);
    lines.extend(run.steps.iter().map(|step| step_line(step, name)));
    if !run.state.is_over() {
        lines.extend(run.waiting.iter().map(waiting_line));
    }
    lines
}

fn step_line(step: &StepStatus, name: usize) -> String {
    let totals = &step.totals;
    let mut line = format!("  {:name$}  {} done", step.resource, totals.done);
    if let Some(expected) = step.expected.filter(|expected| expected.likely > 0) {
        let _ = write!(line, " of about {}", expected.likely.max(totals.tasks));
    }
    for (count, word) in [
        (totals.waiting, "waiting"),
        (step.in_flight, "under way"),
        (totals.failed, "failed"),
        (totals.dropped, "dropped"),
        (totals.items, "items"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    if step.rate >= 0.05 {
        let _ = write!(line, ", {:.1} calls/s", step.rate);
    }
    line
}

fn waiting_line(waiting: &Waiting) -> String {
    let mut line = match waiting.tasks {
        1 => format!("  1 task waits for {}", waiting.why.in_words()),
        tasks => format!("  {tasks} tasks wait for {}", waiting.why.in_words()),
    };
    if let Some(until) = waiting.until {
        let _ = write!(line, ", until {until}");
    }
    line
}
