//! Doors: what came is stored, repeated, refused, a dead letter, or not taken.

use super::choice::Choice;
use super::line::{Hop, Line};
use super::{Balance, Fault, Finding};
use crate::ledger::Ledger;

pub(super) fn add(ledger: &Ledger, choice: &Choice, balance: &mut Balance) {
    for (stream, hours) in ledger.doors.iter().filter(|(stream, _)| choice.takes(Hop::Door, stream)) {
        for (hour, counts) in hours.iter().filter(|(hour, _)| choice.takes_hour(**hour)) {
            let line = Line {
                records_in: counts.received,
                out: counts.stored,
                deduplicated: counts.repeated,
                dead_lettered: counts.dead_lettered,
                refused: counts.refused + counts.failed,
                ..Line::new(Hop::Door, stream, *hour)
            };
            let line = line.balanced();
            if line.balance != 0 {
                let what = format!(
                    "{} records came to the door of stream `{stream}` in {hour}, and {} were answered for",
                    counts.received,
                    i128::from(counts.received) - i128::from(line.balance)
                );
                let mut finding = Finding::new(Hop::Door, stream, Fault::Counts, what)
                    .amounts(counts.received, (i128::from(counts.received) - i128::from(line.balance)).max(0) as u64)
                    .next("compare with what the senders were told; records that were acknowledged are in the stream");
                finding.hour = Some(*hour);
                balance.findings.push(finding);
            }
            balance.lines.push(line);
        }
    }
}
