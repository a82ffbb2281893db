//! Which path does what.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use weir_runtime::Node;

use crate::error::{ErrorCode, ErrorReply};
use crate::{metrics, query, records, schemas, status};

pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", get(status::welcome))
        .route("/healthz", get(status::healthy))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/streams/{stream}/records", post(records::deliver).get(records::tail))
        .route("/v1/query", post(query::query))
        .route("/v1/schemas", get(schemas::list))
        .route("/v1/schemas/{subject}", get(schemas::get).post(schemas::register))
        .fallback(async || {
            ErrorReply::new(ErrorCode::NotFound, "there is nothing at this path; GET / lists what there is")
        })
        .method_not_allowed_fallback(async || {
            ErrorReply::new(ErrorCode::MethodNotAllowed, "this path takes other methods; GET / lists them")
        })
        .with_state(node)
}
