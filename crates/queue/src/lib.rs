//! Queues: messages that are leased, retried, dead-lettered and redriven, over a log.
