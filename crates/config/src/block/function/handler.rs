//! A Lambda handler: its limits, and the schemas of what it returns.

use std::time::Duration;

use weir_types::ByteSize;

use super::output::Draft;
use super::{Around, Feed, Made, code, environment};
use crate::block::Attributes;
use crate::diagnostic::Report;
use crate::{Body, Diagnostic, HandlerPlan, Network, OutputPlan, rows};

const MEMORY_DEFAULT: ByteSize = ByteSize(256 << 20);
const MEMORY_MIN: ByteSize = ByteSize(64 << 20);
const MEMORY_MAX: ByteSize = ByteSize(10 << 30);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
const CONCURRENCY_MAX: u32 = 1000;
const TEMP_DEFAULT: ByteSize = ByteSize(512 << 20);
const TEMP_MIN: ByteSize = ByteSize(1 << 20);
const TEMP_MAX: ByteSize = ByteSize(10 << 30);
const KEEP_WARM_DEFAULT: Duration = Duration::from_secs(60);
const KEEP_WARM_MAX: Duration = Duration::from_secs(3600);
const NETWORKS: [(&str, Network); 2] = [("all", Network::All), ("none", Network::None)];

pub(super) fn read(
    block: &Attributes<'_>,
    drafts: Vec<Draft<'_>>,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Made> {
    let timeout = block.span("timeout", TIMEOUT_MIN..=TIMEOUT_MAX, report).unwrap_or(TIMEOUT_DEFAULT);
    let memory = block.bytes("memory", MEMORY_MIN..=MEMORY_MAX, report).unwrap_or(MEMORY_DEFAULT);
    let concurrency = block.whole_number("concurrency", 0..=CONCURRENCY_MAX, report);
    let temp = block.bytes("temp", TEMP_MIN..=TEMP_MAX, report).unwrap_or(TEMP_DEFAULT);
    let keep_warm = block.span("keep_warm", Duration::ZERO..=KEEP_WARM_MAX, report).unwrap_or(KEEP_WARM_DEFAULT);
    let network = block.choice("network", &NETWORKS, report).unwrap_or_default();
    let environment = environment::read(block, report);
    let outputs = outputs(drafts, report);
    let code = code::read(block, around.dir, report)?;
    let plan = HandlerPlan {
        code: code.path,
        handler: code.handler,
        runtime: code.runtime,
        memory,
        timeout,
        concurrency,
        temp,
        keep_warm,
        environment,
        network,
    };
    Some((Body::Handler(Box::new(plan)), outputs))
}

fn outputs(drafts: Vec<Draft<'_>>, report: &mut Report) -> Vec<(OutputPlan, Feed)> {
    let mut outputs = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let Some(target) = &draft.target else { continue };
        let mut feed = Feed { place: draft.place.clone(), mend: "add it to the schema of the function's output" };
        let mut schema = target.schema().cloned();
        let mut columns = target.columns();
        if let Some((described, place)) = draft.schema {
            for refused in rows::refused(&described.columns) {
                let message = format!("`{}`: {}", described.file, refused.message);
                let hint = format!("name or type field `{}` otherwise", refused.column);
                report.push(Diagnostic::error(message).at(place.clone()).hint(hint));
            }
            feed.place = place;
            (schema, columns) = (Some(described.schema), Some(described.columns));
        }
        let output = OutputPlan { name: draft.name, to: target.to(), sql: None, columns, schema, place: draft.place };
        outputs.push((output, feed));
    }
    outputs
}
