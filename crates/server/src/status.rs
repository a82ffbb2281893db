//! What the server says of itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weir_runtime::{Node, Status};

/// What a browser or `curl` at the root is told.
pub(crate) async fn welcome() -> String {
    format!(
        "weir {}\n\n\
         POST /v1/streams/NAME/records   records in: NDJSON, JSON, CSV, Avro, by content type\n\
         GET  /v1/streams/NAME/records   records out: ?shard=0&from=oldest&limit=100&wait=5s\n\
         POST /v1/query                  SQL in, rows out: NDJSON, CSV or Arrow\n\
         GET  /v1/status                 streams, tables, lookups\n\
         GET  /v1/schemas                subjects and their versions\n\
         POST /v1/schemas/SUBJECT        a schema as the subject's next version\n\
         GET  /metrics                   the same for Prometheus\n\
         GET  /healthz                   200 while the server serves\n",
        env!("CARGO_PKG_VERSION")
    )
}

pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

pub(crate) async fn status(State(node): State<Arc<Node>>) -> Json<Status> {
    Json(node.status())
}
