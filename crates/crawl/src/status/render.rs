//! A run's status as lines of text. Pure: the same status gives the same lines.

use std::fmt::Write;
use std::time::Duration;

use super::{RunStatus, StepStatus, Waiting};

/// A longer span reads as this one: ten thousand days.
const SPAN_MAX: Duration = Duration::from_secs(10_000 * 86_400);

/// Returns a span as people say it, to two digits or so: `8 s`, `4 min`, `1 h 20 min`, `3 d 4 h`.
pub fn span_in_words(span: Duration) -> String {
    let seconds = span.min(SPAN_MAX).as_secs_f64().round() as u64;
    let (minutes, hours, days) = ((seconds + 30) / 60, (seconds + 1_800) / 3_600, (seconds + 43_200) / 86_400);
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

#[cfg(test)]
mod tests {
    use weir_types::Timestamp;

    use super::*;
    use crate::progress::Totals;
    use crate::runs::State;
    use crate::status::{Eta, Expected, Why};

    fn step(resource: &str, totals: Totals, expected: Option<u64>) -> StepStatus {
        StepStatus {
            resource: resource.to_owned(),
            parent: None,
            totals,
            in_flight: 0,
            expected: expected.map(|likely| Expected { likely, min: 0, max: None }),
            rate: 0.0,
            waiting: Vec::new(),
        }
    }

    fn status() -> RunStatus {
        let groups = Totals { tasks: 40, done: 40, items: 900, calls: 40, ..Totals::default() };
        let readings = Totals { tasks: 900, done: 300, waiting: 598, failed: 2, items: 5_000, ..Totals::default() };
        RunStatus {
            crawl: "devices".to_owned(),
            run: 7,
            state: State::Running,
            asked_at: Timestamp(0),
            started_at: Some(Timestamp(0)),
            ended_at: None,
            reason: None,
            totals: Totals::default(),
            in_flight: 8,
            rate: 9.8,
            eta: Some(Eta {
                seconds: Some(61.0),
                min_seconds: 58.0,
                max_seconds: Some(70.0),
                at: Some(Timestamp(61_000)),
                calls: Expected { likely: 600, min: 598, max: Some(700) },
                text: "about 61 s (58 to 70)".to_owned(),
            }),
            steps: vec![
                step("group", groups, Some(40)),
                StepStatus { in_flight: 8, rate: 9.8, ..step("readings", readings, Some(905)) },
            ],
            tenant_count: 0,
            tenants: Vec::new(),
            other_tenants: None,
            waiting: vec![
                Waiting { why: Why::Budget, tasks: 589, until: None },
                Waiting { why: Why::RetryDelay, tasks: 1, until: Some(Timestamp(2_000)) },
            ],
        }
    }

    #[test]
    fn a_run_reads_as_its_end_its_steps_and_why_it_waits() {
        assert_eq!(
            render(&status()),
            [
                "run 7 of devices: running, about 61 s (58 to 70)",
                "  group     40 done of about 40, 900 items",
                "  readings  300 done of about 905, 598 waiting, 8 under way, 2 failed, 5000 items, 9.8 calls/s",
                "  589 tasks wait for the budget's rate",
                "  1 task waits for their next attempt, until 1970-01-01T00:00:02.000Z",
            ]
        );
    }

    #[test]
    fn a_run_that_is_over_has_no_end_to_come_and_waits_for_nothing() {
        let mut over = status();
        over.state = State::Cancelled;
        over.reason = Some("too slow".to_owned());
        assert_eq!(render(&over)[0], "run 7 of devices: cancelled (too slow)");
        assert_eq!(render(&over).len(), 3);
    }

    #[test]
    fn status_reads_back_from_its_json() {
        let json = serde_json::to_value(status()).unwrap();
        let readings = &json["steps"][1];
        assert_eq!((&json["state"], &readings["waiting"]), (&"running".into(), &598.into()));
        assert_eq!(json["waits_for"][0], serde_json::json!({"why": "budget", "tasks": 589}));
        assert_eq!(serde_json::from_value::<RunStatus>(json).unwrap(), status());
    }

    #[test]
    fn spans_read_as_people_say_them() {
        let cases = [
            (0.2, "0 s"),
            (99.4, "99 s"),
            (100.0, "2 min"),
            (3_600.0, "60 min"),
            (6_000.0, "1 h 40 min"),
            (7_200.0, "2 h"),
            (40_000.0, "11 h"),
            (86_000.0, "1 d"),
            (100_000.0, "1 d 4 h"),
            (900_000.0, "10 d"),
        ];
        for (seconds, words) in cases {
            assert_eq!(span_in_words(Duration::from_secs_f64(seconds)), words, "{seconds}");
        }
        assert_eq!(span_in_words(Duration::MAX), "10000 d");
    }
}
