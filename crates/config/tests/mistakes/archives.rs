//! Mistakes in what a stream says of its archive.

use weir_config::Inputs;

use super::folder::Folder;
use super::{check, edited, refused, table};

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

#[test]
fn two_archives_in_one_place_are_refused() {
    let one = (KEPT, "archive = \"400d\"\n  archive_location = \"s3://bucket/archive/\"");
    let other = "stream \"others\" {\n  schema = \"flight.avsc\"\n  archive = \"1d\"\n  \
                 archive_location = \"s3://bucket/archive\"\n}\n\nlookup \"airlines\" {";
    let folder = Folder::good();
    folder.write("weir.hcl", edited(&[one, ("lookup \"airlines\" {", other)]));
    let said = refused(&folder, &Inputs::default());
    assert!(said.contains("the archives of streams \"flights\" and \"others\" have one place"), "{said}");
}
