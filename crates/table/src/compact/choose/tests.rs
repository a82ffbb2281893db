use arrow::datatypes::{DataType, Field, Schema};
use object_store::path::Path;

use super::*;
use crate::spec::PartitionBy;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn file(name: &str, size: u64, modified: i64) -> Arc<DataFile> {
    Arc::new(DataFile {
        location: Path::from(name),
        path: name.to_owned(),
        size,
        rows: Some(1),
        place: Place::default(),
        times: None,
        modified: Timestamp(modified),
    })
}

fn compacted(spec: &Spec, number: u64, size: u64, modified: i64) -> Arc<DataFile> {
    let generation = Generation { options: generation::options(spec), inputs: 7 };
    file(&format!("part-{number:032x}{}.parquet", generation.suffix()), size, modified)
}

/// By day, with a lookback of twelve hours.
fn spec() -> Spec {
    let columns = Arc::new(Schema::new(vec![Field::new("at", DataType::Int64, true)]));
    Spec {
        partition_by: PartitionBy::Day("at".into()),
        lookback: Some(Duration::from_secs(12 * 3600)),
        ..Spec::new("t".parse().unwrap(), columns)
    }
}

const PLACE: Place = Place { day: Some(0), hour: None, bucket: 0 };

fn due(files: &[Arc<DataFile>], spec: &Spec, now: i64) -> Option<(Work, usize)> {
    let due = at(PLACE, files, spec, Timestamp(now), |_| false, |_| false)?;
    Some((due.work, due.inputs.len()))
}

#[test]
fn eight_files_of_one_tier_are_merged_and_not_with_larger_ones() {
    let spec = spec();
    let mut files: Vec<_> = (0..7).map(|n| file(&format!("s{n}"), 1000, n)).collect();
    files.push(file("large", 5 << 20, 0));
    assert_eq!(due(&files, &spec, 10), None);
    files.push(file("s7", 1000, 7));
    let found = at(PLACE, &files, &spec, Timestamp(10), |_| false, |_| false).unwrap();
    assert_eq!((found.work, found.inputs.len()), (Work::Merge, 8));
    assert!(found.inputs.iter().all(|file| file.size == 1000));
}

#[test]
fn a_merge_is_no_larger_than_the_target_and_whole_files_are_left_alone() {
    let spec = Spec { target_file_bytes: 128 << 20, ..spec() };
    let files: Vec<_> = (0..20).map(|n| file(&format!("s{n}"), 40 << 20, n)).collect();
    assert_eq!(due(&files, &spec, 20), Some((Work::Merge, 3)));
    let files: Vec<_> = (0..20).map(|n| file(&format!("s{n}"), 64 << 20, n)).collect();
    assert_eq!(due(&files, &spec, 20), None);
}

#[test]
fn what_changed_within_the_lookback_is_rebuilt_after_the_interval_and_then_left_alone() {
    let spec = spec();
    let files = vec![file("a", 1000, 5 * HOUR), file("b", 1000, 6 * HOUR - 1)];
    assert_eq!(due(&files, &spec, 6 * HOUR - 1), None);
    assert_eq!(due(&files, &spec, 6 * HOUR), Some((Work::Rebuild, 2)));
    let mut files = vec![compacted(&spec, 1, 1000, 6 * HOUR), compacted(&spec, 2, 1000, 6 * HOUR)];
    assert_eq!(due(&files, &spec, 30 * HOUR), None, "nothing came since");
    files.push(file("c", 10, 6 * HOUR + 1));
    assert_eq!(due(&files, &spec, 7 * HOUR - 1), None);
    assert_eq!(due(&files, &spec, 7 * HOUR), Some((Work::Rebuild, 3)));
}

#[test]
fn a_partition_that_becomes_final_is_rebuilt_once_and_at_once() {
    let spec = spec();
    let end = DAY + 12 * HOUR;
    let files = vec![compacted(&spec, 1, 1 << 30, end - HOUR / 2), file("late", 10, end - 1)];
    assert_eq!(due(&files, &spec, end - 1), None);
    assert_eq!(due(&files, &spec, end), Some((Work::Rebuild, 2)));
    assert_eq!(due(&[compacted(&spec, 2, 1 << 30, end)], &spec, 100 * DAY), None);
}

#[test]
fn a_trickle_of_late_rows_does_not_rewrite_a_large_final_partition_every_interval() {
    let spec = spec();
    let end = DAY + 12 * HOUR;
    let files = vec![compacted(&spec, 1, 1 << 30, end), file("late", 1 << 20, end + HOUR)];
    assert_eq!(due(&files, &spec, end + 90 * HOUR), None);
    assert_eq!(due(&files, &spec, end + 100 * HOUR), Some((Work::Rebuild, 2)));
    let files = vec![compacted(&spec, 1, 1 << 30, end), file("much", 300 << 20, end + HOUR)];
    assert_eq!(due(&files, &spec, end + HOUR), Some((Work::Rebuild, 2)));
}

#[test]
fn small_files_are_merged_where_nothing_was_written_even_if_a_rebuild_waits() {
    let spec = spec();
    let end = DAY + 12 * HOUR;
    let mut files = vec![compacted(&spec, 1, 1 << 30, end)];
    files.extend((0..3).map(|n| file(&format!("late{n}"), 1000, end + n)));
    assert_eq!(due(&files, &spec, end + HOUR), None);
    assert_eq!(due(&files, &spec, end + HOUR + 3), Some((Work::Merge, 3)));
}

#[test]
fn other_settings_rebuild_what_is_open_and_not_what_is_final() {
    let before = spec();
    let files = vec![compacted(&before, 1, 1000, 0)];
    let spec = Spec { target_file_bytes: 1 << 20, ..spec() };
    assert_eq!(due(&files, &spec, HOUR), Some((Work::Rebuild, 1)));
    assert_eq!(due(&files, &spec, DAY + 12 * HOUR), None);
}

#[test]
fn a_single_file_is_looked_at_once() {
    let spec = spec();
    let files = [file("foreign", 1000, 0)];
    assert_eq!(due(&files, &spec, HOUR), Some((Work::Rebuild, 1)));
    assert!(at(PLACE, &files, &spec, Timestamp(HOUR), |_| true, |_| false).is_none());
}

#[test]
fn recent_partitions_and_many_files_come_first() {
    let (spec, now) = (spec(), Timestamp(10 * DAY));
    let files = |count: u64| (0..count).map(|n| file(&format!("f{n}"), 1000, 0)).collect::<Vec<_>>();
    let urgency = |day, count| {
        let place = Place { day: Some(day), ..PLACE };
        Due::new(place, Work::Rebuild, files(count), &spec, now).urgency
    };
    assert!(urgency(9, 10) > urgency(9, 5));
    assert!(urgency(9, 5) > urgency(5, 10));
    assert_eq!(urgency(9, 3), urgency(10, 3), "the day that goes on counts as one that just ended");
}

#[test]
fn while_a_place_is_rebuilt_new_small_files_of_it_are_merged() {
    let spec = spec();
    let mut files = vec![file("rebuilt", 1 << 20, 0)];
    files.extend((0..8).map(|n| file(&format!("s{n}"), 1000, n)));
    let is_busy = |file: &DataFile| file.path == "rebuilt";
    let found = at(PLACE, &files, &spec, Timestamp(2 * HOUR), |_| false, is_busy).unwrap();
    assert_eq!((found.work, found.inputs.len()), (Work::Merge, 8));
}
