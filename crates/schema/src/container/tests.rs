//! Tests of container files, as apache-avro writes them and as we squeeze them ourselves.

use apache_avro::{Codec as Oracle, Writer};
use proptest::prelude::*;

use super::*;
use crate::testing::Dice;

type Found = (Vec<(u64, Result<Vec<u8>, String>)>, Result<(), ContainerError>);

fn read(target: &Schema, chunks: impl Iterator<Item = Vec<u8>>) -> Found {
    let mut found = Vec::new();
    let mut reader = ContainerReader::new(target);
    let mut each = |at, record: Result<&[u8], RecordError>| {
        found.push((at, record.map(<[u8]>::to_vec).map_err(|error| error.reason)));
    };
    let mut result = Ok(());
    for chunk in chunks {
        result = result.and_then(|()| reader.feed(&chunk, &mut each));
    }
    let result = result.and_then(|()| reader.finish());
    (found, result)
}

fn whole(target: &Schema, file: &[u8]) -> Found {
    read(target, std::iter::once(file.to_vec()))
}

fn long(value: i64, out: &mut Vec<u8>) {
    crate::binary::write_long(value, out);
}

/// A file of blocks whose bytes are given as they are.
fn file(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    long(2, &mut file);
    for (key, value) in [("avro.codec", codec), ("avro.schema", schema)] {
        crate::binary::write_bytes(key.as_bytes(), &mut file);
        crate::binary::write_bytes(value.as_bytes(), &mut file);
    }
    file.push(0);
    file.extend([9; 16]);
    for (count, bytes) in blocks {
        long(*count, &mut file);
        crate::binary::write_bytes(bytes, &mut file);
        file.extend([9; 16]);
    }
    file
}

#[test]
fn every_codec_is_read_and_bounded() {
    let schema = Schema::parse("\"string\"").unwrap();
    let records = [4, b'a', b'b', 2, b'c'].to_vec();
    let snappy = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        [snap::raw::Encoder::new().compress_vec(bytes).unwrap(), crc.sum().to_be_bytes().to_vec()].concat()
    };
    let deflate = |bytes: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstandard = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let bomb = vec![0; BLOCK_BYTES_MAX + 1];
    for (name, squeeze) in
        [("snappy", &snappy as &dyn Fn(&[u8]) -> Vec<u8>), ("deflate", &deflate), ("zstandard", &zstandard)]
    {
        let (found, result) = whole(&schema, &file("\"string\"", name, &[(2, squeeze(&records))]));
        assert_eq!((found.len(), result), (2, Ok(())), "{name}");
        let (found, result) = whole(&schema, &file("\"string\"", name, &[(2, squeeze(&bomb))]));
        assert_eq!(found, []);
        assert_eq!(
            result.unwrap_err().to_string(),
            "block 1 of the Avro container file can't be read: it decompresses to more than the 16777216 bytes that are allowed: write smaller blocks",
            "{name}"
        );
        let mut damaged = squeeze(&records);
        damaged.truncate(damaged.len() - 1);
        assert!(whole(&schema, &file("\"string\"", name, &[(2, damaged)])).1.is_err(), "{name}");
    }
}

#[test]
fn damage_is_named() {
    let schema = Schema::parse("\"string\"").unwrap();
    let good = file("\"string\"", "null", &[(2, vec![2, b'a', 2, b'b']), (1, vec![2, b'c'])]);
    let (found, result) = whole(&schema, &good);
    assert_eq!((found.len(), result), (3, Ok(())));
    let error = |file: &[u8]| whole(&schema, file).1.unwrap_err().to_string();
    assert_eq!(error(b"PAR1"), "this is no Avro container file: it does not begin with `Obj` and a 1");
    assert_eq!(error(b""), "the Avro container file ends early, behind 0 records and inside the header");
    assert_eq!(
        error(&good[..good.len() - 1]),
        "the Avro container file ends early, behind 2 records and inside block 2"
    );
    assert_eq!(
        error(&file("\"string\"", "xz", &[])),
        "the Avro container file is compressed with `xz`: use null, deflate, snappy or zstandard"
    );
    assert_eq!(error(&file("\"strin\"", "null", &[])), "the schema of the Avro container file can't be read");
    assert_eq!(
        error(&file("\"int\"", "null", &[])),
        "the Avro container file's schema does not fit: a int was written, and a string is wanted"
    );
    assert_eq!(
        error(&file("\"string\"", "null", &[(1, vec![2, b'c', 7])])),
        "block 1 of the Avro container file can't be read: 1 bytes are left behind its records"
    );
    assert_eq!(
        error(&file("\"string\"", "null", &[(i64::MAX, vec![2, b'c'])])),
        "block 1 of the Avro container file can't be read: it claims 9223372036854775807 records, and holds 2 at most"
    );
    assert_eq!(
        error(&file("\"string\"", "null", &[(-1, vec![])])),
        "block 1 of the Avro container file can't be read: its count or its size is negative"
    );
    let mut sync = good.clone();
    let last = sync.len() - 1;
    sync[last] = 0;
    assert_eq!(
        error(&sync),
        "block 2 of the Avro container file can't be read: the sync marker behind it is not the file's"
    );
    let mut huge = file("\"string\"", "null", &[]);
    long(1, &mut huge);
    long(1 << 40, &mut huge);
    assert_eq!(
        error(&huge),
        "block 1 of the Avro container file can't be read: it has 1099511627776 bytes, and 16777216 are allowed: write smaller blocks"
    );
}

#[test]
fn a_damaged_record_costs_its_block_and_no_other() {
    let schema = Schema::parse("\"boolean\"").unwrap();
    let (found, result) = whole(&schema, &file("\"boolean\"", "null", &[(4, vec![1, 7, 1, 1]), (1, vec![0])]));
    assert_eq!(result, Ok(()));
    let behind = || Err("the record stands behind record 2 in its block, which is damaged".to_owned());
    assert_eq!(
        found,
        [
            (1, Ok(vec![1])),
            (2, Err("a boolean is neither 0 nor 1".to_owned())),
            (3, behind()),
            (4, behind()),
            (5, Ok(vec![0]))
        ]
    );
}

#[test]
fn an_endless_header_is_not_kept() {
    let mut reader = ContainerReader::new(&Schema::parse("\"int\"").unwrap());
    let mut header = b"Obj\x01".to_vec();
    long(1, &mut header);
    long(1 << 40, &mut header);
    reader.feed(&header, |_, _| {}).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let result = (0..5).try_for_each(|_| reader.feed(&chunk, |_, _| {}));
    assert_eq!(
        result.unwrap_err().to_string(),
        "the header of the Avro container file can't be read: it is longer than 2097152 bytes"
    );
}

#[test]
fn another_schema_is_resolved_on_the_way() {
    let writer =
        r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}"#;
    let target = Schema::parse(r#"{"type": "record", "name": "R", "fields": [{"name": "b", "type": "long"}, {"name": "c", "type": "string", "default": "x"}]}"#).unwrap();
    let (found, result) = whole(&target, &file(writer, "null", &[(1, vec![2, 4])]));
    assert_eq!((found, result), (vec![(1, Ok(vec![4, 2, b'x']))], Ok(())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_what_apache_avro_writes_in_chunks_of_any_size(seed: u64, size in 1usize..300, deflate: bool) {
        let mut dice = Dice::new(seed);
        let ty = dice.record();
        let text = ty.schema().to_string();
        let oracle = apache_avro::Schema::parse_str(&text).unwrap();
        let codec = if deflate { Oracle::Deflate(Default::default()) } else { Oracle::Null };
        let mut writer = Writer::with_codec(&oracle, Vec::new(), codec);
        let mut expected = Vec::new();
        for number in 1..=dice.roll(20) {
            let (_, value) = dice.value(&ty);
            expected.push((number, Ok(apache_avro::to_avro_datum(&oracle, value.clone()).unwrap())));
            writer.append(value).unwrap();
            if dice.roll(4) == 0 {
                writer.flush().unwrap();
            }
        }
        let file = writer.into_inner().unwrap();
        let schema = Schema::parse(&text).unwrap();
        let (found, result) = read(&schema, file.chunks(size).map(<[u8]>::to_vec));
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn damaged_files_never_panic(seed: u64, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (schema, records) = crate::testing::case(seed, 5);
        let bytes: Vec<u8> = records.iter().flat_map(|(_, binary)| binary.clone()).collect();
        let mut file = file(schema.to_json(), "null", &[(5, bytes)]);
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = whole(&schema, &file);
    }
}
