//! The SQS wire API over queues: AWS JSON 1.0 and the query protocol.
