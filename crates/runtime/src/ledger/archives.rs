//! Archives: what their manifests have, hour by hour, and whether their objects are as they were written.

use weir_archive::{Depth as ArchiveDepth, Finding as Found};
use weir_ledger::{ArchivedHour, Choice, Fault, Finding, Hop, Live, Wrong};
use weir_types::{Hour, LogName, StreamName};

use crate::node::Node;
use crate::pipeline::chain;

impl Node {
    /// Reads the archives' manifests into `live`, and returns what is wrong with their objects.
    pub(super) async fn verify_archives(
        &self,
        choice: &Choice,
        live: &mut Live,
        findings: &mut Vec<Finding>,
        unchecked: &mut Vec<String>,
    ) {
        let from = choice.since.unwrap_or(Hour(0));
        let to = choice.until.map_or_else(|| Hour::of(self.env().now()), |until| Hour(until.0 - 1));
        for name in self.archives().keys().filter(|name| choice.takes(Hop::Archive, name.as_str())) {
            if let Err(error) = self.verify_archive(name, from, to, live, findings).await {
                unchecked.push(format!("the archive of stream `{name}` could not be looked at: {error}"));
            }
        }
    }

    async fn verify_archive(
        &self,
        name: &StreamName,
        from: Hour,
        to: Hour,
        live: &mut Live,
        findings: &mut Vec<Finding>,
    ) -> Result<(), String> {
        let archive = self.archive(name).map_err(|error| chain(&error))?;
        let verdict = archive.verify(from, to, ArchiveDepth::Names).await.map_err(|error| chain(&error))?;
        findings.extend(verdict.findings.iter().map(|found| finding_of(name, found)));
        let hours = live.archives.entry(name.to_string()).or_default();
        // A manifest that does not read is a finding already.
        let Ok(summaries) = archive.manifests(from, to).await else { return Ok(()) };
        for summary in summaries {
            for shard in summary.shards.iter().filter(|shard| shard.end > shard.first) {
                let of = ArchivedHour { first: shard.first.0, end: shard.end.0, tally: shard.totals.records };
                hours.insert((shard.shard.0, summary.hour), of);
            }
        }
        Ok(())
    }
}

fn finding_of(stream: &StreamName, found: &Found) -> Finding {
    let what = format!("archive of stream `{stream}`: {found}");
    let mut finding = Finding::new(Hop::Archive, stream.as_str(), Fault::Archive, what)
        .next("bring the object back from a copy; what is still in the stream can't be archived again under its name");
    match found {
        Found::Gap { shard, from, to } => {
            finding.source = Some(LogName::shard(stream, *shard).to_string());
            finding.missing = to.since(*from);
            finding.name_places(Wrong::Missing, from.0, to.0);
        }
        Found::Twice { shard, from, to } => {
            finding.source = Some(LogName::shard(stream, *shard).to_string());
            finding.extra = to.since(*from);
            finding.name_places(Wrong::Doubled, from.0, to.0);
        }
        Found::Missing { path } | Found::Size { path, .. } | Found::Changed { path, .. } | Found::Extra { path } => {
            finding.source = Some(path.clone());
            // The hour stands in the object's name.
            finding.hour = path.split('/').find_map(|part| part.strip_prefix("hour=")?.parse().ok());
        }
        Found::HourGone { hour } => finding.hour = hour.parse().ok(),
        Found::WentBack(_) => {}
    }
    finding
}
