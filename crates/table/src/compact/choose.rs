//! What is worth compacting, and what first.
//!
//! ```text
//!   all files of a place are of one generation ---------------> nothing
//!   it changed, and was left alone for long enough -----------> rebuild it whole
//!   else eight files of one tier, or all small ones of a
//!   place that nothing was written to for a while ------------> merge them
//! ```
//!
//! *Long enough* is `compact_every` while rows are expected, that is within the lookback. Where they are not (the partition is
//! final, or never will be), it is `compact_every x total bytes / (4 x changed bytes)` if that is more, at most
//! [`PATIENCE_MAX`] times as much: a trickle of late rows must not rewrite a large partition every hour. When a partition
//! becomes final, it is rebuilt at once.
//!
//! *First* is what spares readers most files, weighted by how recent the partition is, since that is what they ask for:
//! `(files - files it needs) x 2^(-age of its end / 1 day)`.

use std::sync::Arc;
use std::time::Duration;

use weir_types::Timestamp;

use crate::file::DataFile;
use crate::finality::{final_after, generation_of};
use crate::generation::{self, Generation};
use crate::place::Place;
use crate::spec::Spec;

/// The first tier: files smaller than this.
const TIER_BYTES: u64 = 64 << 10;
/// How many files of one tier are merged.
const TIER_FILES: usize = 8;
/// Files of one merge at most.
const FILES_MAX: usize = 256;
/// Small files that make merging a place worth it that nothing was written to.
const COLD_FILES: usize = 2;
/// Changed bytes that make a rebuild worth it at once: a fourth of all.
const CHANGED_SHARE: u64 = 4;
/// How many times `compact_every` a rebuild waits at most.
const PATIENCE_MAX: u64 = 100;
/// How much older a partition is that counts half.
const HALF_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How much of a place is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Some small files become one.
    Merge,
    /// All files become as few as the target size allows, in order and without repeats.
    Rebuild,
}

/// A compaction that is due.
#[derive(Debug, Clone)]
pub struct Due {
    /// Where.
    pub place: Place,
    /// How much of it.
    pub work: Work,
    /// How many files go in.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most urgent first.
    pub urgency: f64,
    pub(crate) inputs: Vec<Arc<DataFile>>,
}

impl Due {
    pub(crate) fn new(place: Place, work: Work, inputs: Vec<Arc<DataFile>>, spec: &Spec, now: Timestamp) -> Self {
        let bytes = inputs.iter().map(|file| file.size).sum::<u64>();
        let needed = bytes.div_ceil(spec.target_file_bytes.max(1)).max(1);
        let spared = (inputs.len() as u64).saturating_sub(needed) as f64;
        let end = final_after(spec, place).map(|after| after.before(spec.lookback.unwrap_or_default()));
        let end = end.or_else(|| place.day.map(|day| Timestamp((i64::from(day) + 1) * 86_400_000)));
        let age = end.map_or(0.0, |end| now.since(end).as_secs_f64() / HALF_LIFE.as_secs_f64());
        let urgency = spared * (-age).exp2();
        Self { place, work, files: inputs.len() as u64, bytes, urgency, inputs }
    }
}

/// Returns what is due at one place. `is_settled` says of a single file that it is known to be in order, `is_busy` of any
/// that it is being compacted: then only others of the place are merged.
pub(crate) fn at(
    place: Place,
    files: &[Arc<DataFile>],
    spec: &Spec,
    now: Timestamp,
    is_settled: impl Fn(&DataFile) -> bool,
    is_busy: impl Fn(&DataFile) -> bool,
) -> Option<Due> {
    let free: Vec<Arc<DataFile>> = files.iter().filter(|file| !is_busy(file)).cloned().collect();
    let is_rebuilt = match files {
        [] => return None,
        [one] if is_settled(one) => return None,
        files => free.len() == files.len() && rebuild_is_due(place, files, spec, now),
    };
    if is_rebuilt {
        return Some(Due::new(place, Work::Rebuild, files.to_vec(), spec, now));
    }
    let chosen = small(&free, spec, now);
    (!chosen.is_empty()).then(|| Due::new(place, Work::Merge, chosen, spec, now))
}

fn rebuild_is_due(place: Place, files: &[Arc<DataFile>], spec: &Spec, now: Timestamp) -> bool {
    let end = final_after(spec, place);
    let is_final = end.is_some_and(|end| now >= end);
    if let Some(generation) = generation_of(files) {
        // With other settings an open partition is made anew; what is final stays as it is.
        let compacted = files.iter().map(|file| file.modified).max().unwrap_or_default();
        return !is_final
            && generation.options != generation::options(spec)
            && now.since(compacted) >= spec.compact_every;
    }
    let (compacted, changed): (Vec<&Arc<DataFile>>, Vec<_>) =
        files.iter().partition(|file| Generation::parse(&file.path).is_some());
    let times = |files: &[&Arc<DataFile>]| files.iter().map(|file| file.modified).collect::<Vec<_>>();
    let last = times(&compacted).into_iter().max();
    let first_change = times(&changed).into_iter().min().unwrap_or(now);
    let last_change = times(&changed).into_iter().max().unwrap_or(now);
    if let Some(end) = end
        && is_final
        && last_change < end
    {
        return true;
    }
    let bytes = |files: &[&Arc<DataFile>]| files.iter().map(|file| file.size).sum::<u64>();
    let patience = if end.is_some() && !is_final {
        spec.compact_every
    } else {
        let (all, new) = (bytes(&compacted).saturating_add(bytes(&changed)), bytes(&changed));
        let times = (all / (CHANGED_SHARE.saturating_mul(new)).max(1)).clamp(1, PATIENCE_MAX);
        spec.compact_every.saturating_mul(times as u32)
    };
    now.since(last.unwrap_or(first_change)) >= patience
}

fn tier(size: u64) -> u32 {
    (size / TIER_BYTES).checked_ilog2().map_or(0, |log| log / 2 + 1)
}

/// Chooses small files; none if there are too few.
fn small(files: &[Arc<DataFile>], spec: &Spec, now: Timestamp) -> Vec<Arc<DataFile>> {
    let target = spec.target_file_bytes;
    let is_small = |file: &&Arc<DataFile>| file.size < target / 2 && Generation::parse(&file.path).is_none();
    let mut small: Vec<&Arc<DataFile>> = files.iter().filter(is_small).collect();
    small.sort_by_key(|file| (tier(file.size), file.modified, file.path.clone()));
    let cold_before = now.before(spec.compact_every);
    let is_cold = files.iter().all(|file| file.modified < cold_before);
    let fit = |files: &[&Arc<DataFile>]| {
        let mut bytes = 0;
        let fitting = files.iter().take(FILES_MAX).take_while(|file| {
            bytes += file.size;
            bytes <= target
        });
        fitting.map(|file| (*file).clone()).collect::<Vec<_>>()
    };
    if is_cold {
        let chosen = fit(&small);
        return if chosen.len() >= COLD_FILES { chosen } else { Vec::new() };
    }
    for tier_files in small.chunk_by(|a, b| tier(a.size) == tier(b.size)) {
        let chosen = fit(tier_files);
        if tier_files.len() >= TIER_FILES && chosen.len() > 1 {
            return chosen;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
