//! `archive`, `archive_location`, `archive_every` and `archive_codec` of a stream: where and how long its records are kept as files.

use std::time::Duration;

use url::Url;
use weir_schema::Codec;

use super::{Attributes, location};
use crate::diagnostic::Report;
use crate::load::Known;
use crate::{ArchivePlan, Diagnostic, StreamPlan};

/// The attributes; all but the first say more of it.
pub(crate) const ATTRIBUTES: [&str; 4] = ["archive", "archive_location", "archive_every", "archive_codec"];

const HOUR: Duration = Duration::from_secs(3600);
/// Whole hours are deleted: less than a few would make an archive of almost nothing.
const RETENTION_MIN: Duration = HOUR;
const RETENTION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
const EVERY_MIN: Duration = Duration::from_secs(1);

const CODECS: [(&str, Codec); 4] =
    [("zstd", Codec::Zstandard), ("snappy", Codec::Snappy), ("deflate", Codec::Deflate), ("none", Codec::Null)];

/// Reads what a stream says of its archive; none if it has none.
pub(crate) fn read(block: &Attributes<'_>, report: &mut Report) -> Option<ArchivePlan> {
    if !block.has("archive") {
        for attribute in ATTRIBUTES.iter().skip(1).filter(|attribute| block.has(attribute)) {
            let message = format!("`{attribute}` says more of an archive that the stream does not have");
            block.refuse(attribute, message, "say how long it is kept: `archive = \"400d\"`", report);
        }
        return None;
    }
    let location = location(block, report);
    let every = block.span("archive_every", EVERY_MIN..=HOUR, report);
    let codec = block.choice("archive_codec", &CODECS, report).unwrap_or(Codec::Zstandard);
    let retention = block.span("archive", RETENTION_MIN..=RETENTION_MAX, report)?;
    Some(ArchivePlan { retention, location, every, codec })
}

/// Refuses two archives in one place: the second would find the first one's files.
pub(crate) fn check(streams: &Known<StreamPlan>, report: &mut Report) {
    let mut seen: Vec<(&str, &StreamPlan)> = Vec::new();
    for plan in streams.values().flatten() {
        let Some(location) = plan.archive.as_ref().and_then(|archive| archive.location.as_ref()) else { continue };
        let location = location.as_str().trim_end_matches('/');
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == location) {
            let message = format!("the archives of streams \"{}\" and \"{}\" have one place", other.name, plan.name);
            let hint = format!("give each its own, such as \"{location}/{}\"", plan.name);
            report.push(Diagnostic::error(message).at(plan.place.clone()).hint(hint));
        }
        seen.push((location, plan));
    }
}

fn location(block: &Attributes<'_>, report: &mut Report) -> Option<Url> {
    let example = "s3://bucket/archive/flights";
    let text = block.name_text("archive_location", example, report)?;
    location::url(block, "archive_location", &text, example, report)
}
