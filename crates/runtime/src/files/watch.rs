//! A folder of this machine is watched: a file that was written and closed, or moved in, is a hint.
//!
//! Linux tells of it (inotify). Elsewhere, where the folder is of a kind that tells nothing (most network file systems), and
//! beyond [`FOLDERS_MAX`] folders, the looks find what is new, as they do anyway.

#[cfg(target_os = "linux")]
pub(super) use linux::watch;

#[cfg(not(target_os = "linux"))]
pub(super) async fn watch(_: weir_env::Env, _: std::path::PathBuf, _: std::sync::Arc<super::hints::Hints>) {
    std::future::pending().await
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;

    use hashbrown::HashMap;
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use rustix::io::Errno;
    use tokio::io::unix::AsyncFd;
    use weir_env::Env;

    use super::super::hints::Hints;

    /// Folders that are watched, below one location.
    const FOLDERS_MAX: usize = 4096;
    /// How long until it is tried again after the folder went away, or can't be watched.
    const RETRY: Duration = Duration::from_secs(10);

    /// Watches until it is dropped.
    pub(in super::super) async fn watch(env: Env, root: PathBuf, hints: Arc<Hints>) {
        let mut told = false;
        loop {
            match Watch::begin(&root) {
                Ok(mut watch) => {
                    told = false;
                    // What came before the watch was there.
                    hints.note_all();
                    if let Err(error) = watch.run(&hints).await {
                        tracing::debug!(folder = %root.display(), %error, "a folder is not watched any more");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(folder = %root.display(), %error, "a folder can't be watched: new files are found by looking");
                    }
                }
            }
            env.sleep(env.jitter(RETRY)).await;
        }
    }

    struct Watch {
        inotify: AsyncFd<OwnedFd>,
        root: PathBuf,
        folders: HashMap<i32, PathBuf>,
    }

    impl Watch {
        #[expect(deprecated, reason = "what replaces it is unsafe; an `OwnedFd` is open for as long as it is there")]
        fn begin(root: &Path) -> io::Result<Self> {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let mut watch = Self { inotify: AsyncFd::new(inotify)?, root: root.to_owned(), folders: HashMap::new() };
            watch.add(root)?;
            watch.add_below(root);
            Ok(watch)
        }

        fn add(&mut self, folder: &Path) -> io::Result<()> {
            if self.folders.len() >= FOLDERS_MAX {
                return Err(io::Error::other(format!("more than {FOLDERS_MAX} folders")));
            }
            let flags = WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::CREATE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let number = inotify::add_watch(self.inotify.get_ref(), folder, flags)?;
            self.folders.insert(number, folder.to_owned());
            Ok(())
        }

        /// Watches the folders below one. What can't be is looked at like everything.
        fn add_below(&mut self, folder: &Path) {
            let mut waiting = vec![folder.to_owned()];
            while let Some(folder) = waiting.pop() {
                for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        if self.add(&entry.path()).is_err() {
                            return;
                        }
                        waiting.push(entry.path());
                    }
                }
            }
        }

        async fn run(&mut self, hints: &Hints) -> io::Result<()> {
            loop {
                let mut ready = self.inotify.readable().await?;
                let read = read(ready.get_inner());
                if let Err(error) = &read
                    && error.kind() == io::ErrorKind::WouldBlock
                {
                    ready.clear_ready();
                    continue;
                }
                drop(ready);
                for Told { number, events, name } in read? {
                    self.tell(number, events, name, hints)?;
                }
            }
        }

        fn tell(&mut self, number: i32, events: ReadFlags, name: Option<PathBuf>, hints: &Hints) -> io::Result<()> {
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                hints.note_all();
                return Ok(());
            }
            let Some(folder) = self.folders.get(&number).cloned() else { return Ok(()) };
            if events.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
                if folder == self.root {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "the folder is gone"));
                }
                self.folders.remove(&number);
                return Ok(());
            }
            let Some(name) = name else { return Ok(()) };
            let path = folder.join(name);
            if events.contains(ReadFlags::ISDIR) {
                // Files may be in it before it is watched.
                if self.add(&path).is_ok() {
                    self.add_below(&path);
                }
                hints.note_all();
            } else if events.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
                let below = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
                hints.note(below.map(str::to_owned));
            }
            Ok(())
        }
    }

    struct Told {
        number: i32,
        events: ReadFlags,
        name: Option<PathBuf>,
    }

    /// Reads what is there.
    fn read(inotify: &OwnedFd) -> io::Result<Vec<Told>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut told = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name =
                        event.file_name().map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())));
                    told.push(Told { number: event.wd(), events: event.events(), name });
                }
                Err(Errno::WOULDBLOCK) if !told.is_empty() => return Ok(told),
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(told);
            }
        }
    }
}
