//! `/_vendor/`: what a test asks the vendor about itself, and tells it to do. Nothing of this is a call.
//!
//! ```text
//! GET  /_vendor/census                        what there is, and the calls of a full crawl
//! GET  /_vendor/stats?from=0&rate=500         what the calls from one on were like; `rate` is that of the bucket if left out
//! GET  /_vendor/readings                      the id of every reading, a line each
//! POST /_vendor/change {"rate": 200, ...}     another limit, other faults
//! POST /_vendor/away {"kind": "refuse", "seconds": 5}
//! POST /_vendor/forget                        the journal begins anew
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::answer::{Page, reading_id};
use crate::respond::{Body, respond};
use crate::shape::{DataGroup, Device, Group};
use crate::{Change, OutageKind, Vendor};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Away {
    #[serde(default)]
    kind: OutageKind,
    seconds: f64,
}

/// Answers what is asked of the vendor itself.
pub(crate) async fn control(vendor: &Arc<Vendor>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return respond(Page::error(400, "no whole body")) };
    let body = body.to_bytes();
    let query = parts.uri.query().unwrap_or_default();
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/_vendor/census") => respond(Page::of(200, &census(vendor))),
        (&Method::GET, "/_vendor/stats") => respond(Page::of(200, &stats(vendor, query))),
        (&Method::GET, "/_vendor/readings") => readings(vendor),
        (&Method::POST, "/_vendor/change") => with(&body, |change: Change| vendor.change(&change)),
        (&Method::POST, "/_vendor/away") => with(&body, |away: Away| {
            tokio::spawn(vendor.go_away(away.kind, Duration::from_secs_f64(away.seconds)));
        }),
        (&Method::POST, "/_vendor/forget") => {
            vendor.mood().journal.clear();
            respond(Page::of(200, &json!({})))
        }
        _ => respond(Page::error(404, "see the docs of `control.rs`")),
    }
}

fn with<T: DeserializeOwned>(body: &[u8], act: impl FnOnce(T)) -> Response<Body> {
    match serde_json::from_slice(body) {
        Ok(read) => {
            act(read);
            respond(Page::of(200, &json!({})))
        }
        Err(error) => respond(Page::error(400, &error.to_string())),
    }
}

fn census(vendor: &Vendor) -> Value {
    let census = &vendor.census;
    json!({ "calls": census.calls(), "group_calls": census.group_calls(), "of": census, "alerts": vendor.settings.shape.alerts })
}

fn stats(vendor: &Vendor, query: &str) -> Value {
    let number = |name: &str| {
        let found = form_urlencoded::parse(query.as_bytes()).find(|(found, _)| found == name);
        found.and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let mut mood = vendor.mood();
    let from = number("from").unwrap_or_default() as usize;
    let rate = number("rate").unwrap_or(mood.bucket.rate());
    let stats = mood.journal.stats(from, rate);
    // A test that reads the file has asked for the stats before.
    let is_written = mood.journal.flush().is_ok();
    json!({
        "of": stats, "rate": rate, "limit": { "rate": mood.bucket.rate(), "burst": mood.bucket.burst() },
        "away": vendor.away(), "log_is_written": is_written,
    })
}

/// A group's at a time, so that the list may be long.
fn readings(vendor: &Arc<Vendor>) -> Response<Body> {
    let shape = vendor.settings.shape.clone();
    let parts = stream::iter((0..shape.groups).map(move |group| {
        let group = Group(group);
        let mut text = String::new();
        for device in (0..shape.devices_of(group)).map(|index| Device(group, index)) {
            for data_group in (0..shape.data_groups_of(device)).map(|index| DataGroup(device, index)) {
                for index in 0..shape.readings_of(data_group) {
                    text.push_str(&reading_id(data_group, index));
                    text.push('\n');
                }
            }
        }
        Ok(Frame::data(Bytes::from(text)))
    }));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(parts)))
}
