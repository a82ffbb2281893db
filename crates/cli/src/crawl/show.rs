//! How crawls and their runs are laid out.

use std::fmt::Write;
use std::time::Duration;

use weir_crawl::progress::{Counts, Totals};
use weir_crawl::runs::{By, Run};
use weir_crawl::status::{CrawlStatus, RunStatus, TenantStatus, render, span_in_words};
use weir_types::Timestamp;

use crate::output;

/// Tenants that are shown, those that wait the most first; `--json` shows more.
const TENANTS_SHOWN: usize = 10;
/// New fields of a resource that are named; `--json` names all.
const FIELDS_SHOWN: usize = 10;

pub fn list(crawls: &[CrawlStatus]) -> String {
    let rows = crawls.iter().map(|crawl| {
        let (state, run) = match (&crawl.current, &crawl.trouble) {
            (Some(run), _) => (run.state.as_str(), Some(run)),
            (None, Some(_)) => ("can't run", None),
            (None, None) => ("idle", None),
        };
        let count = |pick: fn(&RunStatus) -> u64| run.map_or_else(String::new, |run| output::count(pick(run)));
        vec![
            crawl.crawl.clone(),
            crawl.api.clone(),
            state.to_owned(),
            run.map_or_else(String::new, |run| run.run.to_string()),
            count(|run| run.totals.done),
            count(|run| run.totals.waiting),
            count(|run| run.totals.failed),
            run.map_or_else(String::new, |run| format!("{:.1}", run.rate)),
            run.and_then(|run| run.eta.as_ref()).map_or_else(String::new, |eta| eta.text.clone()),
            crawl.next_at.map_or_else(String::new, |at| at.to_string()),
        ]
    });
    let header = ["crawl", "api", "state", "run", "done", "waiting", "failed", "calls/s", "ends", "next run"];
    output::aligned(&header, &[3, 4, 5, 6, 7], rows) + "\n"
}

pub fn status(crawl: &CrawlStatus) -> String {
    let mut out = format!("crawl {} of api {}\n", crawl.crawl, crawl.api);
    // Writing to a string can't fail.
    if let Some(trouble) = &crawl.trouble {
        let _ = writeln!(out, "can't run: {trouble}");
    }
    match &crawl.current {
        Some(run) => {
            for line in render(run) {
                let _ = writeln!(out, "{line}");
            }
            out.push_str(&tenants(run));
        }
        None if crawl.trouble.is_none() => out.push_str("no run is under way\n"),
        None => {}
    }
    if let Some(run) = &crawl.queued {
        let _ = writeln!(out, "run {} waits for its end", run.number);
    }
    if let Some(run) = &crawl.last {
        let _ = writeln!(out, "{}", over(run));
    }
    if let Some(at) = crawl.next_at {
        let _ = writeln!(out, "the next run is due at {at}");
    }
    if crawl.skipped > 0 {
        let _ = writeln!(out, "{} starts were left out because a run was under way", output::count(crawl.skipped));
    }
    for (resource, fields) in &crawl.new_fields {
        let names: Vec<String> =
            fields.iter().take(FIELDS_SHOWN).map(|(name, items)| format!("{name} ({items})")).collect();
        let more = fields.len().saturating_sub(FIELDS_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(
            out,
            "items of {resource} have fields that its schema lacks, and their rows do not: {}{more}; see `weir crawl infer {}`",
            names.join(", "),
            crawl.crawl
        );
    }
    out
}

fn tenants(run: &RunStatus) -> String {
    if run.tenant_count == 0 {
        return String::new();
    }
    let row = |tenant: &TenantStatus| {
        vec![
            tenant.tenant.clone(),
            output::count(tenant.totals.done),
            output::count(tenant.totals.waiting),
            output::count(tenant.totals.failed),
            format!("{:.1}", tenant.rate),
            tenant.eta.as_ref().map_or_else(String::new, |eta| eta.text.clone()),
        ]
    };
    let rows = run.tenants.iter().take(TENANTS_SHOWN).map(row);
    let mut out =
        output::aligned(&["tenant", "done", "waiting", "failed", "calls/s", "ends"], &[1, 2, 3, 4], rows) + "\n";
    let more = run.tenant_count.saturating_sub(run.tenants.len().min(TENANTS_SHOWN) as u64);
    if more > 0 {
        let _ = writeln!(out, "and {} tenants more", output::count(more));
    }
    out
}

/// Says in a line how a run ended.
pub fn over(run: &Run) -> String {
    let totals = totals(run);
    let mut line = format!("run {} was {}", run.number, run.state.as_str());
    if let Some(took) = took(run) {
        let _ = write!(line, " after {}", span_in_words(took));
    }
    if let Some(at) = run.ended_at {
        let _ = write!(line, ", at {at}");
    }
    if let Some(reason) = &run.reason {
        let _ = write!(line, " ({reason})");
    }
    let _ = write!(line, ": {} calls, {} items", output::count(totals.calls), output::count(totals.items));
    if totals.failed > 0 {
        let _ = write!(line, ", {} dead letters (see `weir dead`)", output::count(totals.failed));
    }
    line
}

fn took(run: &Run) -> Option<Duration> {
    let ms = run.ended_at?.0.checked_sub(run.started_at?.0)?;
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// What came of a run that is over.
pub fn totals(run: &Run) -> Totals {
    let mut sum = Counts::default();
    run.counts.values().for_each(|counts| sum.add(counts));
    Totals::from(&sum)
}

pub fn runs(runs: &[Run]) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    let rows = runs.iter().map(|run| {
        let totals = totals(run);
        vec![
            run.number.to_string(),
            run.state.as_str().to_owned(),
            match run.by {
                By::Hand => "hand".to_owned(),
                By::Schedule(at) => format!("schedule {at}"),
            },
            time(run.started_at),
            took(run).map_or_else(String::new, span_in_words),
            output::count(totals.calls),
            output::count(totals.items),
            output::count(totals.failed),
            output::count(totals.throttled),
        ]
    });
    let header = ["run", "state", "by", "began", "took", "calls", "items", "failed", "throttled"];
    output::aligned(&header, &[0, 5, 6, 7, 8], rows) + "\n"
}
