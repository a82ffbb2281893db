//! The crawl as a whole: what [`weir_crawl::Plan::compile`] refuses, at the place where it is written.

use weir_crawl::SpecError;
use weir_crawl::spec::{Client, Crawl};

use super::resource::{DEFAULTS, RESOURCE};
use crate::Diagnostic;
use crate::block::Attributes;
use crate::diagnostic::Report;

/// Tells whether a crawl can be run; what is wrong is reported.
pub(super) fn check(block: &Attributes<'_>, client: &Client, crawl: &Crawl, report: &mut Report) -> bool {
    match weir_crawl::Plan::compile(client, crawl) {
        Ok(_) => true,
        Err(errors) => {
            for error in errors {
                refuse(block, error, report);
            }
            false
        }
    }
}

fn refuse(block: &Attributes<'_>, error: SpecError, report: &mut Report) {
    let attribute = error.attribute;
    // What is wrong within the blocks was reported when they were read.
    let mut unread = Report::default();
    let resource = error.resource.as_ref().and_then(|name| {
        let blocks = block.inner("resource", &RESOURCE, &mut unread);
        blocks.into_iter().find(|resource| resource.name == name)
    });
    let (what, place) = match &resource {
        Some(resource) => {
            let defaults = block.inner("resource_defaults", &DEFAULTS, &mut unread);
            let of_defaults = || defaults.first().and_then(|defaults| defaults.place_named(attribute));
            let place = resource.place_named(attribute).or_else(of_defaults).unwrap_or_else(|| resource.place());
            (resource.to_string(), place)
        }
        // What is the api's is shown where the crawl names it.
        None => (block.to_string(), block.place_named(attribute).unwrap_or_else(|| block.value_place("api"))),
    };
    let message = format!("`{attribute}` of {what}: {}", error.problem);
    let hint = error.hint.unwrap_or_else(|| format!("change `{attribute}`"));
    report.push(Diagnostic::error(message).at(place).hint(hint));
}
