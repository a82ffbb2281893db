//! What the server says of itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use weir_runtime::{Node, Status};

/// What a browser or `curl` at the root is told.
pub(crate) async fn welcome() -> String {
    format!(
        "weir {}\n\n\
         POST /v1/streams/NAME/records   records in: NDJSON, JSON, CSV, Avro, by content type\n\
         GET  /v1/streams/NAME/records   records out: ?shard=0&from=oldest&limit=100&wait=5s\n\
         GET  /v1/streams/NAME/archive   the archive's hours; GET .../archive/verify: is it as it was written\n\
         POST /v1/query                  SQL in, rows out: NDJSON, CSV or Arrow\n\
         POST /v1/queues/NAME/messages   a message in: the whole body, or with application/x-ndjson each line\n\
         GET  /v1/queues/NAME/messages   what waits there: ?from=0&limit=20\n\
         POST /                          the SQS API: --endpoint-url of the AWS CLI, endpoint_url of boto3\n\
         POST /2015-03-31/functions/NAME/invocations   Lambda's Invoke\n\
         ANY  /functions/NAME/...        a function's URL: the request as its event, its response as yours\n\
         GET  /v1/functions              functions, and what confines handlers\n\
         GET  /v1/dead-letters           what could not go on; GET /v1/dead-letters/ID, POST .../redrive, .../drop\n\
         GET  /v1/replays                records of the past, once more; POST begins one, .../preview says what it would come to\n\
         POST /v1/tables/NAME/refresh    returns when the table has all that was acknowledged; .../compact, .../vacuum?keep=1h\n\
         GET  /v1/ledger                 what came in, went out and is in flight, by hop and hour: ?since=24h&verify=true\n\
         GET  /v1/lookups                reference data and its age; POST /v1/lookups/NAME/refresh\n\
         GET  /v1/status                 streams, queues, functions, tables, lookups\n\
         GET  /v1/schemas                subjects and their versions\n\
         POST /v1/schemas/SUBJECT        a schema as the subject's next version\n\
         GET  /metrics                   the same for Prometheus\n\
         GET  /healthz                   200 while the server serves\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Readiness as scripts for LocalStack ask for it.
pub(crate) async fn localstack() -> Json<Value> {
    Json(json!({
        "services": { "sqs": "running", "lambda": "running" },
        "edition": "weir",
        "version": env!("CARGO_PKG_VERSION"),
        "completed": true,
    }))
}

pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

pub(crate) async fn status(State(node): State<Arc<Node>>) -> Json<Status> {
    Json(node.status())
}
