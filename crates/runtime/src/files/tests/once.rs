//! Each file once: over restarts, crashes, changes, and whatever the store shows.

use weir_config::{FilesFormat, FilesStart};

use super::super::machine::Command;
use super::super::records::Tries;
use super::super::sweep::Way;
use super::world::{EVERY, Running, SETTLE, World, lines, records};

const NDJSON: Option<FilesFormat> = Some(FilesFormat::Ndjson);

#[tokio::test]
async fn each_file_is_taken_once_over_restarts_in_the_order_of_time_and_path() {
    let world = World::new();
    world.put("b.json", lines(0..2)).await;
    let mut running = world.begin(NDJSON).await;
    running.take_all(&world).await;
    for (number, path) in ["z.json", "a.json", "m/x.json"].iter().enumerate() {
        let first = 10 * (number as i64 + 1);
        world.put(path, lines(first..first + 2)).await;
        running.end().await;
        running = world.begin(NDJSON).await;
        running.take_all(&world).await;
    }
    assert_eq!(running.rows().await, records([0, 1, 10, 11, 20, 21, 30, 31]));
    let block = running.block();
    assert_eq!((block.taken, block.failed, block.marks.len()), (4, 0, 4));
    assert_eq!(running.drain().await, EVERY, "idle, one timer waits");
}

#[tokio::test]
async fn a_growing_file_is_not_taken_before_it_has_settled() {
    let world = World::new();
    let mut running = world.begin(NDJSON).await;
    for size in 1..5 {
        world.put("grows.json", lines(0..size)).await;
        let wait = running.drain().await;
        assert_eq!(wait, SETTLE, "it is looked at again as soon as it may have settled");
        assert_eq!(running.sweep.seen.lock().unwrap().waiting, 1);
        world.clock.advance(SETTLE);
    }
    assert_eq!(running.rows().await, records([]));
    running.drain().await;
    assert_eq!(running.rows().await, records(0..4));
}

#[tokio::test]
async fn a_file_that_the_store_says_is_old_is_taken_at_the_first_look() {
    let world = World::new();
    world.put("old.json", lines(0..1)).await;
    // The store in memory stamps with the machine's time: be long after it.
    let far = weir_types::Timestamp(1 << 43);
    world.clock.jump(far);
    let mut running = world.begin(NDJSON).await;
    running.drain().await;
    assert_eq!(running.rows().await, records(0..1));
}

#[tokio::test]
async fn another_content_under_the_same_path_is_taken_and_a_hidden_file_is_not() {
    let world = World::new();
    world.put("a.json", lines(0..1)).await;
    world.put(".a.json.part", lines(7..8)).await;
    world.put(".tmp/a.json", lines(8..9)).await;
    let mut running = world.begin(NDJSON).await;
    running.take_all(&world).await;
    world.put("a.json", lines(1..2)).await;
    running.take_all(&world).await;
    assert_eq!(running.rows().await, records(0..2));
    assert_eq!(running.sweep.seen.lock().unwrap().seen, 1);
}

#[tokio::test]
async fn a_block_that_starts_new_takes_only_what_comes_later_also_after_a_restart() {
    let world = World { start: FilesStart::New, ..World::new() };
    world.put("old.json", lines(0..1)).await;
    let mut running = world.begin(NDJSON).await;
    running.take_all(&world).await;
    running.end().await;
    world.put("new.json", lines(1..2)).await;
    let mut running = world.begin(NDJSON).await;
    running.take_all(&world).await;
    assert_eq!(running.rows().await, records(1..2));
    assert_eq!(running.block().taken, 1);
}

/// Opens a claim, and hands it on without closing it.
async fn claim_and_die(mut running: Running, world: &World, hand_on: bool) {
    running.drain().await;
    world.clock.advance(SETTLE);
    running.sweep.look().await.unwrap();
    let objects = running.sweep.ready.drain(..).collect();
    let command = Command::Claim { files: running.sweep.files.clone(), objects };
    let claim = running.sweep.owner.submit(command).await.unwrap().unwrap();
    if hand_on {
        match &running.sweep.way {
            Way::Reference(reference) => reference.hand_on(&running.sweep.place, &claim).await.unwrap(),
            Way::Records(records) => {
                records.hand_on(&running.sweep.place, &claim, Tries::default()).await.map(drop).unwrap();
            }
        }
    }
    running.end().await;
}

#[tokio::test]
async fn a_death_between_claim_and_done_stores_nothing_twice() {
    for hand_on in [false, true] {
        for shards in [1, 4] {
            let world = World { shards, ..World::new() };
            world.put("a.json", lines(0..100)).await;
            world.put("b.json", lines(100..150) + "no\n").await;
            claim_and_die(world.begin(NDJSON).await, &world, hand_on).await;
            let mut running = world.begin(NDJSON).await;
            running.take_all(&world).await;
            let mut rows = running.rows().await;
            let mut expected = records(0..150);
            rows.sort_unstable();
            expected.sort_unstable();
            assert_eq!(rows, expected, "handed on: {hand_on}, shards: {shards}");
            let mut letters = running.letters().await;
            letters.dedup();
            assert_eq!(letters.len(), 1, "{letters:?}");
            assert_eq!(running.block().taken, 2);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_longer_than_a_chunk_is_stored_once_over_a_death_in_the_middle() {
    let world = World::new();
    // Some chunks of a megabyte.
    let long = "x".repeat(1000);
    let text: String = (0..4000).map(|id| format!("{{\"id\":{id},\"word\":\"{long}\"}}\n")).collect();
    world.put("long.json", text.clone()).await;
    let mut running = world.begin(NDJSON).await;
    running.drain().await;
    world.clock.advance(SETTLE);
    running.sweep.look().await.unwrap();
    assert!(running.sweep.round().await.unwrap().is_none(), "it is claimed");
    // The same batch, cut off after its first chunk.
    let producer = super::super::records::producer_id(&running.sweep.files);
    let mut writer = running.stream.stream.write(Some((producer, 1))).await.unwrap();
    let mut encoder = weir_schema::JsonEncoder::new(&running.stream.schema);
    let extractor = running.stream.key_of(&running.stream.schema).unwrap();
    for line in text.lines() {
        let (mut record, mut ranges) = (Vec::new(), Vec::new());
        encoder.encode(line.as_bytes(), &mut record).unwrap();
        extractor.ranges(&record, &mut ranges).unwrap();
        let key = weir_stream::Route::Key(&record[ranges[0].clone()]);
        if writer.push(key, running.stream.schema.fingerprint(), &record) {
            break;
        }
    }
    writer.flush().await.unwrap();
    writer.abandon().await.unwrap();
    let first = running.rows().await.len();
    assert!(first > 500 && first < 2000, "{first}");
    running.end().await;
    let mut running = world.begin(NDJSON).await;
    running.drain().await;
    assert_eq!(running.rows().await.len(), 4000);
    assert!(running.letters().await.is_empty());
}

#[tokio::test]
async fn functions_are_told_of_each_file_once_as_s3_does() {
    let world = World::new();
    world.put("2026/a b.csv", "x").await;
    claim_and_die(world.begin(None).await, &world, true).await;
    let mut running = world.begin(None).await;
    world.put("c.csv", "yz").await;
    running.take_all(&world).await;
    let events = running.events().await;
    assert_eq!(events.len(), 2, "{events:?}");
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let record = &event["Records"][0];
            assert_eq!(record["eventName"], "ObjectCreated:Put");
            let object = &record["s3"]["object"];
            (
                record["s3"]["bucket"]["name"].as_str().unwrap(),
                object["key"].as_str().unwrap(),
                object["size"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("bucket", "in/2026/a+b.csv", 1), ("bucket", "in/c.csv", 2)]);
    assert_eq!(running.block().taken, 2);
    running.end().await;
}

#[tokio::test]
async fn twenty_thousand_small_files_are_each_there_once_and_share_claims() {
    const FILES: i64 = 20_000;
    let world = World::new();
    for id in 0..FILES {
        world.put(&format!("{id}.json"), lines(id..id + 1)).await;
    }
    let mut running = world.begin(NDJSON).await;
    let began = weir_env::Env::system();
    running.take_all(&world).await;
    println!("{FILES} files in {:?}", began.elapsed());
    let mut rows = running.rows().await;
    let mut expected = records(0..FILES);
    rows.sort_unstable();
    expected.sort_unstable();
    assert!(rows == expected, "{} rows", rows.len());
    let block = running.block();
    assert_eq!(
        (block.last, block.taken, block.marks.len()),
        (79, FILES as u64, FILES as usize),
        "claims, files, marks"
    );
    running.end().await;
    // What is known needs no claim.
    let mut running = world.begin(NDJSON).await;
    running.take_all(&world).await;
    assert_eq!(running.block().last, 79);
}
