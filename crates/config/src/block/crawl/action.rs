//! `response_action { status_code = 404  action = "ignore" }`: what becomes of certain answers.

use weir_crawl::spec::{Action, ResponseAction};

use crate::block::{Attributes, Shape};
use crate::diagnostic::Report;

pub(super) const SHAPE: Shape = Shape { attributes: &["status_code", "content", "action"], later: &[], blocks: &[] };

const ACTIONS: [(&str, Action); 4] =
    [("ignore", Action::Ignore), ("fail", Action::Fail), ("retry", Action::Retry), ("throttle", Action::Throttle)];

/// Reads the actions of a block; `None` if one was refused.
pub(super) fn read_all(block: &Attributes<'_>, report: &mut Report) -> Option<Vec<ResponseAction>> {
    let blocks = block.inner("response_action", &SHAPE, report);
    let actions: Vec<Option<ResponseAction>> = blocks.iter().map(|inner| read(inner, report)).collect();
    actions.into_iter().collect()
}

fn read(inner: &Attributes<'_>, report: &mut Report) -> Option<ResponseAction> {
    let status_code = inner.whole_number("status_code", 100..=599, report);
    let content = inner.name_text("content", "no such device", report).map(|text| text.value);
    if !inner.has_any(&["status_code", "content"]) {
        inner.missing("status_code", "say which answers: `status_code = 404`, or `content = \"a text in it\"`", report);
    }
    if !inner.has("action") {
        inner.missing("action", "say what becomes of them: `action = \"ignore\"`, or fail, retry, throttle", report);
    }
    let action = inner.choice("action", &ACTIONS, report)?;
    // A number in range.
    let status_code = status_code.and_then(|code| u16::try_from(code).ok());
    (status_code.is_some() || content.is_some()).then_some(ResponseAction { status_code, content, action })
}
