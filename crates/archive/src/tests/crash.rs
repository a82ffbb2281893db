//! Crashes, errors and lost replies between any two calls of the store.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use weir_schema::{ContainerHeader, ContainerReader};

use super::world::*;
use crate::{Archive, Depth, Selection};

/// Reads every `*.avro` as a tool does that knows nothing of weir, and counts how often each number is there.
async fn numbers_by_glob(world: &World) -> BTreeMap<i64, u64> {
    let mut counts = BTreeMap::new();
    for name in world.names().await.iter().filter(|name| name.ends_with(".avro")) {
        let file = world.bytes_of(name).await;
        let header = ContainerHeader::read(&file).unwrap().unwrap();
        let schema = apache_avro::Schema::parse_str(header.schema.to_json()).unwrap();
        let mut reader = ContainerReader::new(&header.schema);
        let mut each = |_, record: Result<&[u8], weir_schema::RecordError>| {
            let value = apache_avro::from_avro_datum(&schema, &mut record.unwrap(), None).unwrap();
            let number = match value {
                Value::Record(fields) => match fields[1].1 {
                    Value::Long(number) => number,
                    ref other => panic!("{other:?}"),
                },
                // Of a schema that nobody knows.
                Value::Bytes(body) => i64::from_be_bytes(body.try_into().unwrap()),
                other => panic!("{other:?}"),
            };
            *counts.entry(number).or_default() += 1;
        };
        reader.feed(&file, &mut each).unwrap();
        reader.finish().unwrap();
    }
    counts
}

/// Opens the archive, however often the store refuses.
async fn reopened(world: &World, seed: u64) -> Archive {
    let spec = crate::Spec { chunk_bytes: 2000, ..world.spec() };
    for _ in 0..1000 {
        if let Ok(archive) = world.open(spec.clone()).await {
            return archive;
        }
    }
    panic!("seed {seed}: the archive never opened");
}

async fn run(seed: u64) -> u64 {
    let shards = 1 + (seed % 3) as u32;
    let world = World::new(shards, seed, 60).await;
    let mut archive = reopened(&world, seed).await;
    world.store.set(true);
    let mut number = 0;
    for _ in 0..60 {
        let count = world.random.next() % 60;
        match world.random.next() % 12 {
            0..3 => {
                world.send((world.random.next() % 3) as usize, number..number + count).await;
                number += count;
            }
            3 => {
                let shard = (world.random.next() % u64::from(shards)) as u32;
                let mix: &[usize] = if world.random.next().is_multiple_of(4) { &[0, 3, 1] } else { &[0, 1, 2] };
                world.send_lot(shard, mix, number..number + count + 1).await;
                number += count + 1;
            }
            4..9 => {
                let shard = &world.stream.shards()[(world.random.next() % u64::from(shards)) as usize];
                if archive.due(shard).await.unwrap().is_some() || world.random.next().is_multiple_of(3) {
                    let _ = archive.advance(shard, &world.schemas).await;
                }
            }
            9 => {
                let _ = archive.close_hours(world.stream.shards()).await;
            }
            10 => match world.random.next() % 6 {
                0 => world.clock.jump(START.after(MINUTE * (world.random.next() % 100) as u32)),
                _ => world.clock.advance(MINUTE * (world.random.next() % 40) as u32),
            },
            _ => archive = reopened(&world, seed).await,
        }
    }
    world.store.set(false);
    // A crash at the end, and what is left is done.
    let archive = reopened(&world, seed).await;
    world.write_all(&archive).await;
    let sent = world.sent().await;
    let bytes_max = 1 + (world.random.next() % 3000) as usize;
    assert_eq!(archived(&archive, Selection::default(), bytes_max).await, sent, "seed {seed}");
    let verdict = archive.verify(ALL.0, ALL.1, Depth::Records).await.unwrap();
    assert!(verdict.is_well(), "seed {seed}: {:#?}", verdict.findings);
    assert_eq!(verdict.read, Some(verdict.totals.records), "seed {seed}");
    assert_eq!(archive.stats().held, verdict.totals, "seed {seed}");
    let counts = numbers_by_glob(&world).await;
    assert_eq!(counts.len() as u64, number, "seed {seed}");
    assert!(counts.values().all(|count| *count == 1), "seed {seed}: a record is twice in *.avro");
    world.store.failed.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn each_record_is_archived_once_and_in_order_over_crashes_errors_and_lost_replies() {
    let mut failed = 0;
    for seed in 0..200 {
        failed += run(seed).await;
    }
    // The faults were there.
    assert!(failed > 2000, "{failed}");
}

#[tokio::test]
async fn a_writer_that_is_dropped_anywhere_leaves_what_the_next_one_takes_up() {
    for polls in 0..40 {
        let world = World::new(1, polls, 0).await;
        let archive = world.open(world.spec()).await.unwrap();
        world.send_lot(0, &[0, 1, 2, 3], 0..100).await;
        let mut writing = Box::pin(archive.advance(&world.stream.shards()[0], &world.schemas));
        for _ in 0..polls {
            if futures::poll!(&mut writing).is_ready() {
                break;
            }
        }
        drop(writing);
        // More has come by the time that it is tried again.
        world.send_lot(0, &[2, 1], 100..150).await;
        let archive = world.open(world.spec()).await.unwrap();
        world.write_all(&archive).await;
        assert_eq!(archived(&archive, Selection::default(), 500).await, world.sent().await, "{polls} polls");
        assert_eq!(numbers_by_glob(&world).await.len(), 150, "{polls} polls");
    }
}
