//! Files of a lookup: one, a folder of them, or those that match a pattern; on the disk or in an object store.
//!
//! Invariant: a file is read as it was listed, or not at all.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;
use weir_types::{Glob, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use crate::error::LoadError;

/// Files of one lookup.
pub(crate) const FILES_MAX: usize = 10_000;

/// A file this young may change again without its time telling so.
const YOUNG_MS: i64 = 2000;

/// How rows stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header, then rows.
    Csv,
    /// An object per line.
    Ndjson,
    /// Parquet.
    Parquet,
}

impl Format {
    /// Returns its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    /// Tells a file's format by its name's ending.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Where a lookup's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// One file; or a folder, which ends in `/`.
    pub location: Url,
    /// Which files of the folder are meant; none: `location` is one file.
    pub pattern: Option<String>,
    /// How rows stand in them; none: as their endings say.
    pub format: Option<Format>,
    /// CSV: the text that means null, besides the empty one.
    pub null_text: Option<String>,
}

/// A text that is no place of files.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Not a URL, or a path that is none.
    #[error("`{text}` is no URL and no path")]
    Text {
        /// The text.
        text: String,
    },
    /// A URL of something that is no store.
    #[error("`{location}` is no place of files that weir knows")]
    Store {
        /// The URL.
        location: Url,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

impl Files {
    /// Reads a URL, or a path relative to `dir`. A `*` makes a pattern of what is behind the last `/` before it; a `/` at
    /// the end, or a folder that is there, means all files below whose ending says a format.
    ///
    /// # Errors
    /// [`LocationError::Text`].
    pub fn parse(text: &str, dir: &Path) -> Result<Self, LocationError> {
        let (base, pattern) = match text.find('*') {
            Some(star) => {
                let from = text[..star].rfind('/').map_or(0, |slash| slash + 1);
                (&text[..from], Some(text[from..].to_owned()))
            }
            None => (text, text.ends_with('/').then(|| "**".to_owned())),
        };
        let wrong = || LocationError::Text { text: text.to_owned() };
        if base.contains("://") {
            let location = Url::parse(base).map_err(|_| wrong())?;
            return Ok(Self { location, pattern, format: None, null_text: None });
        }
        let path = std::path::absolute(dir.join(base)).map_err(|_| wrong())?;
        if pattern.is_none() && !path.is_dir() {
            return Self::at_path(&path);
        }
        let location = plain(Url::from_directory_path(&path).map_err(|()| wrong())?).map_err(|_| wrong())?;
        let pattern = pattern.or_else(|| Some("**".to_owned()));
        Ok(Self { location, pattern, format: None, null_text: None })
    }

    /// One file on the disk.
    ///
    /// # Errors
    /// [`LocationError::Text`], if the path is not absolute.
    pub fn at_path(path: &Path) -> Result<Self, LocationError> {
        let wrong = || LocationError::Text { text: path.display().to_string() };
        let location = plain(Url::from_file_path(path).map_err(|()| wrong())?).map_err(|_| wrong())?;
        Ok(Self { location, pattern: None, format: None, null_text: None })
    }

    /// Tells whether the files are on this machine's disk.
    pub fn is_local(&self) -> bool {
        self.location.scheme() == "file"
    }
}

/// Takes `..` out of a location, which stores refuse.
fn plain(location: Url) -> Result<Url, url::ParseError> {
    Url::parse(location.as_str())
}

/// The path of what is on the disk, and the URL of everything else; with the pattern. A URL's query may hold a key, and
/// is left out.
impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location.to_file_path() {
            Ok(path) if self.is_local() => {
                write!(f, "{}", path.display())?;
                if self.pattern.is_some() && !path.as_os_str().to_string_lossy().ends_with('/') {
                    f.write_str("/")?;
                }
            }
            _ => {
                let mut shown = self.location.clone();
                shown.set_query(None);
                write!(f, "{shown}")?;
            }
        }
        f.write_str(self.pattern.as_deref().unwrap_or_default())
    }
}

/// What tells a state of files from others: their paths, sizes, times and ETags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u128);

/// A file that is there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// As errors name it.
    pub(crate) place: String,
    meta: ObjectMeta,
}

/// The files of a lookup at one moment.
pub(crate) struct Listing {
    store: Arc<dyn ObjectStore>,
    pub(crate) found: Vec<Found>,
}

impl Listing {
    /// Looks which files are there, in the order of their paths.
    ///
    /// # Errors
    /// If there is none, or the store fails.
    pub(crate) async fn of(files: &Files) -> Result<Self, LoadError> {
        let (store, path) = open(files)?;
        let place = files.to_string();
        let failed = |source| read_error(place.clone(), source);
        let Some(pattern) = &files.pattern else {
            let meta = store.head(&path).await.map_err(failed)?;
            return Ok(Self { store, found: vec![Found { place, meta }] });
        };
        let glob = Glob::new(pattern);
        let mut found = Vec::new();
        let mut list = store.list(Some(&path));
        while let Some(meta) = list.try_next().await.map_err(failed)? {
            let Some(below) = meta.location.prefix_match(&path) else { continue };
            let below = below.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            let hidden = below.split('/').any(|part| part.starts_with(['.', '_']));
            // A folder may hold a README beside its tables.
            let meant = files.format.is_some() || pattern != "**" || Format::of_name(&below).is_some();
            if below.is_empty() || hidden || !meant || !glob.matches(&below) {
                continue;
            }
            if found.len() == FILES_MAX {
                return Err(LoadError::TooManyFiles { place, files_max: FILES_MAX });
            }
            let folder = Files { pattern: None, ..files.clone() }.to_string();
            found.push(Found { place: format!("{}/{below}", folder.trim_end_matches('/')), meta });
        }
        drop(list);
        if found.is_empty() {
            return Err(LoadError::NoFiles { place });
        }
        found.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        Ok(Self { store, found })
    }

    /// Returns what tells this state from others; `None` if a file is so young that it may change unnoticed.
    pub(crate) fn stamp(&self, now: Timestamp) -> Option<Stamp> {
        let mut hash = Xxh3::new();
        for Found { meta, .. } in &self.found {
            let micros = meta.last_modified.timestamp_micros();
            if is_young(meta, now) {
                return None;
            }
            let etag = meta.e_tag.as_deref().unwrap_or_default();
            for part in [meta.location.as_ref(), etag, &format!("{} {micros}", meta.size)] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        Some(Stamp(hash.digest128()))
    }

    /// Reads a file whole, as it was listed.
    ///
    /// # Errors
    /// If it is larger than `bytes_max`, has changed, or can't be read.
    pub(crate) async fn read(&self, found: &Found, bytes_max: u64) -> Result<Bytes, LoadError> {
        let failed = |source| read_error(found.place.clone(), source);
        if found.meta.size > bytes_max {
            return Err(LoadError::TooLarge { place: found.place.clone(), bytes_max });
        }
        let options = GetOptions { if_match: found.meta.e_tag.clone(), ..GetOptions::default() };
        let result = self.store.get_opts(&found.meta.location, options).await.map_err(failed)?;
        let bytes = result.bytes().await.map_err(failed)?;
        // A writer that overwrites in place leaves a mixture, which only a second look tells.
        let after = self.store.head(&found.meta.location).await.map_err(failed)?;
        let same = after.size == found.meta.size
            && after.e_tag == found.meta.e_tag
            && after.last_modified == found.meta.last_modified;
        if !same || bytes.len() as u64 != found.meta.size {
            let source = io::Error::other("it changed while it was read");
            return Err(LoadError::Read { place: found.place.clone(), source });
        }
        Ok(bytes)
    }
}

/// Local ETags are made of the time, whose steps may be as long as a write takes. Without an ETag there is the time alone, by
/// somebody else's clock.
fn is_young(meta: &ObjectMeta, now: Timestamp) -> bool {
    let age = now.0.saturating_sub(meta.last_modified.timestamp_millis());
    age < YOUNG_MS && (age >= 0 || meta.e_tag.is_none())
}

fn open(files: &Files) -> Result<(Arc<dyn ObjectStore>, ObjectPath), LocationError> {
    let refused = |source| LocationError::Store { location: files.location.clone(), source };
    if files.is_local() {
        let text = || LocationError::Text { text: files.location.to_string() };
        let path = files.location.to_file_path().map_err(|()| text())?;
        let path = ObjectPath::from_absolute_path(path).map_err(|source| refused(source.into()))?;
        return Ok((Arc::new(LocalFileSystem::new()), path));
    }
    // Whoever writes `http` means it.
    let plain = (files.location.scheme() == "http").then(|| ("allow_http".to_owned(), "true".to_owned()));
    let options = std::env::vars().chain(plain);
    let (store, path) = object_store::parse_url_opts(&files.location, options).map_err(refused)?;
    Ok((Arc::from(store), path))
}

fn read_error(place: String, source: object_store::Error) -> LoadError {
    match source {
        object_store::Error::NotFound { .. } => {
            LoadError::Read { place, source: io::Error::from(io::ErrorKind::NotFound) }
        }
        object_store::Error::Precondition { .. } => {
            LoadError::Read { place, source: io::Error::other("it changed while it was read") }
        }
        source => LoadError::Store { place, source },
    }
}

/// Unpacks gzip and zstd, which are told by their first bytes; anything else is as it is.
pub(crate) fn unpack(place: &str, bytes: Bytes, bytes_max: u64) -> Result<Bytes, LoadError> {
    let failed = |source| LoadError::Unpack { place: place.to_owned(), source };
    let mut unpacked = Vec::new();
    match &*bytes {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(&*bytes).take(bytes_max + 1).read_to_end(&mut unpacked),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::new(&*bytes).map_err(failed)?;
            decoder.take(bytes_max + 1).read_to_end(&mut unpacked)
        }
        _ => return Ok(bytes),
    }
    .map_err(failed)?;
    match unpacked.len() as u64 > bytes_max {
        true => Err(LoadError::TooLarge { place: place.to_owned(), bytes_max }),
        false => Ok(unpacked.into()),
    }
}

#[cfg(test)]
mod tests;
