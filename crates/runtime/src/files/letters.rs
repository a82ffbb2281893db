//! Dead letters of files: rows that are refused, and files that can't be read.
//!
//! A letter's id is made of the file, its content and the row, so that a file that is read again after a crash writes no
//! letter twice.

use serde_json::json;
use weir_env::Env;
use weir_types::FilesName;

use super::machine::{Claim, Fate};
use super::object::Object;
use crate::dead::{Cause, Letter};
use crate::door::Report;

fn source(files: &FilesName, object: &Object) -> String {
    format!("files/{files}/{}", object.path)
}

/// It is the file that is taken again, and not what its rows were: touching it is the way back.
fn target(files: &FilesName) -> String {
    format!("files/{files}")
}

fn letter(env: &Env, files: &FilesName, object: &Object, part: &str, error: String, payload: Vec<u8>) -> Letter {
    let source = source(files, object);
    let id = format!("{source}@{:?}:{part}", object.mark_of_failure());
    Letter { id, ..Letter::of_delivery(env, source, target(files), Cause::Malformed, error, payload) }
}

/// Of a file that can't be read, or not to its end. Its payload says which, and not what is in it.
pub(super) fn of_file(env: &Env, files: &FilesName, object: &Object, went_on: u64, reason: &str) -> Letter {
    let before = if went_on > 0 { format!(" (the {went_on} records before that went on)") } else { String::new() };
    let payload = json!({"path": object.path, "bytes": object.bytes, "etag": object.etag, "error": reason});
    letter(env, files, object, "file", format!("the file can't be read: {reason}{before}"), payload.to_string().into())
}

/// Rows that a refused file's letter shows.
const SHOWN_MAX: usize = 10;
/// Bytes of each that it shows.
const SHOWN_BYTES_MAX: usize = 1024;

/// Of a file that is refused as a whole, since some of its rows are. Its payload says which file, and shows the first of
/// them.
pub(super) fn of_refused(
    env: &Env,
    files: &FilesName,
    object: &Object,
    report: &Report,
    payloads: &[Vec<u8>],
) -> Letter {
    let shown = report.refusals.iter().zip(payloads).take(SHOWN_MAX).map(|(refusal, payload)| {
        let row = String::from_utf8_lossy(&payload[..payload.len().min(SHOWN_BYTES_MAX)]);
        json!({"line": refusal.line, "field": refusal.field, "reason": refusal.reason, "row": row})
    });
    let shown: Vec<_> = shown.collect();
    let first = report.refusals.first().map(|first| {
        let field = if first.field.is_empty() { String::new() } else { format!("field `{}`: ", first.field) };
        format!("; the first in line {}: {field}{}", first.line, first.reason)
    });
    let error = format!(
        "{} of the file's {} rows are refused, and so none went on{}. Mend the file and write it again, or set \
         `bad_rows = \"skip\"`",
        report.refused,
        report.received,
        first.unwrap_or_default()
    );
    let payload = json!({
        "path": object.path, "bytes": object.bytes, "etag": object.etag,
        "rows": report.received, "refused": report.refused, "first": shown,
    });
    letter(env, files, object, "file", error, payload.to_string().into())
}

/// Of the rows that a file's report lists as refused, and one for all that it does not list.
pub(super) fn of_rows<'a>(
    env: &'a Env,
    files: &'a FilesName,
    object: &'a Object,
    report: &'a Report,
    payloads: Vec<Vec<u8>>,
) -> impl Iterator<Item = Letter> + 'a {
    let mut payloads = payloads.into_iter();
    let listed = report.refusals.iter().map(move |refusal| {
        let line = refusal.line;
        let field = if refusal.field.is_empty() { String::new() } else { format!("field `{}`: ", refusal.field) };
        let payload = payloads.next().filter(|payload| !payload.is_empty());
        // A row whose bytes are not known is found by its place.
        let place = || json!({"path": object.path, "line": line}).to_string().into_bytes();
        let error = format!("line {line}: {field}{}", refusal.reason);
        letter(env, files, object, &line.to_string(), error, payload.unwrap_or_else(place))
    });
    let unlisted = report.refused - report.refusals.len() as u64;
    let rest = (unlisted > 0).then(|| {
        let after = report.refusals.last().map_or(0, |refusal| refusal.line);
        let payload = json!({"path": object.path, "after_line": after, "refused": unlisted});
        let error = format!(
            "{unlisted} more records after line {after} were refused: the first {} are letters of their own",
            report.refusals.len()
        );
        letter(env, files, object, "rest", error, payload.to_string().into())
    });
    listed.chain(rest)
}

/// Of a claim that was begun before a stop, and whose files were not all as they had been when it was taken up again.
pub(super) fn of_torn_claim(env: &Env, files: &FilesName, claim: &Claim, fates: &[Fate]) -> Letter {
    let all: Vec<&str> = claim.objects.iter().map(|object| object.path.as_str()).collect();
    let gone = claim.objects.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Gone);
    let gone: Vec<&str> = gone.map(|(object, _)| object.path.as_str()).collect();
    let error = format!(
        "claim {} was begun before a stop, and {} of its {} files were gone or had changed when it was taken up again: \
         records of its files may be stored in part",
        claim.number,
        gone.len(),
        all.len()
    );
    let id = format!("files/{files}@{}:torn", claim.number);
    let payload = json!({"claim": claim.number, "gone": gone, "files": all}).to_string().into_bytes();
    Letter { id, ..Letter::of_delivery(env, format!("files/{files}"), target(files), Cause::Malformed, error, payload) }
}
