//! Which files are meant: files, folders with all below, and patterns.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use weir_types::Glob;

use super::Format;

/// Files of one command.
const FILES_MAX: usize = 1_000_000;

/// A file that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub format: Format,
    pub bytes: u64,
}

/// Finds the files, each once, in the order of their paths.
pub fn files(named: &[PathBuf], format: Option<Format>) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in named {
        let before = found.len();
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk(path, &mut |file, name| take(file, name, format, &mut found))?,
            Ok(metadata) => {
                let format = format.or_else(|| Format::by_name(&path.to_string_lossy())).with_context(|| {
                    format!(
                        "the form of `{}` can't be told from its name: say --format ndjson, json, csv, avro or parquet",
                        path.display()
                    )
                })?;
                found.push(Found { path: path.clone(), format, bytes: metadata.len() });
            }
            Err(error) => {
                let Some((base, pattern)) = pattern(path) else {
                    return Err(error).with_context(|| format!("open `{}`", path.display()));
                };
                walk(&base, &mut |file, name| {
                    if pattern.matches(name) { take(file, name, format, &mut found) } else { Ok(()) }
                })?;
            }
        }
        if found.len() == before {
            bail!("`{}` has no files of a known form; --format says which form they have", path.display());
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Takes a file of a folder, if its form is known.
fn take(file: &Path, name: &str, format: Option<Format>, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let Some(format) = format.or_else(|| Format::by_name(name)) else { return Ok(()) };
    if found.len() == FILES_MAX {
        bail!("there are more than {FILES_MAX} files; name fewer folders at once");
    }
    let bytes = std::fs::metadata(file).with_context(|| format!("open `{}`", file.display()))?.len();
    found.push(Found { path: file.to_owned(), format, bytes });
    Ok(())
}

/// Splits a path with `*` or `?` in it into the folder before, and the pattern below that.
fn pattern(path: &Path) -> Option<(PathBuf, Glob)> {
    let text = path.to_str()?;
    let first = text.find(['*', '?'])?;
    let cut = text[..first].rfind('/').map_or(0, |slash| slash + 1);
    let base = if cut == 0 { PathBuf::from(".") } else { PathBuf::from(&text[..cut]) };
    Some((base, Glob::new(&text[cut..])))
}

/// Visits all files below a folder, with their names relative to it. What begins with a dot or an underscore is somebody's own:
/// a log, a temporary file.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        let entries = std::fs::read_dir(&next).with_context(|| format!("list `{}`", next.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("list `{}`", next.display()))?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let path = entry.path();
            // A link to a folder is not followed: it may lead back.
            let kind = entry.file_type().with_context(|| format!("open `{}`", path.display()))?;
            if kind.is_dir() {
                waiting.push(path);
            } else if path.is_file() {
                let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                visit(&path, &relative)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_patterns_name_files_of_known_forms_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::create_dir_all(at("_delta_log")).unwrap();
        for name in ["a/1.csv", "a/b/2.ndjson.gz", "a/b/3.parquet", "a/b/notes.txt", "_delta_log/0.json", "a/.4.csv"] {
            std::fs::write(at(name), b"x").unwrap();
        }
        let names = |named: &[PathBuf], format| -> Vec<String> {
            let found = files(named, format).unwrap();
            found.iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&[folder.path().to_owned()], None), ["1.csv", "2.ndjson.gz", "3.parquet"]);
        assert_eq!(names(&[at("a/1.csv"), at("a")], None), ["1.csv", "2.ndjson.gz", "3.parquet"]);
        assert_eq!(names(&[at("**/*.parquet")], None), ["3.parquet"]);
        assert_eq!(names(&[at("a/*.csv")], None), ["1.csv"]);
        assert_eq!(names(&[at("a/b/*")], Some(Format::Csv)), ["2.ndjson.gz", "3.parquet", "notes.txt"]);
        assert!(files(&[at("none.csv")], None).unwrap_err().to_string().contains("none.csv"));
        assert!(files(&[at("a/b/notes.txt")], None).unwrap_err().to_string().contains("--format"));
        assert!(files(&[at("*.csv")], None).unwrap_err().to_string().contains("has no files"));
    }
}
