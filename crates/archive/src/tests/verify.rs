//! Planted faults are found and named, and none is where none was planted.

use std::collections::BTreeMap;

use weir_types::{SequenceNumber, ShardId};

use super::world::*;
use crate::{Archive, Depth, Finding, Spec, Verdict};

/// Three closed hours and an open one.
async fn planted() -> (World, Archive) {
    let world = World::new(2, 9, 0).await;
    let archive = world.open(Spec { chunk_bytes: 1500, ..world.spec() }).await.unwrap();
    for hour in 0..4u64 {
        world.send(0, hour * 200..hour * 200 + 150).await;
        if hour < 3 {
            world.clock.advance(HOUR);
        }
    }
    world.write_all(&archive).await;
    assert_eq!(archive.closed(), Some(hour("2026-11-26T12")));
    assert!(look(&archive, Depth::Records).await.is_well());
    (world, archive)
}

async fn look(archive: &Archive, depth: Depth) -> Verdict {
    archive.verify(ALL.0, ALL.1, depth).await.unwrap()
}

async fn some(world: &World, with: &str, end: &str) -> String {
    let names = world.names().await;
    let found: Vec<&String> = names.iter().filter(|name| name.contains(with) && name.ends_with(end)).collect();
    assert!(found.len() >= 2, "{names:?}");
    found[1].clone()
}

#[tokio::test]
async fn a_file_that_is_gone_cut_short_or_added_is_named() {
    let (world, archive) = planted().await;
    for at in ["T11/shard=1", "T13/shard=0"] {
        let name = some(&world, at, ".avro").await;
        let bytes = world.bytes_of(&name).await;
        let path = format!("{}/{name}", root());

        world.delete(&name).await;
        assert_eq!(look(&archive, Depth::Names).await.findings, [Finding::Missing { path: path.clone() }]);
        let (found, expected) = (bytes.len() as u64 - 9, bytes.len() as u64);
        world.overwrite(&name, bytes.slice(..found as usize)).await;
        assert_eq!(
            look(&archive, Depth::Names).await.findings,
            [Finding::Size { path: path.clone(), found, expected }]
        );
        world.overwrite(&name, bytes.clone()).await;

        for added in ["copy.avro", "00000000000000000007.avro", "00000000000000000000-9.avro"] {
            let folder = name.rsplit_once('/').unwrap().0;
            let added = format!("{folder}/{added}");
            world.overwrite(&added, bytes.clone()).await;
            let path = format!("{}/{added}", root());
            assert_eq!(look(&archive, Depth::Names).await.findings, [Finding::Extra { path }]);
            world.delete(&added).await;
        }
        assert!(look(&archive, Depth::Records).await.is_well());
    }
}

#[tokio::test]
async fn a_changed_byte_is_found_by_reading_the_records() {
    let (world, archive) = planted().await;
    let name = some(&world, "T11/shard=1", ".avro").await;
    let mut bytes = world.bytes_of(&name).await.to_vec();
    let at = bytes.len() - 25;
    bytes[at] ^= 0x10;
    world.overwrite(&name, bytes).await;
    assert!(look(&archive, Depth::Names).await.is_well());
    let findings = look(&archive, Depth::Records).await.findings;
    assert!(matches!(&findings[..], [Finding::Changed { path, .. }] if path.ends_with(&name)), "{findings:?}");
}

#[tokio::test]
async fn a_chunks_manifest_that_is_gone_is_a_gap_and_its_files_are_not_the_archives() {
    let (world, archive) = planted().await;
    let name = some(&world, "T11/shard=1", ".json").await;
    let first = SequenceNumber(name.rsplit('/').next().unwrap()[..20].parse().unwrap());
    world.delete(&name).await;
    let findings = look(&archive, Depth::Records).await.findings;
    let gap = findings
        .iter()
        .any(|finding| matches!(finding, Finding::Gap { shard: ShardId(1), from, .. } if *from == first));
    let file = format!("{}/{}.avro", root(), name.strip_suffix(".json").unwrap());
    assert!(gap && findings.contains(&Finding::Extra { path: file }), "{findings:?}");
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[tokio::test]
async fn a_manifest_that_was_changed_is_named() {
    let (world, archive) = planted().await;
    let chunk = some(&world, "T11/shard=1", ".json").await;
    let hour = world.named("T11/manifest.json").await;
    for (name, from, to) in
        [(&chunk, "\"arrived_last\":1", "\"arrived_last\":2"), (&hour, "\"missing\":0", "\"missing\":1")]
    {
        let bytes = world.bytes_of(name).await;
        let changed = String::from_utf8(bytes.to_vec()).unwrap().replacen(from, to, 1);
        assert_ne!(changed.as_bytes(), &bytes[..]);
        world.overwrite(name, changed).await;
        let findings = look(&archive, Depth::Names).await.findings;
        assert!(
            findings.iter().all(|finding| matches!(finding, Finding::Changed { path, .. } if path.contains("T11"))),
            "{findings:?}"
        );
        assert!(!findings.is_empty(), "{name}");
        world.overwrite(name, &b"{"[..]).await;
        let findings = look(&archive, Depth::Names).await.findings;
        assert!(
            findings
                .iter()
                .any(|finding| matches!(finding, Finding::Changed { path, .. } if path.ends_with(name.as_str()))),
            "{findings:?}"
        );
        world.overwrite(name, bytes).await;
    }
    assert!(look(&archive, Depth::Names).await.is_well());
}

#[tokio::test]
async fn an_hour_that_is_gone_is_named_whether_it_was_the_last_or_not() {
    for gone in ["2026-11-26T11", "2026-11-26T12"] {
        let (world, archive) = planted().await;
        for name in world.names().await.iter().filter(|name| name.contains(gone)) {
            world.delete(name).await;
        }
        let findings = look(&archive, Depth::Names).await.findings;
        assert!(findings.contains(&Finding::HourGone { hour: gone.to_owned() }), "{gone}: {findings:?}");
    }
}

#[tokio::test]
async fn an_older_copy_that_was_put_back_is_found_at_the_next_start() {
    let (world, archive) = planted().await;
    let next = |archive: &Archive| -> BTreeMap<ShardId, SequenceNumber> {
        let next = archive.stats().written_to;
        next.iter().enumerate().filter_map(|(shard, next)| Some((ShardId(shard as u32), (*next)?))).collect()
    };
    let known = next(&archive);
    assert!(look(&world.open_knowing(archive.spec().clone(), &known).await.unwrap(), Depth::Names).await.is_well());
    for name in world.names().await.iter().filter(|name| name.contains("T12/") || name.contains("T13/")) {
        world.delete(name).await;
    }
    let archive = world.open_knowing(archive.spec().clone(), &known).await.unwrap();
    let findings = look(&archive, Depth::Names).await.findings;
    assert!(
        matches!(&findings[..], [Finding::WentBack(a), Finding::WentBack(b)] if a.known == known[&a.shard] && b.shard == ShardId(1)),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_chunk_that_is_half_written_is_no_finding() {
    let (world, archive) = planted().await;
    world.send_lot(0, &[0, 1], 5000..5040).await;
    for polls in 1..12 {
        let mut writing = Box::pin(archive.advance(&world.stream.shards()[0], &world.schemas));
        for _ in 0..polls {
            if futures::poll!(&mut writing).is_ready() {
                break;
            }
        }
        drop(writing);
        let verdict = look(&archive, Depth::Records).await;
        assert!(verdict.is_well(), "{polls}: {:?}", verdict.findings);
    }
}
