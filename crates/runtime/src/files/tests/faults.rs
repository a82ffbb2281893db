//! Stores that fail, files that go away, and what is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use weir_config::FilesFormat;

use super::super::machine::Command;
use super::world::{EVERY, SETTLE, World, lines, records};

const NDJSON: Option<FilesFormat> = Some(FilesFormat::Ndjson);

/// A store that fails when it is told to.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn ObjectStore>,
    list_fails: AtomicBool,
    get_fails: AtomicBool,
}

impl Flaky {
    fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self { inner, list_fails: AtomicBool::new(false), get_fails: AtomicBool::new(false) })
    }
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flaky")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "Flaky", source: "the line is cut".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.get_fails.load(Ordering::SeqCst) {
            return Err(broken());
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.list_fails.load(Ordering::SeqCst) {
            return futures::stream::iter([Err(broken())]).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_fails_loses_nothing_and_gives_nothing_up() {
    let world = World::new();
    world.put("a.json", lines(0..3)).await;
    let store = Flaky::new(world.objects.clone());
    let mut running = world.begin_in(store.clone(), NDJSON).await;
    store.list_fails.store(true, Ordering::SeqCst);
    let error = running.sweep.round().await.unwrap_err();
    assert!(crate::pipeline::chain(&error).contains("the line is cut"), "{error}");
    store.list_fails.store(false, Ordering::SeqCst);
    running.drain().await;
    world.clock.advance(SETTLE);
    store.get_fails.store(true, Ordering::SeqCst);
    assert!(running.sweep.round().await.unwrap().is_none(), "it looks");
    assert!(running.sweep.round().await.unwrap().is_none(), "it claims");
    // As long as nothing can be listed either, it is the store that is down, and no file is to blame.
    store.list_fails.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        running.sweep.round().await.unwrap_err();
    }
    store.list_fails.store(false, Ordering::SeqCst);
    store.get_fails.store(false, Ordering::SeqCst);
    running.drain().await;
    assert_eq!(running.rows().await, records(0..3));
    assert!(running.letters().await.is_empty());
}

#[tokio::test]
async fn a_file_that_can_not_be_read_though_its_store_answers_becomes_a_dead_letter() {
    let world = World::new();
    world.put("a.json", lines(0..3)).await;
    let store = Flaky::new(world.objects.clone());
    let mut running = world.begin_in(store.clone(), NDJSON).await;
    running.drain().await;
    world.clock.advance(SETTLE);
    store.get_fails.store(true, Ordering::SeqCst);
    let mut failures = 0;
    while running.block().failed == 0 {
        failures += usize::from(running.sweep.round().await.is_err());
        assert!(failures < 20, "it is never given up");
    }
    assert_eq!(failures, 10);
    store.get_fails.store(false, Ordering::SeqCst);
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0, "files/in/a.json");
    assert!(letters[0].1.contains("the line is cut") && letters[0].2.contains("a.json"), "{letters:?}");
    running.take_all(&world).await;
    assert!(running.rows().await.is_empty(), "it is not tried again by itself");
    world.put("a.json", lines(0..3)).await;
    running.take_all(&world).await;
    assert_eq!(running.rows().await, records(0..3), "and it is when it is written again");
}

#[tokio::test]
async fn a_file_that_went_away_after_its_claim_is_passed_over_and_found_when_it_is_back() {
    let world = World::new();
    world.put("a.json", lines(0..1)).await;
    world.put("b.json", lines(1..2)).await;
    let mut running = world.begin(NDJSON).await;
    running.drain().await;
    world.clock.advance(SETTLE);
    running.sweep.look().await.unwrap();
    assert!(running.sweep.round().await.unwrap().is_none(), "it claims");
    world.delete("a.json").await;
    running.drain().await;
    assert_eq!(running.rows().await, records(1..2));
    assert_eq!((running.block().taken, running.block().failed), (1, 0));
    assert!(running.letters().await.is_empty(), "nothing of it was stored");
    world.put("a.json", lines(0..1)).await;
    running.take_all(&world).await;
    assert_eq!(running.rows().await, records([1, 0]));
}

#[tokio::test]
async fn a_claim_that_is_taken_up_after_a_stop_says_which_of_its_files_were_gone() {
    let world = World::new();
    world.put("a.json", lines(0..1)).await;
    world.put("b.json", lines(1..2)).await;
    let mut running = world.begin(NDJSON).await;
    running.drain().await;
    world.clock.advance(SETTLE);
    running.sweep.look().await.unwrap();
    let objects = running.sweep.ready.drain(..).collect();
    running.sweep.owner.submit(Command::Claim { files: running.sweep.files.clone(), objects }).await.unwrap();
    running.end().await;
    world.delete("a.json").await;
    let mut running = world.begin(NDJSON).await;
    running.drain().await;
    assert_eq!(running.rows().await, records(1..2));
    let letters = running.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0, "files/in");
    assert!(letters[0].1.contains("1 of its 2 files were gone"), "{letters:?}");
    assert!(letters[0].2.contains("\"gone\":[\"a.json\"]"), "{letters:?}");
}

#[tokio::test]
async fn what_is_gone_for_a_day_is_forgotten_and_an_empty_place_forgets_nothing() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let world = World::new();
    for path in ["a.json", "b.json"] {
        world.put(path, lines(0..1)).await;
    }
    let mut running = world.begin(NDJSON).await;
    running.take_all(&world).await;
    world.delete("a.json").await;
    for _ in 0..3 {
        running.drain().await;
        world.clock.advance(EVERY);
    }
    assert_eq!(running.block().marks.len(), 2, "not yet");
    world.clock.advance(DAY);
    for _ in 0..3 {
        running.drain().await;
        world.clock.advance(EVERY);
    }
    assert_eq!(running.block().marks.len(), 1);
    world.delete("b.json").await;
    for _ in 0..5 {
        running.drain().await;
        world.clock.advance(DAY);
    }
    assert_eq!(running.block().marks.len(), 1, "a store that shows nothing may be the wrong one");
}
