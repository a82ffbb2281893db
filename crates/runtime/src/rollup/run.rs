//! The task of a rollup: wakes, finds what is stale, computes it, waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::Parts;
use super::stale::{self, Key};
use crate::pipeline::chain;

/// Partitions that are computed before it looks again which are stale, and which are newest.
const ROUND_MAX: usize = 64;
/// How often it is looked whether the columns are what they should be.
const COLUMNS_LOOK: Duration = Duration::from_secs(1);
/// How often it looks without being woken: lookups that have new contents wake nobody.
const LOOK: Duration = Duration::from_secs(10);
/// The wait before a partition that failed is tried again; it doubles.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Failures one after the other that end a round: it is not the partitions' fault.
const FAILURES_IN_ROW_MAX: u32 = 3;

/// The end of a round after which nothing is left to be done at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Settled {
    /// The last request that it answers.
    pub request: u64,
    /// Why something is still stale, if it is.
    pub trouble: Option<String>,
}

/// A partition that could not be computed.
struct Failure {
    /// What it should have been made of: of something else, it is tried at once.
    wanted: u64,
    tries: u32,
    retry_at: Duration,
    what: String,
}

type Failures = BTreeMap<Key, Failure>;

enum Round {
    /// There is more to compute.
    More,
    /// All that could be computed is.
    Done,
    /// The table has another owner.
    Fenced,
}

pub(super) async fn run(parts: Arc<Parts>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = work(&parts) => {}
        // A sender that is gone is a node that is.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Waits until the source has the columns that the SQL was planned for, and lets the own files follow theirs.
async fn settle_columns(parts: &Parts) {
    loop {
        let trouble = match parts.source.table.reshaping() {
            Some(reshaping) => Some(format!("it waits for table `{}`: {reshaping}", parts.source.name)),
            None => parts.table.reshape().await.err().map(|error| crate::pipeline::chain(&error)),
        };
        if trouble.is_none() {
            return parts.progress.set_trouble(None);
        }
        parts.progress.set_trouble(trouble);
        parts.env.sleep(parts.env.jitter(COLUMNS_LOOK)).await;
    }
}

async fn work(parts: &Parts) {
    settle_columns(parts).await;
    let mut source = parts.source.table.watch();
    let mut asked = parts.asked.subscribe();
    let mut failures = Failures::new();
    loop {
        // Noted before looking, so that what comes meanwhile wakes again.
        source.borrow_and_update();
        let request = *asked.borrow_and_update();
        if request > parts.settled.borrow().request {
            failures.values_mut().for_each(|failure| failure.retry_at = Duration::ZERO);
        }
        let began = parts.env.elapsed();
        match round(parts, &mut failures).await {
            Round::More => continue,
            Round::Done => {}
            Round::Fenced => {
                let what = "another process writes this table; it stands still until weir is restarted";
                tracing::error!(table = %parts.name, "another process writes this table; stepping down until restart");
                parts.progress.set_trouble(Some(what.to_owned()));
                parts.settled.send_replace(Settled { request: u64::MAX, trouble: Some(what.to_owned()) });
                return;
            }
        }
        let trouble = tell(&failures);
        parts.progress.set_trouble(trouble.clone());
        parts.settled.send_replace(Settled { request, trouble });
        wait(parts, &mut source, &mut asked, began, &failures).await;
    }
}

/// Says what fails, of several the newest.
fn tell(failures: &Failures) -> Option<String> {
    let (key, failure) = failures.last_key_value()?;
    let more = match failures.len() {
        1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    Some(format!("partition {}{more}: {}", stale::name(*key), failure.what))
}

/// Waits until there may be something to do; after a commit of the source, until its rows have waited for their share of
/// `freshness`. A request is answered at once.
async fn wait(
    parts: &Parts,
    source: &mut watch::Receiver<u64>,
    asked: &mut watch::Receiver<u64>,
    began: Duration,
    failures: &Failures,
) {
    let env = &parts.env;
    let now = env.elapsed();
    let retry = failures.values().map(|failure| failure.retry_at.saturating_sub(now)).min();
    let look = retry.unwrap_or(LOOK).min(env.jitter(LOOK));
    tokio::select! {
        // Both senders live in `parts`.
        _ = source.changed() => {}
        _ = asked.changed() => return,
        () = env.sleep(look) => return,
    }
    let rest = parts.freshness.saturating_sub(env.elapsed().saturating_sub(began));
    tokio::select! {
        () = env.sleep(rest) => {}
        _ = asked.changed() => {}
    }
}

async fn round(parts: &Parts, failures: &mut Failures) -> Round {
    let look = parts.look();
    let progress = &parts.progress;
    progress.stale.store(look.stale.len() as u64, Ordering::Relaxed);
    let wanted: BTreeMap<Key, u64> = look.stale.iter().copied().collect();
    failures.retain(|key, failure| wanted.get(key) == Some(&failure.wanted));
    let now = parts.env.elapsed();
    let is_due = |key: &Key| failures.get(key).is_none_or(|failure| failure.retry_at <= now);
    let mut due: Vec<(Key, u64)> = look.stale.iter().copied().filter(|(key, _)| is_due(key)).collect();
    // What failed comes last, so that it keeps nothing else from its turn.
    due.sort_by_key(|(key, _)| failures.contains_key(key));
    let mut in_row = 0;
    for (key, wanted) in due.iter().copied().take(ROUND_MAX) {
        // The semaphore is never closed.
        let _turn = parts.turns.acquire().await;
        match parts.compute(&look, key).await {
            Ok(committed) => {
                in_row = 0;
                failures.remove(&key);
                progress.computed.fetch_add(1, Ordering::Relaxed);
                progress.stale.fetch_sub(1, Ordering::Relaxed);
                let rows = committed.map(|committed| committed.rows);
                tracing::debug!(table = %parts.name, partition = stale::name(key), rows, "a partition was computed");
            }
            Err(error) if error.is_fenced() => return Round::Fenced,
            Err(error) => {
                progress.failures.fetch_add(1, Ordering::Relaxed);
                let tries = failures.get(&key).map_or(0, |failure| failure.tries) + 1;
                let pause = RETRY.saturating_mul(1 << (tries - 1).min(10)).min(RETRY_MAX);
                let retry_at = parts.env.elapsed() + parts.env.jitter(pause);
                let what = chain(&error);
                tracing::warn!(table = %parts.name, partition = stale::name(key), error = what, tries, "a partition could not be computed");
                failures.insert(key, Failure { wanted, tries, retry_at, what });
                in_row += 1;
                if in_row == FAILURES_IN_ROW_MAX {
                    return Round::Done;
                }
            }
        }
    }
    if due.len() > ROUND_MAX { Round::More } else { Round::Done }
}
