//! The vendor itself: decides call by call what is answered.
//!
//! ```text
//! call --> away? --> bucket: 429 --> token: 401 --> what there is: 404 --> fault: 5xx, cut, slow --> answer
//! ```
//!
//! Every call is in the journal before its answer is sent. A call that is refused by the bucket uses nothing up, as is usual.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Request, Response};
use tokio::sync::{Notify, watch};
use weir_env::Env;

use crate::answer::{Page, answer};
use crate::respond::{Body, Broken, Verdict};
use crate::{Bucket, Census, Change, Fault, Faults, Journal, OutageKind, ServeError, Settings};

/// What may change while it runs.
pub(crate) struct Mood {
    pub(crate) bucket: Bucket,
    pub(crate) faults: Faults,
    pub(crate) latency: Duration,
    pub(crate) journal: Journal,
    /// Calls that came, of which the journal may have been told to forget some: decides their faults.
    pub(crate) calls: u64,
    /// Tokens that were issued.
    pub(crate) issued: u64,
}

/// A vendor.
pub struct Vendor {
    pub(crate) env: Env,
    pub(crate) settings: Settings,
    pub(crate) census: Census,
    mood: Mutex<Mood>,
    pub(crate) away: watch::Sender<Option<OutageKind>>,
    pub(crate) called: Notify,
    under_way: AtomicU32,
}

impl Vendor {
    /// Makes one; nothing is listened to yet.
    ///
    /// # Errors
    /// The log of calls can't be made.
    pub fn new(settings: Settings, env: Env) -> Result<Arc<Self>, ServeError> {
        let journal = match &settings.log {
            Some(path) => {
                Journal::in_file(path).map_err(|source| ServeError::Log { path: path.display().to_string(), source })?
            }
            None => Journal::default(),
        };
        let mood = Mood {
            bucket: Bucket::new(settings.rate, settings.burst),
            faults: settings.faults,
            latency: settings.latency,
            journal,
            calls: 0,
            issued: 0,
        };
        Ok(Arc::new(Self {
            env,
            census: settings.shape.census(),
            settings,
            mood: Mutex::new(mood),
            away: watch::channel(None).0,
            called: Notify::new(),
            under_way: AtomicU32::new(0),
        }))
    }

    /// Goes away at once, and returns when it is back.
    pub fn go_away(self: &Arc<Self>, kind: OutageKind, span: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.away.send_replace(Some(kind));
        let vendor = Arc::clone(self);
        async move {
            vendor.env.sleep(span).await;
            vendor.away.send_replace(None);
        }
    }

    /// Changes what is given, from now on.
    pub fn change(&self, change: &Change) {
        let now_ns = self.now_ns();
        let mut mood = self.mood();
        let (rate, burst) = (change.rate.unwrap_or(mood.bucket.rate()), change.burst.unwrap_or(mood.bucket.burst()));
        mood.bucket.change(now_ns, rate, burst);
        let faults = mood.faults;
        mood.faults = Faults {
            errors: change.errors.unwrap_or(faults.errors),
            cut: change.cut.unwrap_or(faults.cut),
            slow: change.slow.unwrap_or(faults.slow),
        };
        if let Some(latency) = change.latency_ms {
            mood.latency = Duration::from_millis(latency);
        }
    }

    /// Writes the rest of the log to its file.
    ///
    /// # Errors
    /// It can't be written.
    pub fn flush(&self) -> io::Result<()> {
        self.mood().journal.flush()
    }

    /// Returns how the vendor is away now.
    pub fn away(&self) -> Option<OutageKind> {
        *self.away.borrow()
    }

    pub(crate) fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since the vendor was made.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.env.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let path = request.uri().path();
        if path.starts_with("/_vendor/") {
            return Ok(crate::control::control(&self, request).await);
        }
        if path == "/oauth/token" {
            return Ok(self.issue(request).await);
        }
        let under_way = UnderWay::new(&self.under_way);
        let verdict = self.judge(&request);
        if let Some(span) = verdict.wait {
            self.env.sleep(span).await;
        }
        drop(under_way);
        self.send(verdict)
    }

    /// Decides what a call gets, and writes it down.
    fn judge(&self, request: &Request<Incoming>) -> Verdict {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let away = self.away();
        let now_ns = self.now_ns();
        let mut mood = self.mood();
        if mood.calls == 0 {
            self.called.notify_one();
        }
        let call = mood.calls;
        mood.calls += 1;
        let mut verdict = match away {
            Some(OutageKind::Unavailable) => Verdict::of(Page::error(503, "the vendor is away")),
            Some(OutageKind::Refuse | OutageKind::Close) => {
                Verdict { is_broken: true, ..Verdict::of(Page::error(0, "")) }
            }
            None => match mood.bucket.take(now_ns) {
                Err(seconds) => {
                    Verdict { retry_after: Some(seconds), ..Verdict::of(Page::error(429, "too many calls")) }
                }
                Ok(()) => self.answer(request, mood.faults.of(self.settings.shape.seed, call)),
            },
        };
        verdict.remaining = mood.bucket.remaining(now_ns);
        verdict.rate = mood.bucket.rate();
        if verdict.page.status == 200 {
            let under_way = self.under_way.load(Ordering::Relaxed);
            let stretch =
                self.settings.capacity.map_or(1.0, |capacity| f64::from(under_way) / f64::from(capacity.max(1)));
            let latency = mood.latency.mul_f64(stretch.max(1.0));
            let slow = if verdict.is_slow { self.settings.slow } else { Duration::ZERO };
            verdict.wait = Some(latency + slow).filter(|wait| !wait.is_zero());
        }
        let status = if verdict.is_broken { 0 } else { verdict.page.status };
        if mood.journal.add(now_ns, target, status, verdict.cut.is_none()).is_err() {
            // The journal's file is what the vendor is asked about later: without it there is no answer to trust.
            verdict = Verdict::of(Page::error(507, "the vendor's log can't be written"));
        }
        verdict
    }

    fn answer(&self, request: &Request<Incoming>, fault: Option<Fault>) -> Verdict {
        if !self.knows(request.headers()) {
            return Verdict::of(Page::error(401, "no token, or one that does not hold (any more)"));
        }
        if let Some(Fault::Error(status)) = fault {
            return Verdict::of(Page::error(status, "something went wrong"));
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let page = answer(&self.settings.shape, &format!("http://{host}"), path, query);
        let mut verdict = Verdict::of(page);
        if verdict.page.status == 200 {
            verdict.is_slow = fault == Some(Fault::Slow);
            verdict.cut = fault.filter(|fault| matches!(fault, Fault::CutShort | Fault::CutChunked));
        }
        verdict
    }
}

/// Counts a call while it is under way.
struct UnderWay<'a>(&'a AtomicU32);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
