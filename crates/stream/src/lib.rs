//! Streams: shards, records, retention, and producers that may retry.
