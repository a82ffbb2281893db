//! Reading back.

use std::collections::BTreeMap;

use weir_types::{SequenceNumber, ShardId};

use super::world::*;
use crate::{Archive, Damage, OnDamage, ReadError, Selection, Spec};

/// Three hours of two shards in many chunks.
async fn three_hours(seed: u64) -> (World, Archive) {
    let world = World::new(2, seed, 100).await;
    let archive = world.open(Spec { chunk_bytes: 1000, ..world.spec() }).await.unwrap();
    for hour in 0..3u32 {
        for part in 0..6u64 {
            let at = u64::from(hour) * 1000 + part * 100;
            world.send_lot((part % 2) as u32, &[0, 1, 3], at..at + 60).await;
            world.clock.advance(MINUTE * 9);
        }
        world.clock.advance(MINUTE * 6);
    }
    world.clock.advance(MINUTE);
    world.write_all(&archive).await;
    (world, archive)
}

fn only(sent: Vec<Vec<Sent>>, keep: impl Fn(usize, &Sent) -> bool) -> Vec<Vec<Sent>> {
    let shards = sent.into_iter().enumerate();
    shards.map(|(shard, sent)| sent.into_iter().filter(|sent| keep(shard, sent)).collect()).collect()
}

#[tokio::test]
async fn a_selection_is_what_arrived_in_it_wherever_chunks_and_hours_end() {
    let (world, archive) = three_hours(1).await;
    let sent = world.sent().await;
    for (from, to) in [(0, 200), (10, 20), (9, 9), (55, 70), (63, 130), (120, 121), (500, 600)] {
        let (since, until) = (START.after(MINUTE * from), START.after(MINUTE * to));
        let selection = Selection { since: Some(since), until: Some(until), ..Selection::default() };
        let expected = only(sent.clone(), |_, sent| sent.arrived_at >= since && sent.arrived_at < until);
        assert_eq!(archived(&archive, selection, 700).await, expected, "{from} to {to}");
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_another_left_off_in_each_shard() {
    let (world, archive) = three_hours(2).await;
    let sent = world.sent().await;
    for stop in [1, 2, 5, 17, 40] {
        let mut shards = vec![Vec::new(); 2];
        let mut reader = archive.read(Selection::default(), OnDamage::Stop).await.unwrap();
        let mut from = BTreeMap::new();
        for _ in 0..stop {
            let Some(page) = reader.next(300).await.unwrap() else { break };
            take(&page, &mut shards);
            from.insert(page.shard(), page.end().unwrap());
        }
        let rest = archived(&archive, Selection { from, ..Selection::default() }, 300).await;
        for (shard, rest) in shards.iter_mut().zip(rest) {
            shard.extend(rest);
        }
        assert_eq!(shards, sent, "after {stop} pages");
    }
    let (from, to) = (SequenceNumber(33), SequenceNumber(111));
    let selection = Selection {
        shards: Some(vec![ShardId(1)]),
        from: BTreeMap::from([(ShardId(1), from)]),
        to: BTreeMap::from([(ShardId(1), to)]),
        ..Selection::default()
    };
    let expected = only(sent, |shard, sent| shard == 1 && sent.sequence >= from && sent.sequence < to);
    assert_eq!(archived(&archive, selection, 300).await, expected);
}

#[tokio::test]
async fn a_store_that_fails_costs_a_reader_nothing_but_another_try() {
    for seed in 0..30 {
        let (world, archive) = three_hours(seed).await;
        world.store.set(true);
        let mut shards = vec![Vec::new(); 2];
        let mut reader = loop {
            if let Ok(reader) = archive.read(Selection::default(), OnDamage::Stop).await {
                break reader;
            }
        };
        let mut failed = 0;
        loop {
            match reader.next(400).await {
                Ok(Some(page)) => take(&page, &mut shards),
                Ok(None) => break,
                Err(ReadError::Store(_)) => failed += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        assert!(failed > 0, "seed {seed}");
        assert_eq!(shards, world.sent().await, "seed {seed}");
    }
}

#[tokio::test]
async fn a_page_that_was_not_waited_for_is_not_lost() {
    let (world, archive) = three_hours(3).await;
    let mut shards = vec![Vec::new(); 2];
    let mut reader = archive.read(Selection::default(), OnDamage::Stop).await.unwrap();
    let mut polls = 0;
    loop {
        let page = {
            let mut next = Box::pin(reader.next(400));
            polls += 1;
            let mut ready = None;
            for _ in 0..polls % 4 {
                if let std::task::Poll::Ready(page) = futures::poll!(&mut next) {
                    ready = Some(page.unwrap());
                    break;
                }
            }
            ready
        };
        match page {
            Some(Some(page)) => take(&page, &mut shards),
            Some(None) => break,
            None => {}
        }
    }
    assert_eq!(shards, world.sent().await);
}

#[tokio::test]
async fn damage_is_named_with_its_file_and_the_rest_is_read_if_asked() {
    let (world, archive) = three_hours(4).await;
    let sent = world.sent().await;
    let names: Vec<String> = world.names().await.into_iter().filter(|name| name.contains("T11/shard=0/")).collect();
    // A file that is gone, one that is cut short, and one with a flipped bit in its only block; then a chunk's manifest.
    let data: Vec<&String> = names.iter().filter(|name| name.ends_with(".avro")).collect();
    assert!(data.len() >= 4, "{names:?}");
    let whole = |shards: &[Vec<Sent>]| shards.iter().map(Vec::len).sum::<usize>();
    for (index, name) in data.iter().take(3).enumerate() {
        let bytes = world.bytes_of(name).await;
        match index {
            0 => world.delete(name).await,
            1 => world.overwrite(name, bytes.slice(..bytes.len() - 20)).await,
            _ => {
                let mut changed = bytes.to_vec();
                let at = changed.len() - 30;
                changed[at] ^= 1;
                world.overwrite(name, changed).await;
            }
        }
        let stopped = async {
            let mut reader = archive.read(Selection::default(), OnDamage::Stop).await?;
            while reader.next(500).await?.is_some() {}
            Ok::<_, ReadError>(())
        };
        let error = stopped.await.unwrap_err().to_string();
        assert!(error.contains(name.as_str()), "{error}");
        let (shards, damage) = read_on(&archive).await;
        let text = format!("{damage:?}");
        assert!(damage.len() == 1 && text.contains(name.as_str()), "{text}");
        let lost = whole(&sent) - whole(&shards);
        assert!(lost > 0 && lost <= 60, "{lost}");
        assert!(shards.iter().zip(&sent).all(|(read, sent)| read.iter().all(|record| sent.contains(record))));
        world.overwrite(name, bytes).await;
    }
    let manifest = names.iter().find(|name| name.ends_with(".json")).unwrap();
    world.delete(manifest).await;
    let (shards, damage) = read_on(&archive).await;
    assert!(matches!(damage[..], [Damage::Gap { shard: ShardId(0), .. }]), "{damage:?}");
    let Damage::Gap { from, to, .. } = damage[0] else { unreachable!() };
    assert_eq!(shards, only(sent, |shard, sent| shard == 1 || sent.sequence < from || sent.sequence >= to));
}

async fn read_on(archive: &Archive) -> (Vec<Vec<Sent>>, Vec<Damage>) {
    let mut shards = vec![Vec::new(); 2];
    let mut damage = Vec::new();
    let mut reader = archive.read(Selection::default(), OnDamage::Skip).await.unwrap();
    while let Some(page) = reader.next(500).await.unwrap() {
        take(&page, &mut shards);
        damage.extend_from_slice(page.damage());
    }
    (shards, damage)
}
