//! Functions over batches of records: SQL.
