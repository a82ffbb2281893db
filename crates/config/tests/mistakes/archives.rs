//! Mistakes in what a stream says of its archive.

use super::{check, table};

const KEPT: &str = "retention = \"7d\"";

#[test]
fn archives() {
    check(
        "archives",
        &table(&[
            ("no length of time", &[(KEPT, "archive = true")]),
            ("too short", &[(KEPT, "archive = \"5m\"")]),
            ("more of an archive that there is not", &[(KEPT, "archive_location = \"s3://bucket/archive\"")]),
            ("a location that is no URL", &[(KEPT, "archive = \"400d\"\n  archive_location = \"archive\"")]),
            ("too seldom", &[(KEPT, "archive = \"400d\"\n  archive_every = \"1d\"")]),
            ("a codec of another name", &[(KEPT, "archive = \"400d\"\n  archive_codec = \"zstandard\"")]),
        ]),
    );
}
