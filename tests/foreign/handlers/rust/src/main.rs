//! A compiled handler on AWS's own runtime crate: an echo, and an error when it is asked for one.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    if let Some(message) = event["fail"].as_str() {
        return Err(message.into());
    }
    Ok(json!({
        "echo": event,
        "function": context.env_config.function_name,
        "request": context.request_id,
        "deadline": context.deadline,
        "arn": context.invoked_function_arn,
    }))
}
