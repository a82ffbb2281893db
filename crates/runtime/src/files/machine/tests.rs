use weir_types::{SequenceNumber, Timestamp};

use super::*;

const AT: At = At { sequence: SequenceNumber(0), time: Timestamp(0) };

fn name(text: &str) -> FilesName {
    text.parse().unwrap()
}

fn object(path: &str, etag: &str) -> Object {
    Object {
        modified: Timestamp(5),
        path: path.to_owned(),
        bytes: 7,
        etag: Some(etag.to_owned()),
        version: Some("v\"1".to_owned()),
    }
}

fn claim(files: &mut Files, block: &str, paths: &[&str]) -> Option<Claim> {
    let objects = paths.iter().map(|path| object(path, "1")).collect();
    files.apply(AT, Command::Claim { files: name(block), objects })
}

#[test]
fn a_claim_stays_open_until_it_is_done_and_marks_nothing_before() {
    let mut files = Files::default();
    let first = claim(&mut files, "in", &["a", "b", "c"]).unwrap();
    assert_eq!(first.number, 1);
    // Another one is not opened beside it.
    assert_eq!(claim(&mut files, "in", &["d"]).unwrap(), first);
    assert!(files.block(&name("in")).unwrap().marks.is_empty());
    // A claim that is not the open one closes nothing.
    let fates = vec![Fate::Taken; 3];
    let still = files.apply(AT, Command::Done { files: name("in"), number: 2, fates });
    assert_eq!(still, Some(first));
    let fates = vec![Fate::Taken, Fate::Failed, Fate::Gone];
    assert_eq!(files.apply(AT, Command::Done { files: name("in"), number: 1, fates }), None);
    let block = files.block(&name("in")).unwrap();
    assert_eq!((block.taken, block.failed, block.marks.len()), (1, 1, 2));
    assert!(block.knows(&object("a", "1")).is_some());
    assert!(block.knows(&object("b", "1")).is_some());
    assert!(block.knows(&object("c", "1")).is_none(), "what was gone is found again");
    assert!(block.knows(&object("a", "2")).is_none(), "another content is another object");
    let again = Object { modified: Timestamp(6), ..object("b", "1") };
    assert!(block.knows(&again).is_none(), "what failed and was written again is tried again");
    assert_eq!(claim(&mut files, "in", &["d"]).unwrap().number, 2);
    assert_eq!(claim(&mut files, "other", &["d"]).unwrap().number, 1, "blocks count apart");
}

#[test]
fn a_block_that_begins_late_passes_over_what_was_there_until_it_is_forgotten() {
    let mut files = Files::default();
    let mark = object("old", "1").mark();
    files.apply(AT, Command::Pass { files: name("in"), marks: vec![mark] });
    assert!(!files.block(&name("in")).unwrap().begun);
    files.apply(AT, Command::Begin { files: name("in") });
    let block = files.block(&name("in")).unwrap();
    assert!(block.begun && block.knows(&object("old", "1")).is_some());
    assert_eq!((block.taken, block.failed), (0, 0));
    files.apply(AT, Command::Forget { files: name("in"), marks: vec![mark] });
    assert!(files.block(&name("in")).unwrap().knows(&object("old", "1")).is_none());
}

#[test]
fn a_snapshot_restores_all_of_it_and_takes_sixteen_bytes_a_mark() {
    let mut files = Files::default();
    let marks: Vec<Mark> = (0..10_000u128).map(|number| Mark(number << 70 | number)).collect();
    files.apply(AT, Command::Pass { files: name("many"), marks });
    files.apply(AT, Command::Begin { files: name("many") });
    claim(&mut files, "in", &["a", "ü/b"]).unwrap();
    let snapshot = files.snapshot();
    assert!(snapshot.len() < 16 * 10_000 + 1000, "{}", snapshot.len());
    assert_eq!(Files::restore(&snapshot).unwrap(), files);
}

#[test]
fn a_snapshot_that_is_cut_or_of_another_version_is_refused() {
    let mut files = Files::default();
    claim(&mut files, "in", &["a"]).unwrap();
    files.apply(AT, Command::Pass { files: name("in"), marks: vec![Mark(1), Mark(2)] });
    let snapshot = files.snapshot();
    for length in 0..snapshot.len() {
        assert!(Files::restore(&snapshot[..length]).is_err(), "cut at {length}");
    }
    let mut newer = snapshot.clone();
    newer[0] = 2;
    let error = Files::restore(&newer).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    let mut longer = snapshot;
    longer.push(0);
    assert!(Files::restore(&longer).is_err());
}

#[test]
fn commands_read_back_as_they_were_written() {
    let commands = [
        Command::Begin { files: name("in") },
        Command::Pass { files: name("in"), marks: vec![Mark(7)] },
        Command::Claim { files: name("in"), objects: vec![object("a", "1")] },
        Command::Done { files: name("in"), number: 3, fates: vec![Fate::Taken, Fate::Gone, Fate::Failed] },
        Command::Forget { files: name("in"), marks: vec![Mark(u128::MAX)] },
    ];
    for command in commands {
        let text = serde_json::to_string(&command).unwrap();
        let back: Command = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}
