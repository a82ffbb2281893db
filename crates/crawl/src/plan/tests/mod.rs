mod answers;
mod compiling;
mod examples;
mod hostile;
mod items;
mod lists;
mod requests;
mod whole;

use std::time::Duration;

use serde_json::{Value, json};
use weir_types::Timestamp;

use super::*;
use crate::spec::{Incremental, Paginator, Resource, Tenant};
use crate::{Answer, Page, Read, RunValues, Task};

fn client() -> Client {
    Client::new("https://vendor.example/v1/".parse().unwrap())
}

fn plan_of(resources: Vec<Resource>) -> Plan {
    plan(&Crawl::new("test", resources))
}

fn plan(crawl: &Crawl) -> Plan {
    Plan::compile(&client(), crawl).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn run() -> RunValues {
    RunValues::new(7, Timestamp(1_709_251_199_000))
}

fn answer(body: &Value) -> Answer {
    raw(200, &[], body.to_string().as_bytes())
}

fn raw(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    Answer {
        status,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_vec().into(),
        latency: Duration::from_millis(5),
    }
}

fn root(plan: &Plan) -> Task {
    plan.roots(&run()).remove(0)
}

fn data(read: Read) -> Page {
    match read {
        Read::Data(page) => *page,
        other => panic!("no data: {other:?}"),
    }
}

fn page(plan: &Plan, task: &Task, body: &Value) -> Page {
    data(plan.read(task, &run(), &answer(body)))
}

fn url(plan: &Plan, task: &Task) -> String {
    plan.request(task, &run()).map(|request| request.url.to_string()).unwrap_or_else(|error| format!("error: {error}"))
}

fn fleet() -> Vec<Resource> {
    vec![
        Resource { data_selector: Some("items".to_owned()), ..Resource::new("group", "/groups") },
        Resource {
            data_selector: Some("items".to_owned()),
            include_from_parent: vec!["name".to_owned()],
            ..Resource::new("device", "/groups/{resources.group.id}/devices")
        },
        Resource {
            include_from_parent: vec!["id".to_owned(), "_group_name".to_owned()],
            params: vec![("group".to_owned(), "{resources.group.id}".to_owned())],
            ..Resource::new("reading", "/devices/{resources.device.id}/readings")
        },
    ]
}

fn incremental(cursor_path: &str, initial_value: Value) -> Incremental {
    Incremental {
        cursor_path: cursor_path.to_owned(),
        start_param: Some("since".to_owned()),
        end_param: None,
        initial_value,
        lag: None,
        drop_old: false,
    }
}
