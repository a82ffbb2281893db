//! Forgetting old hours.

use std::time::Duration;

use weir_types::ShardId;

use super::world::*;
use crate::{Depth, Selection, Spec};

#[tokio::test]
async fn whole_hours_go_by_age_and_the_archive_keeps_its_place() {
    for seed in 0..20 {
        let world = World::new(2, seed, 150).await;
        let spec = Spec { retention: HOUR * 5, chunk_bytes: 1000, ..world.spec() };
        let archive = world.open(spec.clone()).await.unwrap();
        for hour in 0..8u64 {
            world.send(0, hour * 100..hour * 100 + 50).await;
            world.clock.advance(HOUR);
        }
        world.clock.advance(MINUTE);
        world.write_all(&archive).await;
        assert_eq!(archive.stats().held.records.count, 400);
        // The clock is at 18:01: what ended before 13:01 goes, however often the store fails in between.
        world.store.set(true);
        let mut tries = 0;
        while archive.retain().await.is_err() {
            tries += 1;
            assert!(tries < 1000, "seed {seed}");
        }
        world.store.set(false);
        archive.retain().await.unwrap();
        let names = world.names().await;
        assert!(!names.iter().any(|name| name.contains("T10/") || name.contains("T12/")), "seed {seed}: {names:?}");
        assert!(names.iter().any(|name| name.contains("T13/shard=0/")), "seed {seed}: {names:?}");
        let archive = world.open(spec.clone()).await.unwrap();
        assert_eq!(archive.stats().held.records.count, 250, "seed {seed}");
        let kept = archived(&archive, Selection::default(), 1000).await;
        assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), 250, "seed {seed}");
        let verdict = archive.verify(ALL.0, ALL.1, Depth::Records).await.unwrap();
        assert!(verdict.is_well(), "seed {seed}: {:?}", verdict.findings);
        assert_eq!(verdict.read.unwrap().count, 250);
        assert_eq!(archive.manifests(ALL.0, ALL.1).await.unwrap().len(), 5);

        // A year without a record: all records are gone, and the next one is not the first.
        let next = archive.written_to(ShardId(1));
        world.clock.advance(Duration::from_secs(365 * 86_400));
        archive.retain().await.unwrap();
        assert_eq!(world.names().await.iter().filter(|name| name.ends_with(".avro")).count(), 0, "seed {seed}");
        let archive = world.open(spec).await.unwrap();
        assert_eq!(archive.written_to(ShardId(1)), next);
        assert_eq!(archive.stats().held.records.count, 0);
        world.send(0, 1000..1010).await;
        world.clock.advance(HOUR + MINUTE);
        world.write_all(&archive).await;
        assert_eq!(archive.stats().held.records.count, 10);
        assert_eq!(archive.stats().held.missing, 0);
        let verdict = archive.verify(ALL.0, ALL.1, Depth::Records).await.unwrap();
        assert!(verdict.is_well(), "seed {seed}: {:?}", verdict.findings);
    }
}

#[tokio::test]
async fn an_hour_that_is_not_closed_is_not_deleted_however_old_it_is() {
    let world = World::new(2, 1, 0).await;
    let archive = world.open(Spec { retention: HOUR, ..world.spec() }).await.unwrap();
    world.send(0, 0..100).await;
    archive.advance(&world.stream.shards()[0], &world.schemas).await.unwrap();
    world.clock.advance(HOUR * 100);
    archive.close_hours(world.stream.shards()).await.unwrap();
    archive.retain().await.unwrap();
    assert_eq!(archive.closed(), None);
    assert_eq!(world.names().await.iter().filter(|name| name.ends_with(".avro")).count(), 1);
}
