//! A run's progress, until it is over.
//!
//! On a terminal: a bar for each step, when the run ends, and why it waits. Elsewhere: a line every ten seconds.

use std::time::Duration;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use weir_crawl::runs::Run;
use weir_crawl::status::{CrawlStatus, RunStatus, StepStatus};
use weir_env::Env;

use super::{Runs, fetch, path};
use crate::client::Client;
use crate::output;
use crate::replay::watch::{RETRY, TRIES, is_passing};

/// How often the server is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How often a line is written where nobody watches a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Waits until a run is over, and returns it. A server that is away for a while is waited for.
pub async fn until_over(client: &Client, crawl: &str, run: u64) -> anyhow::Result<Run> {
    let env = Env::system();
    let mut display = Display::new(&env);
    let mut tries = 0;
    let ended = loop {
        match look(client, crawl, run).await {
            Ok(Look::Over(run)) => break Ok(*run),
            Ok(Look::Between) => {}
            Ok(Look::Waits(behind)) => {
                tries = 0;
                display.wait(&format!("run {run} waits for the end of run {behind}"));
            }
            Ok(Look::UnderWay(status)) => {
                tries = 0;
                display.show(&status);
            }
            Err(error) if tries < TRIES && is_passing(&error) => {
                tries += 1;
                display.wait(&error.to_string());
                env.sleep(env.jitter(RETRY * tries)).await;
            }
            Err(error) => break Err(error),
        }
        env.sleep(EVERY).await;
    };
    display.clear();
    ended
}

enum Look {
    UnderWay(Box<RunStatus>),
    /// For this run's end.
    Waits(u64),
    Over(Box<Run>),
    /// In another state than a moment ago.
    Between,
}

async fn look(client: &Client, crawl: &str, run: u64) -> anyhow::Result<Look> {
    let status: CrawlStatus = fetch(client, &path(crawl, "")).await?;
    match status.current {
        Some(current) if current.run == run => return Ok(Look::UnderWay(Box::new(current))),
        Some(current) if status.queued.as_ref().is_some_and(|queued| queued.number == run) => {
            return Ok(Look::Waits(current.run));
        }
        _ => {}
    }
    let answer: Runs = fetch(client, &path(crawl, "/runs")).await?;
    let found = answer.runs.into_iter().find(|known| known.number == run);
    let found = found.with_context(|| format!("run {run} of {crawl} is not in the history any more"))?;
    match found.state.is_over() {
        true => Ok(Look::Over(Box::new(found))),
        // It changed between the two questions; the next one shows how.
        false => Ok(Look::Between),
    }
}

struct Display<'a> {
    env: &'a Env,
    bars: Option<Bars>,
    /// When the last line was written.
    line_at: Option<Duration>,
}

struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    steps: Vec<ProgressBar>,
    foot: ProgressBar,
}

impl<'a> Display<'a> {
    fn new(env: &'a Env) -> Self {
        let bars = output::is_watched().then(|| {
            let all = MultiProgress::new();
            let line = || all.add(ProgressBar::new_spinner().with_style(style("{msg}")));
            Bars { head: line(), foot: line(), steps: Vec::new(), all }
        });
        Self { env, bars, line_at: None }
    }

    fn wait(&mut self, text: &str) {
        match &self.bars {
            Some(bars) => bars.foot.set_message(text.to_owned()),
            None => self.line(text),
        }
    }

    fn show(&mut self, run: &RunStatus) {
        let Some(bars) = &mut self.bars else { return self.line(&in_a_line(run)) };
        let eta = run.eta.as_ref().map_or_else(String::new, |eta| format!(", {}", eta.text));
        bars.head.set_message(format!("run {} of {}: {}{eta}", run.run, run.crawl, run.state.as_str()));
        let name = run.steps.iter().map(|step| step.resource.chars().count()).max().unwrap_or(0);
        for (index, step) in run.steps.iter().enumerate() {
            if index >= bars.steps.len() {
                let bar = ProgressBar::new(0).with_style(style("  {prefix} {bar:28} {human_pos}/{human_len}  {msg}"));
                bars.steps.push(bars.all.insert_before(&bars.foot, bar));
            }
            show_step(&bars.steps[index], step, name);
        }
        bars.foot.set_message(waiting(run));
    }

    /// Writes a line, unless one was written shortly before.
    fn line(&mut self, text: &str) {
        let now = self.env.elapsed();
        if self.line_at.is_some_and(|at| now.saturating_sub(at) < LINE_EVERY) {
            return;
        }
        self.line_at = Some(now);
        output::note(text);
    }

    fn clear(&self) {
        if let Some(bars) = &self.bars {
            bars.head.finish_and_clear();
            bars.steps.iter().for_each(ProgressBar::finish_and_clear);
            bars.foot.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, and right.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show_step(bar: &ProgressBar, step: &StepStatus, name: usize) {
    bar.set_prefix(format!("{:name$}", step.resource));
    let likely = step.expected.map_or(0, |expected| expected.likely);
    bar.set_length(likely.max(step.totals.tasks));
    bar.set_position(step.totals.done + step.totals.failed + step.totals.dropped);
    let mut words = Vec::new();
    if step.rate >= 0.05 {
        words.push(format!("{:.1}/s", step.rate));
    }
    if step.totals.failed > 0 {
        words.push(format!("{} failed", output::count(step.totals.failed)));
    }
    bar.set_message(words.join("  "));
}

fn waiting(run: &RunStatus) -> String {
    let reasons = run.waiting.iter().map(|waiting| {
        let until = waiting.until.map_or_else(String::new, |until| format!(" until {until}"));
        format!("{} wait for {}{until}", output::count(waiting.tasks), waiting.why.in_words())
    });
    reasons.collect::<Vec<_>>().join(", ")
}

fn in_a_line(run: &RunStatus) -> String {
    let mut parts = vec![format!(
        "run {} of {}: {}, {} of {} calls known so far done, {:.1}/s",
        run.run,
        run.crawl,
        run.state.as_str(),
        output::count(run.totals.done),
        output::count(run.totals.tasks),
        run.rate
    )];
    if run.totals.failed > 0 {
        parts.push(format!("{} failed", output::count(run.totals.failed)));
    }
    parts.extend(run.eta.as_ref().map(|eta| eta.text.clone()));
    parts.extend(Some(waiting(run)).filter(|text| !text.is_empty()));
    parts.join(", ")
}
