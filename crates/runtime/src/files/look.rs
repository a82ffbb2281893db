//! One look at a place: what is new there, and what of it may be taken.
//!
//! ```text
//! listed --hidden? pattern?--> known? --> settled? --yes--> ready, by (time, path)
//!                                            |
//!                                            +--no--> waits: looked at again as soon as it may have settled
//! ```
//!
//! A file has settled when it was the same at two looks that are `settle` apart, or when its store says that it was written
//! long ago. Memory is bounded: of very many that are ready the oldest are kept, and the rest is for the next look.

use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use hashbrown::HashSet;
use weir_env::Env;
use weir_machine::Owner;
use weir_types::FilesName;

use super::machine::Files;
use super::object::{Mark, Object};
use super::place::{ANSWER_MAX, Place, PlaceError};

/// Objects that one look returns at most.
const READY_MAX: usize = 50_000;
/// Objects whose first sight is remembered until they have settled; others are looked at again later.
const WAITING_MAX: usize = 100_000;
/// Objects that are compared with the marks at once.
const BATCH: usize = 1024;
/// Objects that are asked for at once.
const HEADS_AT_ONCE: usize = 16;
/// How far the clocks of this node and of a store may be apart: what is older than that and `settle` has settled.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files that are meant, known ones included.
    pub seen: u64,
    /// Those of them that are known.
    pub known: u64,
    /// New ones that may be taken, by time and path.
    pub ready: Vec<Object>,
    /// More that may be taken were there than fit.
    pub more: bool,
    /// New ones that have not settled.
    pub waiting: u64,
    /// When the first of these may have settled.
    pub settles_in: Option<Duration>,
    /// The marks of the known ones, if they were asked for.
    pub marks: Option<HashSet<Mark>>,
}

/// What is remembered from look to look.
#[derive(Debug)]
pub(crate) struct Looks {
    env: Env,
    files: FilesName,
    settle: Duration,
    /// When an object was first seen as it is.
    waiting: HashMap<Mark, Duration>,
}

impl Looks {
    pub fn new(env: Env, files: FilesName, settle: Duration) -> Self {
        Self { env, files, settle, waiting: HashMap::new() }
    }

    /// Looks at the whole place once. `marks` says whether the marks of what is known are wanted.
    ///
    /// # Errors
    /// See [`PlaceError`]; what was found until then is not known.
    pub async fn look(&mut self, place: &Place, owner: &Owner<Files>, marks: bool) -> Result<Found, PlaceError> {
        let mut found = Found { marks: marks.then(HashSet::new), ..Found::default() };
        let mut ready = BinaryHeap::new();
        let mut waiting = HashMap::new();
        self.list(place, |mut objects| {
            found.seen += objects.len() as u64;
            let before = objects.len();
            self.drop_known(&mut objects, owner, &mut found.marks);
            found.known += (before - objects.len()) as u64;
            for object in objects {
                self.judge(object, &mut ready, &mut waiting, &mut found);
            }
        })
        .await?;
        self.waiting = waiting;
        found.ready = ready.into_sorted_vec();
        Ok(found)
    }

    /// Looks at some paths alone. Returns what was found, and which of them have not settled.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn look_at(
        &mut self,
        place: &Place,
        owner: &Owner<Files>,
        paths: BTreeSet<String>,
    ) -> Result<(Found, BTreeSet<String>), PlaceError> {
        let mut found = Found::default();
        let heads = paths.into_iter().map(|path| self.head(place, path).boxed());
        let heads: Vec<Option<Object>> = stream::iter(heads).buffer_unordered(HEADS_AT_ONCE).try_collect().await?;
        let mut objects: Vec<Object> = heads.into_iter().flatten().collect();
        self.drop_known(&mut objects, owner, &mut None);
        let (mut ready, mut waiting, mut unsettled) = (Vec::new(), HashMap::new(), BTreeSet::new());
        for object in objects {
            match self.settles_in(&object, &mut waiting) {
                None => ready.push(object),
                Some(left) => {
                    found.settles_in = Some(found.settles_in.map_or(left, |first| first.min(left)));
                    unsettled.insert(object.path);
                }
            }
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.extend(waiting);
        }
        ready.sort();
        found.ready = ready;
        Ok((found, unsettled))
    }

    /// Asks for one object; none if there is none, or it is not meant.
    async fn head(&self, place: &Place, path: String) -> Result<Option<Object>, PlaceError> {
        let key = place.key(&path);
        if place.below(&key) != Some(path.as_str()) {
            return Ok(None);
        }
        Ok(place.meta(&path, &self.env).await?.map(|meta| Object::new(path, &meta)))
    }

    /// Returns the marks of all that is there.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn marks(&self, place: &Place) -> Result<Vec<Mark>, PlaceError> {
        let mut marks = Vec::new();
        self.list(place, |objects| marks.extend(objects.iter().map(Object::mark))).await?;
        Ok(marks)
    }

    /// Lists what is meant, some at a time.
    async fn list(&self, place: &Place, mut each: impl FnMut(Vec<Object>)) -> Result<(), PlaceError> {
        let (store, prefix) = place.open().await?;
        let mut list = store.list(prefix).ready_chunks(BATCH);
        loop {
            let silent = || PlaceError::Silent { location: place.location().clone() };
            let Some(chunk) = self.env.within(ANSWER_MAX, list.next()).await.ok_or_else(silent)? else { break };
            let mut objects = Vec::with_capacity(chunk.len());
            for meta in chunk {
                let listed = |source| PlaceError::List { location: place.location().clone(), source };
                let meta = meta.map_err(listed)?;
                if let Some(path) = place.below(&meta.location) {
                    objects.push(Object::new(path.to_owned(), &meta));
                }
            }
            each(objects);
        }
        // A folder that went away while it was listed had less to show.
        place.open().await.map(drop)
    }

    fn drop_known(&self, objects: &mut Vec<Object>, owner: &Owner<Files>, marks: &mut Option<HashSet<Mark>>) {
        owner.read(|files| {
            let Some(block) = files.block(&self.files) else { return };
            objects.retain(|object| {
                let known = block.knows(object);
                if let (Some(mark), Some(marks)) = (known, marks.as_mut()) {
                    marks.insert(mark);
                }
                known.is_none()
            });
        });
    }

    fn judge(
        &self,
        object: Object,
        ready: &mut BinaryHeap<Object>,
        waiting: &mut HashMap<Mark, Duration>,
        found: &mut Found,
    ) {
        if let Some(left) = self.settles_in(&object, waiting) {
            found.waiting += 1;
            found.settles_in = Some(found.settles_in.map_or(left, |first| first.min(left)));
            return;
        }
        ready.push(object);
        if ready.len() > READY_MAX {
            ready.pop();
            found.more = true;
        }
    }

    /// Returns how long an object must stay as it is; none if it has settled.
    fn settles_in(&self, object: &Object, waiting: &mut HashMap<Mark, Duration>) -> Option<Duration> {
        let age = self.env.now().0.saturating_sub(object.modified.0).max(0);
        let age = Duration::from_millis(age.unsigned_abs());
        if self.settle.is_zero() || age >= self.settle + SKEW_MAX {
            return None;
        }
        let now = self.env.elapsed();
        // By time as well: a store may call two contents of one time the same.
        let mark = object.mark_of_failure();
        let first = self.waiting.get(&mark).copied().unwrap_or(now);
        let settled = first + self.settle;
        if waiting.len() < WAITING_MAX {
            // Also what is ready: it may be left for the next look.
            waiting.insert(mark, first);
        }
        (settled > now).then(|| settled - now)
    }
}
