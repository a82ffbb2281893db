//! Who is told of a file finds it at once; who is not, at the next look. Nothing else depends on being told.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use weir_config::{FilesFormat, FilesStart};

use super::super::notify::Ear;
use super::world::{EVERY, SETTLE, World, lines, records};

fn event(key: &str) -> Vec<u8> {
    serde_json::json!({"Records": [{"s3": {"bucket": {"name": "bucket"}, "object": {"key": key}}}]}).to_string().into()
}

#[tokio::test]
async fn a_file_that_is_told_of_is_taken_before_the_next_look_and_others_by_it() {
    let world = World::new();
    let mut running = world.begin(Some(FilesFormat::Ndjson)).await;
    assert_eq!(running.drain().await, EVERY);
    world.put("a.json", lines(0..2)).await;
    world.put("b.json", lines(2..4)).await;
    let ear = Ear { hints: running.sweep.hints.clone(), place: running.sweep.place.clone() };
    assert_eq!(ear.hear(&event("in/a.json")).unwrap().1, 1);
    assert_eq!(ear.hear(&event("elsewhere/b.json")).unwrap().1, 0);
    assert_eq!(ear.hear(&event("in/.hidden")).unwrap().1, 0);
    assert_eq!(ear.hear(&event("in/gone.json")).unwrap().1, 1);
    assert!(ear.hear(b"no event").is_err());
    running.hinted(EVERY).await;
    assert_eq!(running.drain().await, SETTLE, "it has to settle as any other");
    assert!(running.rows().await.is_empty());
    world.clock.advance(SETTLE);
    running.hinted(SETTLE).await;
    running.drain().await;
    assert_eq!(running.rows().await, records(0..2));
    // The other one is found as ever.
    world.clock.advance(EVERY);
    running.hinted(Duration::ZERO).await;
    running.drain().await;
    world.clock.advance(SETTLE);
    running.drain().await;
    assert_eq!(running.rows().await, records(0..4));
}

#[tokio::test]
async fn an_event_is_followed_when_what_it_names_was_claimed() {
    let world = World::new();
    let mut running = world.begin(Some(FilesFormat::Ndjson)).await;
    running.drain().await;
    world.put("a.json", lines(0..2)).await;
    world.clock.advance(Duration::from_secs(1));
    let ear = Ear { hints: running.sweep.hints.clone(), place: running.sweep.place.clone() };
    let (hint, _) = ear.hear(&event("in/a.json")).unwrap();
    let followed = || world.env.within(Duration::ZERO, ear.hints.followed(hint));
    assert!(followed().await.is_none());
    running.hinted(EVERY).await;
    running.drain().await;
    assert!(followed().await.is_some());
}

/// Lists very many objects that are nowhere.
#[derive(Debug)]
struct Vast {
    count: u64,
    lists: AtomicU64,
    heads: AtomicU64,
}

impl fmt::Display for Vast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vast")
    }
}

fn meta(location: Path) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
        size: 10,
        e_tag: Some("t".into()),
        version: None,
    }
}

#[async_trait]
impl ObjectStore for Vast {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(object_store::Error::NotImplemented { operation: "put".into(), implementer: "Vast".into() })
    }
    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotImplemented { operation: "put".into(), implementer: "Vast".into() })
    }
    async fn get_opts(&self, location: &Path, _: GetOptions) -> Result<GetResult> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        Err(object_store::Error::NotFound { path: location.to_string(), source: "nowhere".into() })
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations
    }
    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let each = |n: u64| Ok(meta(Path::from(format!("in/{:03}/part-{n:09}.json", n % 1000))));
        futures::stream::iter((0..self.count).map(each)).boxed()
    }
    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(object_store::Error::NotImplemented { operation: "list".into(), implementer: "Vast".into() })
    }
    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(object_store::Error::NotImplemented { operation: "copy".into(), implementer: "Vast".into() })
    }
}

#[tokio::test]
async fn of_very_many_files_that_are_known_a_hint_looks_at_none() {
    let vast = Arc::new(Vast { count: 200_000, lists: AtomicU64::new(0), heads: AtomicU64::new(0) });
    let world = World { start: FilesStart::New, ..World::new() };
    world.clock.advance(Duration::from_secs(3600));
    let mut running = world.begin_in(vast.clone(), Some(FilesFormat::Ndjson)).await;
    assert_eq!(running.drain().await, EVERY);
    assert_eq!(running.block().marks.len(), 200_000);
    let before = vast.lists.load(Ordering::Relaxed);
    for n in 0..50 {
        running.sweep.hints.note([format!("new-{n}.json")]);
    }
    running.hinted(EVERY).await;
    running.drain().await;
    assert_eq!(vast.lists.load(Ordering::Relaxed), before);
    assert_eq!(vast.heads.load(Ordering::Relaxed), 50);
    assert_eq!(running.sweep.unsettled, BTreeSet::new());
}
