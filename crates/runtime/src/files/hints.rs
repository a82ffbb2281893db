//! What somebody says is new in a place: paths to look at before the next look at all of it.
//!
//! A hint is no more than that. It may be wrong, come twice or not at all: what is there is told by the place alone, and
//! the next look at all of it finds what no hint was given for. Bounded: beyond [`HINTS_MAX`] paths, everything is
//! looked at.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};

/// Paths that are remembered.
const HINTS_MAX: usize = 10_000;

/// Hints for one block.
#[derive(Debug)]
pub(crate) struct Hints {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// The last hint that was followed.
    followed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The number of the last hint.
    last: u64,
    paths: BTreeSet<String>,
    all: bool,
}

/// Hints that are followed now.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The number of the last of them.
    pub last: u64,
    /// Paths below the location.
    pub paths: BTreeSet<String>,
    /// Everything is to be looked at.
    pub all: bool,
}

impl Hints {
    pub fn new() -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), followed: watch::Sender::new(0) }
    }

    /// Notes paths below the location, and returns the hint's number.
    pub fn note(&self, paths: impl IntoIterator<Item = String>) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.all {
            waiting.paths.extend(paths);
        }
        if waiting.paths.len() > HINTS_MAX {
            waiting.all = true;
            waiting.paths.clear();
        }
        waiting.last += 1;
        let last = waiting.last;
        drop(waiting);
        self.wake.notify_one();
        last
    }

    /// Asks for a look at everything, and returns the hint's number.
    pub fn note_all(&self) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (waiting.all, waiting.paths) = (true, BTreeSet::new());
        waiting.last += 1;
        let last = waiting.last;
        drop(waiting);
        self.wake.notify_one();
        last
    }

    /// Returns when there may be hints.
    pub(super) async fn noted(&self) {
        self.wake.notified().await;
    }

    /// Takes the hints that wait.
    pub(super) fn take(&self) -> Taken {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (paths, all) = (std::mem::take(&mut waiting.paths), std::mem::take(&mut waiting.all));
        Taken { last: waiting.last, paths, all }
    }

    /// Says that what hints up to a number name was looked at.
    pub(super) fn follow(&self, last: u64) {
        self.followed.send_if_modified(|followed| {
            let later = last > *followed;
            *followed = last.max(*followed);
            later
        });
    }

    /// Returns when a hint was followed.
    pub async fn followed(&self, hint: u64) {
        let mut followed = self.followed.subscribe();
        // The sender lives as long as we do.
        let _ = followed.wait_for(|followed| *followed >= hint).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_paths_become_everything() {
        let hints = Hints::new();
        assert_eq!(hints.note(["a".to_owned(), "b".to_owned(), "a".to_owned()]), 1);
        let taken = hints.take();
        assert_eq!((taken.last, taken.paths.len(), taken.all), (1, 2, false));
        hints.note((0..=HINTS_MAX).map(|n| n.to_string()));
        hints.note(["c".to_owned()]);
        let taken = hints.take();
        assert_eq!((taken.last, taken.paths.len(), taken.all), (3, 0, true));
        assert!(hints.take().paths.is_empty() && !hints.take().all);
    }

    #[tokio::test]
    async fn who_waits_for_a_hint_is_woken_by_a_later_one_too() {
        let hints = Hints::new();
        let hint = hints.note(["a".to_owned()]);
        hints.noted().await;
        hints.follow(hint + 3);
        hints.follow(0);
        hints.followed(hint).await;
    }
}
