//! Which path does what.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::routing::{any, delete, get, post, put};
use weir_runtime::Node;
use weir_sqs::{Options as SqsOptions, Sqs};

use crate::error::{ErrorCode, ErrorReply};
use crate::{
    apis, archive, crawls, dead_letters, files, functions, invoke, ledger, lookups, metrics, query, queues, records,
    replays, schemas, status, tables,
};

/// Every path. Requests of SQS's clients are told by their headers and bodies, and may come to any path; they are looked
/// for first.
pub(crate) fn router(node: Arc<Node>) -> Router {
    let sqs = Arc::new(Sqs::new(node.queues().clone(), node.env().clone(), SqsOptions::default()));
    let native = native(node);
    Router::new().fallback_service(native.layer(axum::middleware::from_fn(move |request: Request, next: Next| {
        let sqs = sqs.clone();
        async move {
            let (head, body) = request.into_parts();
            let is_sqs = Sqs::speaks(&head);
            let request = Request::from_parts(head, body);
            if is_sqs { sqs.answer(request).await } else { next.run(request).await }
        }
    })))
}

fn native(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", get(status::welcome))
        .route("/healthz", get(status::healthy))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/streams/{stream}/records", post(records::deliver).get(records::tail))
        .route("/v1/streams/{stream}/archive", get(archive::list))
        .route("/v1/streams/{stream}/archive/verify", get(archive::verify))
        .route("/v1/queues", get(queues::list))
        .route("/v1/queues/{queue}", put(queues::create).delete(queues::delete))
        .route("/v1/queues/{queue}/messages", post(queues::send).get(queues::look))
        .route("/v1/queues/{queue}/purge", post(queues::purge))
        .route("/v1/queues/{queue}/moves", post(queues::redrive).get(queues::moves))
        .route("/v1/queues/{queue}/moves/{id}", delete(queues::cancel_move))
        .route("/v1/files/{files}/notifications", post(files::notify))
        .route("/v1/functions", get(functions::list))
        .route("/v1/functions/{function}/versions", get(functions::versions))
        .route("/v1/functions/{function}/rollback", post(functions::rollback))
        .route("/v1/functions/{function}/deploy", post(functions::deploy))
        .route("/v1/functions/{function}/logs", get(functions::logs))
        .route("/2015-03-31/functions/{function}/invocations", post(invoke::invoke))
        .route("/functions/{function}", any(invoke::url))
        .route("/functions/{function}/{*path}", any(invoke::url))
        .route("/_localstack/health", get(status::localstack))
        .route("/_localstack/init", get(status::localstack))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/redrive", post(dead_letters::redrive))
        .route("/v1/dead-letters/drop", post(dead_letters::drop_letters))
        .route("/v1/dead-letters/{*id}", get(dead_letters::show))
        .route("/v1/replays", post(replays::begin).get(replays::list))
        .route("/v1/replays/preview", post(replays::preview))
        .route("/v1/replays/{id}", get(replays::show))
        .route("/v1/replays/{id}/pause", post(replays::pause))
        .route("/v1/replays/{id}/resume", post(replays::resume))
        .route("/v1/replays/{id}/cancel", post(replays::cancel))
        .route("/v1/replays/{id}/rate", post(replays::rate))
        .route("/v1/crawls", get(crawls::list))
        .route("/v1/crawls/{crawl}", get(crawls::show))
        .route("/v1/crawls/{crawl}/runs", post(crawls::start).get(crawls::runs))
        .route("/v1/crawls/{crawl}/pause", post(crawls::pause))
        .route("/v1/crawls/{crawl}/resume", post(crawls::resume))
        .route("/v1/crawls/{crawl}/cancel", post(crawls::cancel))
        .route("/v1/apis", get(apis::list))
        .route("/v1/apis/{api}", get(apis::show))
        .route("/v1/apis/{api}/call/{function}", any(apis::call))
        .route("/v1/apis/{api}/call/{function}/{*path}", any(apis::call))
        .route("/v1/ledger", get(ledger::show))
        .route("/v1/ledger/accept", post(ledger::accept))
        .route("/v1/lookups", get(lookups::list))
        .route("/v1/lookups/{lookup}", get(lookups::show))
        .route("/v1/lookups/{lookup}/refresh", post(lookups::refresh))
        .route("/v1/query", post(query::query))
        .route("/v1/tables/{table}/refresh", post(tables::refresh))
        .route("/v1/tables/{table}/compact", post(tables::compact))
        .route("/v1/tables/{table}/vacuum", post(tables::vacuum))
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
