//! Avro schemas: fingerprints, compatibility, the registry, and records in and out of every wire form.
