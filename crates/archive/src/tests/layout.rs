//! What lies where, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_types::{Fingerprint, SequenceNumber, ShardId};

use super::world::*;
use crate::{Archive, CloseError, Depth, Due, Selection, Spec, WriteError};

#[tokio::test]
async fn an_hour_has_a_file_a_manifest_for_each_shard_and_one_of_its_own() {
    let world = World::new(2, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    world.send(0, 0..100).await;
    world.clock.advance(HOUR);
    world.send(0, 100..150).await;
    world.clock.advance(HOUR + MINUTE);
    world.write_all(&archive).await;
    let firsts: Vec<u64> = world
        .sent()
        .await
        .iter()
        .map(|shard| shard.iter().filter(|sent| sent.arrived_at == START).count() as u64)
        .collect();
    let mut expected = vec!["archive.json".to_owned()];
    for (hour, firsts) in [("2026-11-26T10", [0, 0]), ("2026-11-26T11", [firsts[0], firsts[1]])] {
        expected.push(format!("hour={hour}/manifest.json"));
        for (shard, first) in firsts.iter().enumerate() {
            expected.push(format!("hour={hour}/shard={shard}/{first:020}.avro"));
            expected.push(format!("hour={hour}/shard={shard}/{first:020}.json"));
        }
    }
    expected.sort_unstable();
    assert_eq!(world.names().await, expected);
    assert_eq!(archive.closed(), Some(hour("2026-11-26T11")));
    let summaries = archive.manifests(ALL.0, ALL.1).await.unwrap();
    assert_eq!(
        summaries.iter().map(|hour| (hour.closed, hour.totals.records.count)).collect::<Vec<_>>(),
        [(true, 100), (true, 50)]
    );
    let next: Vec<Option<SequenceNumber>> =
        world.stream.shards().iter().map(|shard| Some(shard.bounds().tail)).collect();
    assert_eq!(archive.stats().written_to, next);
}

#[tokio::test]
async fn schemas_that_take_turns_make_one_file_each_and_not_one_for_each_record() {
    let world = World::new(1, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    world.send_lot(0, &[0, 1, 2, 3], 0..4000).await;
    world.write_all(&archive).await;
    let files = world.names().await.iter().filter(|name| name.ends_with(".avro")).count();
    assert_eq!(files, 4);
    assert_eq!(archived(&archive, Selection::default(), 10_000).await, world.sent().await);
    let chunk = &archive.chunks(hour("2026-11-26T10"), ShardId(0)).await.unwrap()[0];
    assert_eq!(chunk.parts[3].fingerprint, Fingerprint(0xdead));
    assert!(chunk.parts[3].opaque && !chunk.parts[0].opaque);
    assert!(chunk.parts.iter().all(|part| part.records.count == 1000));
}

#[tokio::test]
async fn a_chunk_ends_before_its_65th_schema() {
    let world = World::new(1, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    for print in 0..100u64 {
        let mut lot = weir_stream::Lot::default();
        lot.push(Fingerprint(print + 1), b"", b"body");
        world.stream.append(ShardId(0), &lot.seal()).await.unwrap();
    }
    let shard = &world.stream.shards()[0];
    let ends = [
        archive.advance(shard, &world.schemas).await.unwrap().unwrap().end,
        archive.advance(shard, &world.schemas).await.unwrap().unwrap().end,
    ];
    assert_eq!(ends, [SequenceNumber(64), SequenceNumber(100)]);
}

#[tokio::test]
async fn hours_without_records_leave_nothing_and_the_chain_goes_over_them() {
    let world = World::new(1, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    for number in [0, 1] {
        world.send(0, number..number + 1).await;
        world.clock.advance(HOUR * 30);
        world.write_all(&archive).await;
        world.write_all(&archive).await;
    }
    let manifest = archive.hour_manifest(hour("2026-11-27T16")).await.unwrap().unwrap();
    assert_eq!(manifest.previous.unwrap().hour, hour("2026-11-26T10"));
    assert_eq!(manifest.all.records.count, 2);
    assert_eq!(world.names().await.len(), 1 + 2 * 3);
    assert!(archive.verify(ALL.0, ALL.1, Depth::Records).await.unwrap().is_well());
}

#[tokio::test]
async fn a_thousand_shards_with_little_data_make_a_file_each_and_one_manifest_of_the_hour() {
    let world = World::new(1000, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    for hour in 0..2u64 {
        world.send(0, hour * 3000..(hour + 1) * 3000).await;
        world.clock.advance(HOUR);
    }
    world.clock.advance(MINUTE);
    world.write_all(&archive).await;
    let archive = world.open(world.spec()).await.unwrap();
    assert_eq!(archived(&archive, Selection::default(), 1 << 20).await, world.sent().await);
    let names = world.names().await;
    let files = names.iter().filter(|name| name.ends_with(".avro")).count();
    assert_eq!(names.len(), 1 + 2 * files + 2);
    assert!(files > 1500, "{files}");
    assert!(archive.verify(ALL.0, ALL.1, Depth::Names).await.unwrap().is_well());
}

#[tokio::test]
async fn a_chunk_is_due_when_it_is_full_when_its_hour_is_over_and_when_it_is_old() {
    let world = World::new(1, 1, 0).await;
    let spec = Spec { chunk_bytes: 20_000, every: Some(MINUTE * 50), ..world.spec() };
    let archive = world.open(spec).await.unwrap();
    let shard = &world.stream.shards()[0];
    assert_eq!(archive.due(shard).await.unwrap(), None);
    world.clock.advance(MINUTE * 15);
    world.send(0, 0..10).await;
    assert_eq!(archive.due(shard).await.unwrap(), None);
    // The end of the hour comes before the 50 minutes.
    world.clock.advance(MINUTE * 45);
    assert_eq!(archive.due(shard).await.unwrap(), None, "what was stamped in the last moment may be on its way");
    world.clock.advance(MINUTE);
    assert_eq!(archive.due(shard).await.unwrap(), Some(Due::HourOver));
    archive.advance(shard, &world.schemas).await.unwrap();
    assert_eq!(archive.due(shard).await.unwrap(), None);
    world.send(0, 0..1000).await;
    assert_eq!(archive.due(shard).await.unwrap(), Some(Due::Full));
    while archive.advance(shard, &world.schemas).await.unwrap().is_some() {}
    world.send(0, 0..10).await;
    world.clock.advance(MINUTE * 49);
    assert_eq!(archive.due(shard).await.unwrap(), None);
    world.clock.advance(MINUTE);
    assert_eq!(archive.due(shard).await.unwrap(), Some(Due::Interval));
}

#[tokio::test]
async fn a_log_that_keeps_little_is_archived_before_it_has_to_forget() {
    let spec = Spec::new("flights".parse().unwrap(), 4, Duration::from_secs(1));
    let spec = spec.within_log(MINUTE * 10, Some(weir_types::ByteSize(16_000_000)));
    assert_eq!((spec.every, spec.chunk_bytes), (Some(MINUTE * 5), 1_000_000));
}

#[tokio::test]
async fn a_clock_that_goes_back_changes_the_folder_and_not_the_arrival() {
    let world = World::new(2, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    world.send_lot(0, &[0], 0..10).await;
    world.clock.advance(HOUR + MINUTE);
    world.write_all(&archive).await;
    assert_eq!(archive.closed(), Some(hour("2026-11-26T10")));
    // The other shard has had nothing yet: its log takes the earlier time.
    world.clock.jump(START.after(MINUTE));
    world.send_lot(1, &[0], 10..20).await;
    let archive = world.open(world.spec()).await.unwrap();
    world.write_all(&archive).await;
    let last = world.named("shard=1/00000000000000000000.json").await;
    assert!(last.starts_with("hour=2026-11-26T11/"), "{last}");
    let sent = world.sent().await;
    assert_eq!(sent[1][0].arrived_at, START.after(MINUTE));
    assert_eq!(archived(&archive, Selection::default(), 1000).await, sent);
    // Found by its arrival, although it lies in a later hour.
    let selection = Selection { until: Some(START.after(MINUTE * 2)), ..Selection::default() };
    assert_eq!(archived(&archive, selection, 1000).await, sent);
    assert!(archive.verify(ALL.0, ALL.1, Depth::Records).await.unwrap().is_well());
}

#[tokio::test]
async fn what_the_log_has_lost_is_named_in_the_chunk_behind_it() {
    let world = World::new(1, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    let shard = &world.stream.shards()[0];
    world.send_lot(0, &[0], 0..10).await;
    world.write_all(&archive).await;
    world.send_lot(0, &[0], 10..20).await;
    world.send_lot(0, &[0], 20..30).await;
    shard.log().trim(SequenceNumber(20)).await.unwrap();
    world.write_all(&archive).await;
    let chunk = &archive.chunks(hour("2026-11-26T10"), ShardId(0)).await.unwrap()[1];
    assert_eq!((chunk.first, chunk.end), (SequenceNumber(10), SequenceNumber(30)));
    assert_eq!(chunk.missing, [(SequenceNumber(10), SequenceNumber(20))]);
    assert_eq!(archive.stats().held.missing, 10);
    let mut reader = archive.read(Selection::default(), crate::OnDamage::Stop).await.unwrap();
    let mut missing = Vec::new();
    while let Some(page) = reader.next(1000).await.unwrap() {
        missing.extend_from_slice(page.missing());
    }
    assert_eq!(missing, chunk.missing);
    assert!(archive.verify(ALL.0, ALL.1, Depth::Records).await.unwrap().is_well());
}

#[tokio::test]
async fn an_archive_that_begins_late_begins_where_the_log_does() {
    let world = World::new(1, 1, 0).await;
    world.send_lot(0, &[0], 0..10).await;
    world.send_lot(0, &[0], 10..20).await;
    world.stream.shards()[0].log().trim(SequenceNumber(10)).await.unwrap();
    let archive = world.open(world.spec()).await.unwrap();
    assert_eq!(archive.written_to(ShardId(0)), None);
    world.write_all(&archive).await;
    assert_eq!(archive.stats().held.missing, 0);
    assert_eq!(archived(&archive, Selection::default(), 100).await, world.sent().await);
}

#[tokio::test]
async fn another_data_folder_finds_that_the_archive_is_not_its_own() {
    let world = World::new(1, 1, 0).await;
    let other = World::new(1, 2, 0).await;
    let open = |env: weir_env::Env| Archive::open(world.spec(), world.store.clone(), root(), env, &NONE);
    let (ours, theirs) = (open(world.env.clone()).await.unwrap(), open(other.env.clone()).await.unwrap());
    world.send_lot(0, &[0], 0..10).await;
    other.send_lot(0, &[1], 5..15).await;
    ours.advance(&world.stream.shards()[0], &world.schemas).await.unwrap().unwrap();
    let refused = theirs.advance(&other.stream.shards()[0], &other.schemas).await;
    assert!(matches!(refused, Err(WriteError::Foreign { .. })), "{refused:?}");
    // One that has the same records, and more, goes on; one whose log ends before says so.
    let theirs = open(other.env.clone()).await.unwrap();
    let empty = World::new(1, 3, 0).await;
    let refused = theirs.advance(&empty.stream.shards()[0], &empty.schemas).await;
    assert!(matches!(refused, Err(WriteError::AheadOfLog { .. })), "{refused:?}");
    assert!(ours.verify(ALL.0, ALL.1, Depth::Records).await.unwrap().is_well());
}

static NONE: BTreeMap<ShardId, SequenceNumber> = BTreeMap::new();

#[tokio::test]
async fn a_closed_hour_is_closed_alike_by_a_second_try_and_not_with_other_contents() {
    let world = World::new(1, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    world.send_lot(0, &[0], 0..10).await;
    world.clock.advance(HOUR + MINUTE);
    archive.advance(&world.stream.shards()[0], &world.schemas).await.unwrap();
    let second = world.open(world.spec()).await.unwrap();
    archive.close_hours(world.stream.shards()).await.unwrap();
    second.close_hours(world.stream.shards()).await.unwrap();
    assert_eq!(second.closed(), archive.closed());
    let third = world.open(world.spec()).await.unwrap();
    assert_eq!(third.stats().held, archive.stats().held);

    let world = World::new(1, 1, 0).await;
    let archive = world.open(world.spec()).await.unwrap();
    world.send_lot(0, &[0], 0..10).await;
    world.clock.advance(HOUR + MINUTE);
    archive.advance(&world.stream.shards()[0], &world.schemas).await.unwrap();
    let before = world.open(world.spec()).await.unwrap();
    archive.close_hours(world.stream.shards()).await.unwrap();
    let name = world.named("manifest.json").await;
    let changed =
        String::from_utf8(world.bytes_of(&name).await.to_vec()).unwrap().replace("\"count\":10", "\"count\":11");
    world.overwrite(&name, changed).await;
    let refused = before.close_hours(world.stream.shards()).await;
    assert!(matches!(refused, Err(CloseError::Foreign { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_folder_with_another_streams_archive_is_refused() {
    let world = World::new(1, 1, 0).await;
    world.open(world.spec()).await.unwrap();
    let other = Spec::new("rides".parse().unwrap(), 1, HOUR);
    let refused = world.open(other).await;
    assert!(matches!(refused, Err(crate::OpenError::Other { .. })), "{refused:?}");
}
