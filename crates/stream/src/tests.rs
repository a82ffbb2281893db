use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use weir_env::{Env, ManualClock};
use weir_log::{Engine, MemoryEngine};
use weir_machine::Snapshots;
use weir_types::{ByteSize, Fingerprint, ProducerId, SequenceNumber, ShardId, Timestamp};

use crate::{Lot, Page, ProducerError, Receipt, Route, Settings, Start, Stream, WriteError};

const PRINT: Fingerprint = Fingerprint(7);

struct World {
    clock: ManualClock,
    env: Env,
    engine: Arc<dyn Engine>,
    snapshots: Snapshots,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp(1_000_000));
        let env = Env::seeded(clock.clone(), 1);
        let engine = Arc::new(MemoryEngine::new(env.clone()));
        let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::from("snapshots"));
        Self { clock, env, engine, snapshots }
    }

    async fn open(&self, settings: Settings) -> Arc<Stream> {
        let name = "clicks".parse().unwrap();
        Stream::open(&*self.engine, self.snapshots.clone(), self.env.clone(), name, settings).await.unwrap()
    }
}

fn settings(shards: u32) -> Settings {
    Settings { shards, retention: Duration::from_secs(3600), retention_bytes: None }
}

fn producer() -> ProducerId {
    "loader".parse().unwrap()
}

async fn send(stream: &Arc<Stream>, batch: Option<u64>, bodies: &[String]) -> Result<Receipt, WriteError> {
    let mut writer = stream.write(batch.map(|number| (producer(), number))).await?;
    for body in bodies {
        let key = body.split('-').next().unwrap().as_bytes();
        if writer.push(Route::Key(key), PRINT, body.as_bytes()) {
            writer.flush().await?;
        }
    }
    writer.finish().await
}

async fn all(stream: &Stream) -> Vec<Vec<String>> {
    let mut shards = Vec::new();
    for shard in stream.shards() {
        let mut bodies = Vec::new();
        let mut next = shard.resolve(Start::Oldest).await.unwrap();
        loop {
            let page = shard.read(next, 64 * 1024).await.unwrap();
            if page.is_empty() {
                break;
            }
            bodies.extend(page.records().map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap()));
            next = page.end();
        }
        shards.push(bodies);
    }
    shards
}

fn bodies(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("key{}-{number:06}", number % 10)).collect()
}

#[tokio::test]
async fn records_of_one_key_are_in_one_shard_in_order() {
    let world = World::new();
    let stream = world.open(settings(4)).await;
    for start in (0..1000).step_by(100) {
        send(&stream, None, &bodies(start, 100)).await.unwrap();
    }
    let shards = all(&stream).await;
    assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 1000);
    let mut home: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (shard, bodies) in shards.iter().enumerate() {
        for body in bodies {
            let (key, number) = body.split_once('-').unwrap();
            if let Some((before, last)) = home.insert(key, (shard, number)) {
                assert!(before == shard && last < number, "{body} in shard {shard} after {last} in {before}");
            }
        }
    }
    assert!(shards.iter().filter(|bodies| !bodies.is_empty()).count() > 1);
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_not_stored_again_even_after_a_restart() {
    let world = World::new();
    let stream = world.open(settings(3)).await;
    // Longer than a chunk, so that it is stored in several.
    let batch: Vec<String> = bodies(0, 3000).into_iter().map(|body| body + &"x".repeat(1000)).collect();
    let first = send(&stream, Some(1), &batch).await.unwrap();
    assert_eq!((first.stored, first.repeated), (3000, 0));
    let again = send(&stream, Some(1), &batch).await.unwrap();
    assert_eq!((again.stored, again.repeated), (0, 3000));
    drop(stream);
    let stream = world.open(settings(3)).await;
    let again = send(&stream, Some(1), &batch).await.unwrap();
    assert_eq!((again.stored, again.repeated), (0, 3000));
    stream.snapshot().await.unwrap();
    drop(stream);
    let stream = world.open(settings(3)).await;
    let again = send(&stream, Some(1), &batch).await.unwrap();
    assert_eq!((again.stored, again.repeated), (0, 3000));
    assert_eq!(send(&stream, Some(2), &bodies(0, 10)).await.unwrap().stored, 10);
    assert_eq!(all(&stream).await.iter().map(Vec::len).sum::<usize>(), 3010);
}

#[tokio::test]
async fn what_is_missing_of_a_batch_that_was_cut_off_is_stored() {
    let world = World::new();
    let stream = world.open(settings(2)).await;
    let batch: Vec<String> = bodies(0, 4000).into_iter().map(|body| body + &"x".repeat(1000)).collect();
    let mut writer = stream.write(Some((producer(), 5))).await.unwrap();
    for body in &batch[..3000] {
        if writer.push(Route::Key(body.split('-').next().unwrap().as_bytes()), PRINT, body.as_bytes()) {
            writer.flush().await.unwrap();
        }
    }
    // The connection breaks; what was flushed is stored.
    drop(writer);
    let error = send(&stream, Some(6), &bodies(0, 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Producer(ProducerError::Unfinished { last: 5, .. })), "{error}");
    let receipt = send(&stream, Some(5), &batch).await.unwrap();
    assert_eq!(receipt.stored + receipt.repeated, 4000);
    assert!(receipt.repeated > 0);
    let mut found: Vec<String> = all(&stream).await.concat();
    found.sort_unstable();
    let mut sent = batch.clone();
    sent.sort_unstable();
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_batch_older_than_the_last_is_refused() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    send(&stream, Some(7), &bodies(0, 1)).await.unwrap();
    let error = send(&stream, Some(6), &bodies(1, 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Producer(ProducerError::Stale { number: 6, last: 7, .. })), "{error}");
    assert_eq!(all(&stream).await[0].len(), 1);
}

#[tokio::test]
async fn reading_starts_where_it_is_asked_to() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    for start in 0..10 {
        send(&stream, None, &bodies(start * 10, 10)).await.unwrap();
        world.clock.advance(Duration::from_secs(60));
    }
    let shard = &stream.shards()[0];
    assert_eq!(shard.resolve(Start::Oldest).await.unwrap(), SequenceNumber(0));
    assert_eq!(shard.resolve(Start::Newest).await.unwrap(), SequenceNumber(100));
    assert_eq!(shard.resolve(Start::At(SequenceNumber(33))).await.unwrap(), SequenceNumber(33));
    let third = Timestamp(1_000_000).after(Duration::from_secs(180));
    assert_eq!(shard.resolve(Start::Time(third)).await.unwrap(), SequenceNumber(30));
    let after_all = Timestamp(1_000_000).after(Duration::from_secs(6000));
    assert_eq!(shard.resolve(Start::Time(after_all)).await.unwrap(), SequenceNumber(100));
    let page = shard.read(SequenceNumber(33), 1024).await.unwrap();
    assert_eq!(page.records().next().unwrap().unwrap().sequence, SequenceNumber(33));
}

#[tokio::test]
async fn old_records_go_but_not_those_that_somebody_has_still_to_read() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    for start in 0..10 {
        send(&stream, None, &bodies(start * 10, 10)).await.unwrap();
        world.clock.advance(Duration::from_secs(600));
    }
    let head = || stream.shards()[0].bounds().head.0;
    let now = world.env.now();
    assert_eq!(stream.retain(now, |_| Some(SequenceNumber(15))).await.unwrap(), 15);
    assert_eq!(head(), 15);
    assert_eq!(stream.retain(now, |_| None).await.unwrap(), 25);
    assert_eq!(head(), 40);
    assert_eq!(stream.retain(now, |_| None).await.unwrap(), 0);
}

#[tokio::test]
async fn the_oldest_records_go_when_there_are_too_many_bytes() {
    let world = World::new();
    let limit = Settings { retention_bytes: Some(ByteSize(100_000)), ..settings(2) };
    let stream = world.open(limit).await;
    for start in 0..40 {
        let batch: Vec<String> = bodies(start * 10, 10).into_iter().map(|body| body + &"x".repeat(1000)).collect();
        send(&stream, None, &batch).await.unwrap();
    }
    stream.retain(world.env.now(), |_| None).await.unwrap();
    let bytes: u64 = stream.shards().iter().map(|shard| shard.log().bytes()).sum();
    assert!((60_000..=110_000).contains(&bytes), "{bytes}");
    assert!(stream.shards().iter().all(|shard| shard.bounds().tail > shard.bounds().head));
    assert_eq!(stream.shards()[0].id(), ShardId(0));
}

#[tokio::test]
async fn a_reader_wakes_when_a_record_comes() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    let waiting = tokio::spawn({
        let stream = stream.clone();
        async move {
            stream.shards()[0].wait(SequenceNumber(0)).await;
            stream.shards()[0].read(SequenceNumber(0), 1024).await.unwrap().records().count()
        }
    });
    tokio::task::yield_now().await;
    send(&stream, None, &bodies(0, 3)).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 3);
}

#[tokio::test]
async fn a_sender_that_goes_away_at_any_moment_leaves_nothing_twice() {
    let world = World::new();
    let stream = world.open(settings(2)).await;
    let batch: Vec<String> = bodies(0, 2000).into_iter().map(|body| body + &"x".repeat(1000)).collect();
    for polls in 0..12 {
        let mut sending = Box::pin(send(&stream, Some(1), &batch));
        for _ in 0..polls {
            if futures::poll!(&mut sending).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(sending);
    }
    send(&stream, Some(1), &batch).await.unwrap();
    let mut found: Vec<String> = all(&stream).await.concat();
    found.sort_unstable();
    let mut sent = batch.clone();
    sent.sort_unstable();
    assert_eq!(found.len(), sent.len());
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_producer_may_go_on_after_a_batch_that_it_abandoned() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    let mut writer = stream.write(Some((producer(), 1))).await.unwrap();
    writer.push(Route::Spread, PRINT, b"never flushed");
    assert_eq!(writer.abandon().await.unwrap().stored, 0);
    assert_eq!(send(&stream, Some(2), &bodies(0, 1)).await.unwrap().stored, 1);
}

#[tokio::test]
async fn a_lot_is_stored_whole_with_its_keys_and_the_last_block_is_found() {
    let world = World::new();
    let stream = world.open(settings(2)).await;
    assert!(stream.shards()[1].read_last().await.unwrap().is_empty());
    let large = vec![7u8; 200 * 1024];
    let mut lot = Lot::default();
    for number in 0..5u8 {
        lot.push(PRINT, &[b'k', number], &large);
    }
    lot.push(Fingerprint(0), b"state", b"five");
    assert!(lot.bytes() > 5 * large.len());
    let sealed = lot.seal();
    assert_eq!(stream.append(ShardId(1), &sealed).await.unwrap(), SequenceNumber(0));
    assert_eq!(stream.append(ShardId(1), &sealed).await.unwrap(), SequenceNumber(6));
    let page = stream.shards()[1].read(SequenceNumber(0), 64 << 20).await.unwrap();
    let firsts: Vec<u64> = page.blocks().map(|block| block.unwrap().0.0).collect();
    // 256 KiB make a block, so that two records of 200 KiB are in each.
    assert_eq!(firsts, [0, 2, 4, 6, 8, 10]);
    let keys: Vec<Vec<u8>> = page.records().take(6).map(|record| record.unwrap().key.unwrap().to_vec()).collect();
    assert_eq!(keys[3], [b'k', 3]);
    let last = stream.shards()[1].read_last().await.unwrap();
    let state = last.records().last().unwrap().unwrap();
    assert_eq!((state.sequence, state.key.unwrap(), state.body), (SequenceNumber(11), &b"state"[..], &b"five"[..]));
}

fn bodies_of(page: &Page) -> Vec<(u64, i64, Vec<u8>)> {
    let records = page.records().map(Result::unwrap);
    records.map(|record| (record.sequence.0, record.arrived_at.0, record.body.to_vec())).collect()
}

#[tokio::test]
async fn a_page_is_cut_at_a_record_and_made_again_of_its_records() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    for batch in 0..3 {
        let bodies: Vec<String> = (0..4).map(|record| format!("a-{batch}-{record}")).collect();
        send(&stream, None, &bodies).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
    }
    let shard = &stream.shards()[0];
    let page = shard.read(SequenceNumber(2), usize::MAX).await.unwrap();
    let whole = bodies_of(&page);
    assert_eq!((whole.len(), page.end()), (10, SequenceNumber(12)));
    let cut = page.clone().cut(5, SequenceNumber(100));
    assert_eq!((bodies_of(&cut), cut.end()), (whole[..5].to_vec(), SequenceNumber(7)));
    let cut = page.clone().cut(100, SequenceNumber(4));
    assert_eq!((bodies_of(&cut), cut.end()), (whole[..2].to_vec(), SequenceNumber(4)));

    let rest = page.clone().starting_at(SequenceNumber(9));
    assert_eq!((bodies_of(&rest), rest.end()), (whole[7..].to_vec(), SequenceNumber(12)));

    // Without some of them, as when they were kept elsewhere and have gaps.
    let kept = |sequence: u64| !sequence.is_multiple_of(5);
    let records = page.records().map(Result::unwrap).filter(|record| kept(record.sequence.0));
    let made = Page::of(SequenceNumber(2), SequenceNumber(20), records);
    let wanted: Vec<_> = whole.into_iter().filter(|(sequence, ..)| kept(*sequence)).collect();
    assert_eq!((bodies_of(&made), made.end()), (wanted, SequenceNumber(20)));
    assert_eq!(bodies_of(&Page::of(SequenceNumber(2), SequenceNumber(3), [])), []);
}

#[tokio::test]
async fn a_page_comes_apart_where_its_blocks_differ() {
    let world = World::new();
    let stream = world.open(settings(1)).await;
    for (batch, stamp) in [None, Some(1), Some(2), None].into_iter().enumerate() {
        send(&stream, stamp, &[format!("a-{batch}"), format!("b-{batch}")]).await.unwrap();
    }
    let page = stream.shards()[0].read(SequenceNumber(1), usize::MAX).await.unwrap();
    let whole = bodies_of(&page);
    let parts = page.split_by(|records| records.stamp().is_some()).unwrap();
    assert_eq!(parts.iter().map(|(mark, _)| *mark).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(parts.iter().map(|(_, page)| page.end().0).collect::<Vec<_>>(), [2, 6, 8]);
    assert_eq!(parts.iter().flat_map(|(_, page)| bodies_of(page)).collect::<Vec<_>>(), whole);
}
