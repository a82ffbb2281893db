//! Prints what the hot paths cost, beside their floors: `cargo run --release -p weir-schema --example schema_bench`.
//!
//! Every figure is the median of [`RUNS`] runs over [`RECORDS`] records on one core. The floor of columns is a bare decode
//! of the same records by arrow-avro; JSON's are serde_json into its own value, and into a struct.

#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use std::hint::black_box;
use std::time::Duration;

use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, SchemaStore};
use weir_env::Env;
use weir_schema::{
    ColumnDecoder, ContainerReader, CsvOptions, CsvReader, Extractor, JsonEncoder, LineSplitter, Resolver, Schema,
    encode_batch, validate, wire,
};

const RECORDS: usize = 100_000;
const RUNS: usize = 5;
/// What a body arrives in.
const CHUNK: usize = 64 * 1024;
const BATCH: usize = 8192;

const SCHEMA: &str = r#"{"type": "record", "name": "Click", "namespace": "org.example", "fields": [
    {"name": "id", "type": "string"},
    {"name": "user", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page", "type": "string"},
    {"name": "referrer", "type": ["null", "string"], "default": null},
    {"name": "duration", "type": "double"},
    {"name": "status", "type": "int"},
    {"name": "mobile", "type": "boolean"}]}"#;

/// The same fields in another order, one more, one wider.
const READER: &str = r#"{"type": "record", "name": "Click", "namespace": "org.example", "fields": [
    {"name": "user", "type": "long"},
    {"name": "id", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page", "type": "string"},
    {"name": "referrer", "type": ["null", "string"], "default": null},
    {"name": "duration", "type": "double"},
    {"name": "status", "type": "long"},
    {"name": "mobile", "type": "boolean"},
    {"name": "country", "type": "string", "default": "CH"}]}"#;

#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "the fields are there to be parsed")]
struct Click<'a> {
    id: &'a str,
    user: i64,
    at: i64,
    page: &'a str,
    referrer: Option<&'a str>,
    duration: f64,
    status: i32,
    mobile: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let env = Env::system();
    let schema = Schema::parse(SCHEMA)?;
    let (ndjson, shuffled, texts, csv) = bodies();
    println!("{RECORDS} records of {} bytes as NDJSON; medians of {RUNS}", ndjson.len() / RECORDS);

    let mut encoder = JsonEncoder::new(&schema);
    let mut records = Vec::new();
    let mut ends = Vec::new();
    LineSplitter::new().feed(&ndjson, |_, line| {
        if let Ok(line) = line
            && encoder.encode(line, &mut records).is_ok()
        {
            ends.push(records.len());
        }
    });
    assert_eq!(ends.len(), RECORDS, "every record is good");
    let spans: Vec<&[u8]> =
        std::iter::once(0).chain(ends.iter().copied()).zip(&ends).map(|(start, end)| &records[start..*end]).collect();
    println!("as Avro binary: {} bytes each", records.len() / RECORDS);

    for (name, body) in [
        ("NDJSON, fields in order", &ndjson),
        ("NDJSON, fields shuffled", &shuffled),
        ("NDJSON, times as text", &texts),
    ] {
        let mut out = Vec::new();
        measure(&env, name, || {
            let mut count = 0;
            out.clear();
            let mut splitter = LineSplitter::new();
            for chunk in body.chunks(CHUNK) {
                splitter.feed(chunk, |_, line| {
                    count += usize::from(line.is_ok_and(|line| encoder.encode(line, &mut out).is_ok()));
                });
            }
            count
        });
    }
    measure(&env, "  floor: serde_json into its value", || {
        let lines = ndjson.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter(|line| black_box(serde_json::from_slice::<serde_json::Value>(line)).is_ok()).count()
    });
    measure(&env, "  floor: serde_json into a struct", || {
        let lines = ndjson.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter(|line| black_box(serde_json::from_slice::<Click<'_>>(line)).is_ok()).count()
    });
    measure(&env, "CSV", || {
        let mut count = 0;
        let mut reader = CsvReader::new(&schema, CsvOptions::default());
        for chunk in csv.chunks(CHUNK) {
            // A body of our own: its header fits.
            let _ = reader.feed(chunk, |_, record| count += usize::from(record.is_ok()));
        }
        count
    });

    let mut decoder = ColumnDecoder::new(&schema)?;
    for record in &spans {
        decoder.push(&schema, record)?;
    }
    let batch = decoder.flush()?;
    for (name, codec) in [("null", None), ("snappy", Some("snappy")), ("zstandard", Some("zstandard"))] {
        let file = container(&spans, codec)?;
        measure(&env, &format!("container file, {name}, same schema"), || {
            let mut count = 0;
            let mut reader = ContainerReader::new(&schema);
            for chunk in file.chunks(CHUNK) {
                let _ = reader.feed(chunk, |_, record| count += usize::from(black_box(record).is_ok()));
            }
            count
        });
    }
    let reader = Schema::parse(READER)?;
    let file = container(&spans, None)?;
    measure(&env, "container file, null, resolved", || {
        let mut count = 0;
        let mut container = ContainerReader::new(&reader);
        for chunk in file.chunks(CHUNK) {
            let _ = container.feed(chunk, |_, record| count += usize::from(black_box(record).is_ok()));
        }
        count
    });
    measure(&env, "validate", || spans.iter().filter(|record| validate(&schema, record).is_ok()).count());
    let resolver = Resolver::new(&schema, &reader).map_err(|reasons| format!("{reasons:?}"))?;
    let mut out = Vec::new();
    measure(&env, "resolve", || {
        out.clear();
        spans.iter().filter(|record| resolver.resolve(record, &mut out).is_ok()).count()
    });
    let extractor = Extractor::new(&schema, &["user"])?.with_event_time("at")?;
    let mut ranges = Vec::new();
    measure(&env, "key and event time", || {
        let each = |record: &&&[u8]| {
            extractor.ranges(record, &mut ranges).is_ok() && black_box(extractor.event_time(record)).is_some()
        };
        spans.iter().filter(each).count()
    });

    measure(&env, "columns", || {
        let mut rows = 0;
        for batch in spans.chunks(BATCH) {
            for record in batch {
                let _ = decoder.push(&schema, record);
            }
            rows += decoder.flush().map_or(0, |batch| batch.num_rows());
        }
        rows
    });
    let mut resolving = ColumnDecoder::new(&reader)?;
    measure(&env, "columns, from an older schema", || {
        let mut rows = 0;
        for batch in spans.chunks(BATCH) {
            for record in batch {
                let _ = resolving.push(&schema, record);
            }
            rows += resolving.flush().map_or(0, |batch| batch.num_rows());
        }
        rows
    });
    let mut framed = Vec::new();
    let mut frames = Vec::new();
    for record in &spans {
        let start = framed.len();
        wire::write_single_object(schema.fingerprint(), record, &mut framed);
        frames.push(start..framed.len());
    }
    let mut store = SchemaStore::new();
    store.register(AvroSchema::new(SCHEMA.to_owned()))?;
    let mut bare = ReaderBuilder::new().with_writer_schema_store(store).with_batch_size(BATCH).build_decoder()?;
    measure(&env, "  floor: arrow-avro, one call per batch", || {
        let mut rows = 0;
        for batch in frames.chunks(BATCH) {
            let _ = bare.decode(&framed[batch[0].start..batch[batch.len() - 1].end]);
            rows += bare.flush().ok().flatten().map_or(0, |batch| batch.num_rows());
        }
        rows
    });
    measure(&env, "  floor: arrow-avro, one call per record", || {
        let mut rows = 0;
        for batch in frames.chunks(BATCH) {
            for frame in batch {
                let _ = bare.decode(&framed[frame.clone()]);
            }
            rows += bare.flush().ok().flatten().map_or(0, |batch| batch.num_rows());
        }
        rows
    });
    measure(&env, "batch to records", || encode_batch(&schema, &batch).map_or(0, |records| records.len()));
    Ok(())
}

fn measure(env: &Env, name: &str, mut run: impl FnMut() -> usize) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..RUNS {
        let start = env.elapsed();
        assert_eq!(run(), RECORDS, "{name}: every record is good");
        times.push(env.elapsed().saturating_sub(start));
    }
    times.sort();
    let each = times[RUNS / 2].as_nanos() as f64 / RECORDS as f64;
    println!("{name:<44} {each:>8.0} ns/record {:>7.2} million/s", 1000.0 / each);
}

/// The records as NDJSON in the schema's order, in another, with the time as text, and as CSV.
fn bodies() -> (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>) {
    let (mut ordered, mut shuffled, mut texts) = (String::new(), String::new(), String::new());
    let mut csv = "id,user,at,page,referrer,duration,status,mobile\n".to_owned();
    for index in 0..RECORDS as u64 {
        let id = format!("{:016x}", index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let user = 1_000_000 + index % 50_000;
        let at = 1_357_020_000_000 + index * 1_234;
        let seconds = index * 7 % 86_400;
        let text = format!(
            "2013-01-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            1 + index % 28,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            index % 1000
        );
        let page = format!("/catalogue/item/{}/reviews?page={}", index % 9973, index % 7);
        let referrer =
            if index % 3 == 0 { "null".to_owned() } else { format!("\"https://example.org/{}\"", index % 100) };
        let duration = (index % 100_000) as f64 / 97.0;
        let duration = format!("{duration:.3}");
        let (status, mobile) = (200 + index % 5, index % 2 == 0);
        ordered += &format!(
            "{{\"id\":\"{id}\",\"user\":{user},\"at\":{at},\"page\":\"{page}\",\"referrer\":{referrer},\"duration\":{duration},\"status\":{status},\"mobile\":{mobile}}}\n"
        );
        shuffled += &format!(
            "{{\"page\":\"{page}\",\"at\":{at},\"duration\":{duration},\"id\":\"{id}\",\"mobile\":{mobile},\"referrer\":{referrer},\"status\":{status},\"user\":{user}}}\n"
        );
        texts += &format!(
            "{{\"id\":\"{id}\",\"user\":{user},\"at\":\"{text}\",\"page\":\"{page}\",\"referrer\":{referrer},\"duration\":{duration},\"status\":{status},\"mobile\":{mobile}}}\n"
        );
        let referrer = if index % 3 == 0 { String::new() } else { format!("https://example.org/{}", index % 100) };
        csv += &format!("{id},{user},{at},{page},{referrer},{duration},{status},{mobile}\n");
    }
    (ordered.into_bytes(), shuffled.into_bytes(), texts.into_bytes(), csv.into_bytes())
}

/// A container file of the records in blocks of about 64 KiB.
fn container(records: &[&[u8]], codec: Option<&str>) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut file = b"Obj\x01".to_vec();
    let codec = codec.unwrap_or("null");
    long(2, &mut file);
    for (key, value) in [("avro.schema", SCHEMA), ("avro.codec", codec)] {
        long(key.len() as i64, &mut file);
        file.extend(key.as_bytes());
        long(value.len() as i64, &mut file);
        file.extend(value.as_bytes());
    }
    file.push(0);
    let sync = [7; 16];
    file.extend(sync);
    for block in records.chunks(512) {
        let bytes = block.concat();
        let bytes = match codec {
            "snappy" => {
                let mut crc = flate2::Crc::new();
                crc.update(&bytes);
                let mut compressed = snap::raw::Encoder::new().compress_vec(&bytes)?;
                compressed.extend(crc.sum().to_be_bytes());
                compressed
            }
            "zstandard" => zstd::encode_all(&bytes[..], 3)?,
            _ => bytes,
        };
        long(block.len() as i64, &mut file);
        long(bytes.len() as i64, &mut file);
        file.extend(bytes);
        file.extend(sync);
    }
    Ok(file)
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
