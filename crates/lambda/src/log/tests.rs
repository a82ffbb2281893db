use std::io::Write;

use super::*;

fn entry(text: &str) -> Entry<'_> {
    let request_id = Some(if text.len().is_multiple_of(2) { "even" } else { "odd" }.into());
    Entry { time: Timestamp(7), request_id, version: 1, source: Source::Stdout, text: text.into() }
}

fn texts(log: &FunctionLog, query: &LogQuery) -> Vec<String> {
    log.read(query).unwrap().into_iter().map(|line| line.text).collect()
}

#[test]
fn the_last_lines_survive_a_restart_and_half_a_line_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = FunctionLog::open(folder.path().join("score")).unwrap();
    log.append(["a", "bb", "ccc"].map(entry));
    drop(log);
    let file = path(&folder.path().join("score"), 1);
    OpenOptions::new().append(true).open(file).unwrap().write_all(b"{\"t\":1,\"v\":1,\"s\":\"std").unwrap();
    let log = FunctionLog::open(folder.path().join("score")).unwrap();
    log.append([entry("dddd")]);
    assert_eq!(texts(&log, &LogQuery { lines_max: 3, ..LogQuery::default() }), ["bb", "ccc", "dddd"]);
    let even = LogQuery { request_id: Some("even".to_owned()), ..LogQuery::default() };
    assert_eq!(texts(&log, &even), ["bb", "dddd"]);
    assert!(texts(&log, &LogQuery { lines_max: 0, ..LogQuery::default() }).is_empty());
}

#[test]
fn a_follower_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let log = FunctionLog::open(folder.path().to_owned()).unwrap();
    let start = log.end();
    let mut follow = log.follow();
    log.append(["a", "b"].map(entry));
    assert!(follow.has_changed().unwrap());
    let first = log.read(&LogQuery { after: Some(start), lines_max: 1, ..LogQuery::default() }).unwrap();
    assert_eq!(first[0].text, "a");
    let rest = LogQuery { after: Some(first[0].next), ..LogQuery::default() };
    assert_eq!(texts(&log, &rest), ["b"]);
    assert_eq!(*follow.borrow_and_update(), log.end());
}

#[test]
fn old_files_go_and_a_follower_that_was_too_slow_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = FunctionLog::open(folder.path().to_owned()).unwrap();
    let start = log.end();
    let long = "x".repeat(1 << 20);
    for number in 0..(LOG_FILES_MAX + 2) * 8 {
        log.append([entry(&format!("{number} {long}"))]);
    }
    let files = numbers(folder.path()).unwrap();
    assert_eq!(files.len(), LOG_FILES_MAX);
    let bytes: u64 = files.iter().map(|number| path(folder.path(), *number).metadata().unwrap().len()).sum();
    assert!(bytes <= LOG_FILES_MAX as u64 * LOG_FILE_BYTES_MAX);
    let slow = log.read(&LogQuery { after: Some(start), lines_max: 1, ..LogQuery::default() }).unwrap();
    assert!(!slow[0].text.starts_with("0 "));
}
