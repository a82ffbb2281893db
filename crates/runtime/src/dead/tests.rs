//! Letters by hand: what the records of weir's own streams say.

use weir_env::{Env, ManualClock};
use weir_types::{Fingerprint, SequenceNumber, Timestamp};

use super::*;

#[test]
fn a_letter_fits_its_schema() {
    let env = Env::seeded(ManualClock::at(Timestamp(5)), 1);
    let letter = Letter::of_record(
        &env,
        "stream/_redrive-table-t/0".to_owned(),
        (SequenceNumber(3), Timestamp(4)),
        "table/t".to_owned(),
        Cause::Malformed,
        "it is no record".to_owned(),
        vec![0, 255],
    );
    for letter in [letter.clone(), letter.redriven(Some(b"17 stream/a/0@1>table/t"))] {
        let letter = Letter { fingerprint: Some(Fingerprint(7)), ..letter };
        let record = encode(&letter);
        assert_eq!(weir_schema::validate(&schema(), &record).unwrap(), record.len());
    }
}
