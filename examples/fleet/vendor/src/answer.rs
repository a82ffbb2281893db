//! What is answered on `/v1/`: pages of lists, each kind of pagination on another level. Pure: ids in, a page out.
//!
//! ```text
//! GET /v1/groups?page=0                     {"items": [...], "page": 0, "total": PAGES}
//! GET /v1/groups/g0/devices?cursor=C        {"items": [...], "cursors": {"next": "C" or null}}
//! GET /v1/devices/g0-d0/data-groups?offset=0&limit=20   {"items": [...], "total": ITEMS}
//! GET /v1/data-groups/g0-d0-k0/readings     [...], and a Link header with rel="next"
//! GET /v1/alerts                            {"items": [...], "next": URL or null}
//! GET /v1/lots/NAME/COUNT?offset=0&limit=1000           {"items": [...], "total": COUNT}
//! GET /v1/lots/NAME/items/ID                {"lot": NAME, "id": ID, "value": ...}
//! ```

use serde_json::{Value, json};

use crate::Shape;
use crate::shape::{
    ALERTS_PAGE, DATA_GROUPS_PAGE, DEVICES_PAGE, DataGroup, Device, GROUPS_PAGE, Group, READINGS_PAGE, pages,
};

/// The most items that a page of data groups or lots has, whatever is asked for.
const LIMIT_MAX: u32 = 10_000;
/// The items of a page of a lot, where the caller names no limit.
const LOT_PAGE: u32 = 1_000;
/// Minutes of the month that readings are from: they begin anew behind its end.
const MINUTES: u64 = 31 * 24 * 60;
const METRICS: [(&str, &str); 4] = [("temperature", "C"), ("pressure", "kPa"), ("speed", "1/min"), ("power", "kW")];

/// An answer that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Where the list goes on, as a `Link` header's value.
    pub link: Option<String>,
    /// JSON.
    pub body: Vec<u8>,
}

impl Page {
    pub(crate) fn of(status: u16, value: &Value) -> Self {
        Self { status, link: None, body: value.to_string().into_bytes() }
    }

    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::of(status, &json!({ "error": message }))
    }
}

/// The parameters of a query.
struct Params<'a>(&'a str);

impl Params<'_> {
    /// A number, or what stands for one that is left out. None: it is no number.
    fn number(&self, name: &str, otherwise: u32) -> Option<u32> {
        match form_urlencoded::parse(self.0.as_bytes()).find(|(found, _)| found == name) {
            Some((_, value)) => value.parse().ok(),
            None => Some(otherwise),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.0.as_bytes()).find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }
}

/// Answers a call. `base` is what URLs in answers begin with, such as `http://127.0.0.1:4600`; `path` begins with `/v1/`.
pub fn answer(shape: &Shape, base: &str, path: &str, query: &str) -> Page {
    let params = Params(query);
    let words: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let page = match words.as_slice() {
        ["groups"] => groups(shape, &params),
        ["groups", group, "devices"] => {
            found(group).filter(|id| shape.has_group(*id)).and_then(|id| devices(shape, id, &params))
        }
        ["devices", device, "data-groups"] => {
            found(device).filter(|id| shape.has_device(*id)).and_then(|id| data_groups(shape, id, &params))
        }
        ["data-groups", data_group, "readings"] => {
            found(data_group).filter(|id| shape.has_data_group(*id)).and_then(|id| readings(shape, id, base, &params))
        }
        ["alerts"] => alerts(shape, base, &params),
        ["lots", name, "items", id] => Some(lot_item(shape, name, id)),
        ["lots", name, count] => count.parse().ok().and_then(|count| lot(name, count, &params)),
        _ => None,
    };
    page.unwrap_or_else(|| Page::error(404, "there is no such thing, or it has no such page"))
}

fn found<T: std::str::FromStr>(id: &str) -> Option<T> {
    id.parse().ok()
}

fn groups(shape: &Shape, params: &Params<'_>) -> Option<Page> {
    let page = params.number("page", 0)?;
    let items: Vec<Value> = slice(page.checked_mul(GROUPS_PAGE)?, GROUPS_PAGE, shape.groups)
        .map(|index| {
            let group = Group(index);
            json!({
                "id": group.to_string(),
                "name": format!("Group {index}"),
                "customer": format!("c{}", shape.customer_of(group)),
            })
        })
        .collect();
    Some(Page::of(200, &json!({ "items": items, "page": page, "total": pages(shape.groups, GROUPS_PAGE) })))
}

fn devices(shape: &Shape, group: Group, params: &Params<'_>) -> Option<Page> {
    // Cursors are opaque to callers: a made-up one is not taken.
    let from = match params.text("cursor") {
        Some(cursor) => cursor.strip_prefix("after-")?.parse().ok()?,
        None => 0,
    };
    let all = shape.devices_of(group);
    let items: Vec<Value> = slice(from, DEVICES_PAGE, all)
        .map(|index| {
            let device = Device(group, index);
            let draw = shape.draw([5, group.0, index, 0]);
            json!({
                "id": device.to_string(),
                "model": format!("M{}", draw % 12),
                "installed": format!("20{:02}-{:02}-{:02}", 15 + draw / 12 % 10, 1 + draw / 120 % 12, 1 + draw / 1_440 % 28),
            })
        })
        .collect();
    let next = from + DEVICES_PAGE;
    let next = (next < all).then(|| format!("after-{next}"));
    Some(Page::of(200, &json!({ "items": items, "cursors": { "next": next } })))
}

fn data_groups(shape: &Shape, device: Device, params: &Params<'_>) -> Option<Page> {
    let (offset, limit) = (params.number("offset", 0)?, params.number("limit", DATA_GROUPS_PAGE)?.clamp(1, LIMIT_MAX));
    let all = shape.data_groups_of(device);
    let items: Vec<Value> = slice(offset, limit, all)
        .map(|index| {
            let (metric, unit) = METRICS[index as usize % METRICS.len()];
            json!({
                "id": DataGroup(device, index).to_string(),
                "device": device.to_string(),
                "metric": metric,
                "unit": unit,
            })
        })
        .collect();
    Some(Page::of(200, &json!({ "items": items, "total": all })))
}

fn readings(shape: &Shape, data_group: DataGroup, base: &str, params: &Params<'_>) -> Option<Page> {
    let from = params.number("from", 0)?;
    let all = shape.readings_of(data_group);
    let DataGroup(device, index) = data_group;
    let draw = shape.draw([6, device.0.0, device.1, index]);
    let items: Vec<Value> = slice(from, READINGS_PAGE, all)
        .map(|index| {
            let value = crate::shape::mix(draw ^ u64::from(index)) % 20_000;
            json!({
                "id": reading_id(data_group, index),
                "at": minute((draw + u64::from(index)) % MINUTES),
                "value": value as f64 / 100.0,
            })
        })
        .collect();
    let next = from + READINGS_PAGE;
    let link = (next < all).then(|| format!("<{base}/v1/data-groups/{data_group}/readings?from={next}>; rel=\"next\""));
    Some(Page { link, ..Page::of(200, &Value::Array(items)) })
}

fn alerts(shape: &Shape, base: &str, params: &Params<'_>) -> Option<Page> {
    let after = params.number("after", 0)?;
    let items: Vec<Value> = slice(after, ALERTS_PAGE, shape.alerts)
        .map(|index| json!({ "id": format!("a{index}"), "severity": 1 + shape.draw([7, index, 0, 0]) % 5 }))
        .collect();
    let next = after + ALERTS_PAGE;
    let next = (next < shape.alerts).then(|| format!("{base}/v1/alerts?after={next}"));
    Some(Page::of(200, &json!({ "items": items, "next": next })))
}

fn lot(name: &str, count: u32, params: &Params<'_>) -> Option<Page> {
    let (offset, limit) = (params.number("offset", 0)?, params.number("limit", LOT_PAGE)?.clamp(1, LIMIT_MAX));
    let items: Vec<Value> =
        slice(offset, limit, count).map(|index| json!({ "id": format!("{name}-{index}") })).collect();
    Some(Page::of(200, &json!({ "items": items, "total": count })))
}

fn lot_item(shape: &Shape, name: &str, id: &str) -> Page {
    let draw = id.bytes().fold(shape.seed, |draw, byte| crate::shape::mix(draw ^ u64::from(byte)));
    Page::of(200, &json!({ "lot": name, "id": id, "value": draw % 1_000 }))
}

/// Every call of a full crawl, as path and query, parents before children.
pub fn targets(shape: &Shape) -> impl Iterator<Item = String> + '_ {
    let from = |page: u32, size: u32| page * size;
    let groups = (0..pages(shape.groups, GROUPS_PAGE)).map(|page| format!("/v1/groups?page={page}"));
    let devices = (0..shape.groups).map(Group).flat_map(move |group| {
        (0..pages(shape.devices_of(group), DEVICES_PAGE)).map(move |page| match page {
            0 => format!("/v1/groups/{group}/devices"),
            page => format!("/v1/groups/{group}/devices?cursor=after-{}", from(page, DEVICES_PAGE)),
        })
    });
    let data_groups = shape.devices().flat_map(move |device| {
        (0..pages(shape.data_groups_of(device), DATA_GROUPS_PAGE)).map(move |page| {
            format!("/v1/devices/{device}/data-groups?offset={}&limit=20", from(page, DATA_GROUPS_PAGE))
        })
    });
    let readings = shape.data_groups().flat_map(move |data_group| {
        (0..pages(shape.readings_of(data_group), READINGS_PAGE)).map(move |page| match page {
            0 => format!("/v1/data-groups/{data_group}/readings"),
            page => format!("/v1/data-groups/{data_group}/readings?from={}", from(page, READINGS_PAGE)),
        })
    });
    groups.chain(devices).chain(data_groups).chain(readings)
}

/// The id of a reading.
pub fn reading_id(data_group: DataGroup, index: u32) -> String {
    format!("{data_group}-r{index}")
}

/// The items of a page that there are.
fn slice(from: u32, page: u32, all: u32) -> std::ops::Range<u32> {
    from.min(all)..from.saturating_add(page).min(all)
}

/// A minute of January 2026, as RFC 3339 has it.
fn minute(minute: u64) -> String {
    format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1_440, minute / 60 % 24, minute % 60)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BASE: &str = "http://vendor";

    /// Follows a list to its end, as a client does, and returns its items and its calls.
    fn list(shape: &Shape, path: &str, calls: &mut u64) -> Vec<Value> {
        let mut items = Vec::new();
        let mut query = String::new();
        loop {
            let page = answer(shape, BASE, path, &query);
            assert_eq!(page.status, 200, "{path}?{query}");
            *calls += 1;
            let body: Value = serde_json::from_slice(&page.body).unwrap();
            let found = if body.is_array() { &body } else { &body["items"] };
            items.extend(found.as_array().unwrap().iter().cloned());
            let behind = |url: &str| url.split_once('?').unwrap().1.to_owned();
            query = if let Some(link) = page.link {
                behind(link.trim_start_matches('<').split_once('>').unwrap().0)
            } else if let Some(next) = body["next"].as_str() {
                behind(next)
            } else if let Some(cursor) = body["cursors"]["next"].as_str() {
                format!("cursor={cursor}")
            } else if body.get("page").is_some() && body["page"].as_u64().unwrap() + 1 < body["total"].as_u64().unwrap()
            {
                format!("page={}", body["page"].as_u64().unwrap() + 1)
            } else if body.get("page").is_none() && (items.len() as u64) < body["total"].as_u64().unwrap_or(0) {
                format!("offset={}", items.len())
            } else {
                return items;
            };
        }
    }

    fn ids(items: &[Value]) -> Vec<String> {
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_walk_makes_as_many_calls_as_were_counted_and_finds_each_reading_once() {
        let shape = Shape::of_calls(11, 5_000);
        let mut calls = 0;
        let mut readings = BTreeSet::new();
        for group in ids(&list(&shape, "/v1/groups", &mut calls)) {
            for device in ids(&list(&shape, &format!("/v1/groups/{group}/devices"), &mut calls)) {
                for data_group in ids(&list(&shape, &format!("/v1/devices/{device}/data-groups"), &mut calls)) {
                    for reading in ids(&list(&shape, &format!("/v1/data-groups/{data_group}/readings"), &mut calls)) {
                        assert!(readings.insert(reading));
                    }
                }
            }
        }
        let census = shape.census();
        assert_eq!((calls, readings.len() as u64), (census.calls(), census.readings));
        let known: BTreeSet<String> = shape
            .data_groups()
            .flat_map(|group| (0..shape.readings_of(group)).map(move |index| reading_id(group, index)))
            .collect();
        assert_eq!(readings, known);
    }

    #[test]
    fn targets_are_all_calls_and_each_is_answered() {
        let shape = Shape::of_calls(11, 5_000);
        let all: BTreeSet<String> = targets(&shape).collect();
        assert_eq!(all.len() as u64, shape.census().calls());
        for target in &all {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            assert_eq!(answer(&shape, BASE, path, query).status, 200, "{target}");
        }
    }

    #[test]
    fn alerts_go_on_at_a_url_and_lots_have_as_many_items_as_their_name_says() {
        let shape = Shape::new(1, 1);
        let mut calls = 0;
        assert_eq!(list(&shape, "/v1/alerts", &mut calls).len(), 90);
        assert_eq!(calls, 5);
        assert_eq!(list(&shape, "/v1/lots/small/2500", &mut calls).len(), 2_500);
        assert_eq!(calls, 8);
        assert_eq!(answer(&shape, BASE, "/v1/lots/small/items/small-7", "").status, 200);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let shape = Shape::new(1, 1);
        for path in ["/v1/", "/v1/groups/g1/devices", "/v1/devices/g0-d999/data-groups", "/v1/lots/x/many"] {
            assert_eq!(answer(&shape, BASE, path, "").status, 404, "{path}");
        }
        assert_eq!(answer(&shape, BASE, "/v1/groups/g0/devices", "cursor=25").status, 404);
    }
}
