//! Naming: which records and rows a finding is about, by reading them again.
//!
//! ```text
//! finding: partition --hours that changed it--> records of the sources --function--> ids --+
//!                                                                                          +--> missing, extra, doubled
//!          the partition's files -----------------------------------------------> ids -----+
//! ```
//!
//! Slice by slice of the space of ids, in bounded memory, until enough are named. What of the sources is forgotten can't be
//! named, and is said.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use weir_ledger::{
    Balance, Difference, Fault, Finding, Hop, IDS_NAMED_MAX, NamedId, PlaceKey, Slice, Wrong, slices_of,
};
use weir_log::ReadError;
use weir_stream::{Page, digest};
use weir_table::Place;
use weir_types::{Hour, SequenceNumber};

use super::key_of;
use crate::node::Node;
use crate::pipeline::{Halt, Pipeline, Preparer, chain};

/// Ids of one slice: about 400 MB at most while it is compared.
const SLICE_IDS: u64 = 4_000_000;
/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Findings that are named. The others are counted all the same.
const NAMED_FINDINGS_MAX: usize = 50;

/// Why nothing could be named.
#[derive(Debug, thiserror::Error)]
enum Unnamed {
    #[error("{0}")]
    Halt(Halt),
    #[error(transparent)]
    Append(#[from] weir_table::AppendError),
    #[error(transparent)]
    File(#[from] weir_table::FileError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Block(#[from] weir_stream::BlockError),
    #[error("{0}")]
    Columns(String),
    #[error("more ids came in than a slice may hold; ask again")]
    Full,
}

impl From<Halt> for Unnamed {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// Records of one source.
#[derive(Debug, Clone, Copy)]
struct Range {
    source: usize,
    from: u64,
    to: u64,
}

impl Node {
    /// Names what the findings about tables are about.
    pub(super) async fn name_all(&self, balance: &mut Balance, unchecked: &mut Vec<String>) {
        let of_tables = balance.findings.iter_mut().filter(|finding| finding.hop == Hop::Table);
        for finding in of_tables.take(NAMED_FINDINGS_MAX) {
            let Some(pipeline) = self.pipelines().iter().find(|(name, _)| name.as_str() == finding.name) else {
                continue;
            };
            if let Err(error) = self.name(pipeline.1, finding, unchecked).await {
                unchecked.push(format!("{}: nothing could be named: {}", finding.what, chain(&error)));
            }
        }
    }

    async fn name(
        &self,
        pipeline: &Pipeline,
        finding: &mut Finding,
        unchecked: &mut Vec<String>,
    ) -> Result<(), Unnamed> {
        match (finding.fault, finding.place) {
            (Fault::Stock, Some(place)) => self.name_rows(pipeline, place, finding, unchecked).await,
            (Fault::Sums, _) => self.name_blocks(pipeline, finding).await,
            (Fault::Counts | Fault::Skipped | Fault::Rows, _) => self.name_records(pipeline, finding, unchecked).await,
            _ => Ok(()),
        }
    }

    /// Names the rows that a place lacks, has too much, or has twice.
    async fn name_rows(
        &self,
        pipeline: &Pipeline,
        place: PlaceKey,
        finding: &mut Finding,
        unchecked: &mut Vec<String>,
    ) -> Result<(), Unnamed> {
        if pipeline.table().spec().unique_by.is_empty() {
            return Ok(());
        }
        let commits = pipeline.table().commits();
        let stock = self.books().read(|ledger| {
            let book = ledger.tables.get(finding.name.as_str())?;
            Some(book.stock(commits)?.get(&place).copied().unwrap_or_default())
        });
        let stock = stock.unwrap_or_default();
        let ranges = match stock.first_hour.zip(stock.last_hour) {
            Some((first, last)) => self.ranges(pipeline, |_| true, |hour| (first..=last).contains(&hour)),
            None => Vec::new(),
        };
        let whole = self.is_whole(pipeline, &ranges) && !ranges.is_empty();
        if !whole {
            unchecked.push(format!(
                "partition {place} of table `{}`: its records are not all in the streams any more, so that of its rows only \
                 those can be named that are",
                finding.name
            ));
        }
        let files = pipeline.table().files_at(Place { day: place.0, hour: place.1, bucket: place.2 });
        let held: u64 = files.iter().filter_map(|file| file.rows).sum();
        let mut search = Search::new(pipeline)?;
        for slice in slices_of(stock.tally.count.max(held), SLICE_IDS) {
            let mut difference = Difference::new(3 * SLICE_IDS as usize);
            for file in &files {
                search.find(file.clone(), slice, &mut difference, |_, _| true).await?;
            }
            search.expect(&ranges, Some(place), slice, &mut difference, &mut HashSet::new()).await?;
            let left = IDS_NAMED_MAX.saturating_sub(finding.ids.len());
            let missing: HashSet<u128> = difference.missing().take(left).collect();
            search.name_missing(&ranges, Some(place), &missing, finding).await?;
            let doubled: HashSet<u128> = difference.doubled().take(left).collect();
            let extra: HashSet<u128> = difference.extra().take(if whole { left } else { 0 }).collect();
            search.name_found(&files, &doubled, &extra, finding).await?;
            if finding.ids.len() >= IDS_NAMED_MAX {
                finding.more = true;
                break;
            }
        }
        self.date(finding);
        Ok(())
    }

    /// Names the records of an hour whose rows are not in the table.
    async fn name_records(
        &self,
        pipeline: &Pipeline,
        finding: &mut Finding,
        unchecked: &mut Vec<String>,
    ) -> Result<(), Unnamed> {
        let (Some(source), Some(hour)) = (finding.source.clone(), finding.hour) else { return Ok(()) };
        if pipeline.table().spec().unique_by.is_empty() {
            return Ok(());
        }
        let ranges = self.ranges(pipeline, |log| log == source, |of| of == hour);
        if !self.is_whole(pipeline, &ranges) {
            unchecked.push(format!("records of {hour} in `{source}` are forgotten, so that they can't be named"));
            return Ok(());
        }
        // What is named by its place alone is named by its id now.
        let places_alone = std::mem::take(&mut finding.ids);
        let records: u64 = ranges.iter().map(|range| range.to - range.from).sum();
        let mut search = Search::new(pipeline)?;
        for slice in slices_of(records, SLICE_IDS) {
            let mut difference = Difference::new(3 * SLICE_IDS as usize);
            let mut places = HashSet::new();
            search.expect(&ranges, None, slice, &mut difference, &mut places).await?;
            for place in places {
                for file in pipeline.table().files_at(place) {
                    search.find(file, slice, &mut difference, Difference::expects).await?;
                }
            }
            let left = IDS_NAMED_MAX.saturating_sub(finding.ids.len());
            let missing: HashSet<u128> = difference.missing().take(left).collect();
            search.name_missing(&ranges, None, &missing, finding).await?;
            if finding.ids.len() >= IDS_NAMED_MAX {
                finding.more = true;
                break;
            }
        }
        if finding.ids.is_empty() {
            finding.ids = places_alone;
        }
        Ok(())
    }

    /// Names the blocks whose records don't add up to what their writer said.
    async fn name_blocks(&self, pipeline: &Pipeline, finding: &mut Finding) -> Result<(), Unnamed> {
        let (Some(source), Some(hour)) = (finding.source.clone(), finding.hour) else { return Ok(()) };
        for range in self.ranges(pipeline, |log| log == source, |of| of == hour) {
            let shard = pipeline.sources()[range.source].shard();
            let mut next = range.from.max(shard.bounds().head.0);
            while next < range.to {
                let page = shard.read(SequenceNumber(next), PAGE_BYTES).await?;
                if page.is_empty() {
                    break;
                }
                for block in page.blocks() {
                    let (first, records) = block?;
                    let (said, mut sum, mut end) = (records.digest_sum(), 0u128, first.0);
                    for record in records {
                        sum = sum.wrapping_add(digest(record?.body));
                        end += 1;
                    }
                    if said.is_some_and(|said| said != sum) {
                        finding.fault = Fault::Block;
                        finding.name_places(Wrong::Changed, first.0, end);
                    }
                }
                next = page.end().0;
            }
        }
        Ok(())
    }

    /// Returns the records of some sources and hours that the table has committed.
    fn ranges(&self, pipeline: &Pipeline, source: impl Fn(&str) -> bool, hour: impl Fn(Hour) -> bool) -> Vec<Range> {
        let positions = pipeline.table().positions();
        let mut ranges = Vec::new();
        self.books().read(|ledger| {
            for (index, from) in pipeline.sources().iter().enumerate() {
                let log = from.shard().log().name();
                let committed = positions.get(&from.source()).copied().unwrap_or(0);
                let Some(book) = ledger.shards.get(log).filter(|_| source(log.as_str())) else { continue };
                for (_, of) in book.hours.iter().filter(|(of, _)| hour(**of)) {
                    let to = of.end.min(committed);
                    if of.first < to {
                        ranges.push(Range { source: index, from: of.first, to });
                    }
                }
            }
        });
        ranges
    }

    fn is_whole(&self, pipeline: &Pipeline, ranges: &[Range]) -> bool {
        ranges.iter().all(|range| pipeline.sources()[range.source].shard().bounds().head.0 <= range.from)
    }

    /// Gives a finding its hour, if all that is named arrived in one, and says which in any case.
    fn date(&self, finding: &mut Finding) {
        let hours: Vec<Option<Hour>> = self.books().read(|ledger| {
            let hour_of = |id: &NamedId| {
                let book = ledger.shards.get(&id.log.as_ref()?.parse().ok()?)?;
                let sequence = id.sequence?;
                book.hours.iter().find(|(_, of)| (of.first..of.end).contains(&sequence)).map(|(hour, _)| *hour)
            };
            finding.ids.iter().map(hour_of).collect()
        });
        for (id, hour) in finding.ids.iter_mut().zip(&hours) {
            id.hour = *hour;
        }
        let mut known = hours.iter().flatten();
        if let Some(first) = known.next()
            && known.all(|hour| hour == first)
        {
            finding.hour = Some(*first);
        }
    }
}

/// Reads a table's sources and files again.
struct Search<'a> {
    pipeline: &'a Pipeline,
    preparer: Preparer,
}

impl<'a> Search<'a> {
    fn new(pipeline: &'a Pipeline) -> Result<Self, Unnamed> {
        let preparer = Preparer::new(pipeline.parts().clone()).map_err(|error| Unnamed::Columns(error.to_string()))?;
        Ok(Self { pipeline, preparer })
    }

    /// Reads the pages of a range that are still there, up to its end.
    async fn page(&self, range: Range, next: &mut u64) -> Result<Option<Page>, Unnamed> {
        let shard = self.pipeline.sources()[range.source].shard();
        loop {
            if *next >= range.to {
                return Ok(None);
            }
            match shard.read(SequenceNumber(*next), PAGE_BYTES).await {
                Ok(page) if page.is_empty() => return Ok(None),
                Ok(page) => {
                    let page = page.of_one_hour();
                    *next = page.end().0;
                    return Ok(Some(page));
                }
                Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. }) if to.0 > *next => *next = to.0,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes the ids that records should have led to.
    async fn expect(
        &mut self,
        ranges: &[Range],
        place: Option<PlaceKey>,
        slice: Slice,
        difference: &mut Difference,
        places: &mut HashSet<Place>,
    ) -> Result<(), Unnamed> {
        for range in ranges {
            let mut next = range.from;
            while let Some(page) = self.page(*range, &mut next).await? {
                let made = self.preparer.prepare(&self.pipeline.sources()[range.source], &page).await?;
                let Some(rows) = made.rows else { continue };
                for (at, id) in self.pipeline.table().identify(&rows)? {
                    if place.is_none_or(|place| place == key_of(at)) && slice.holds(id) {
                        places.insert(at);
                        difference.expect(id).map_err(|_| Unnamed::Full)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes those ids of a file that are wanted; one that can't be read has none.
    async fn find(
        &self,
        file: Arc<weir_table::DataFile>,
        slice: Slice,
        difference: &mut Difference,
        wanted: fn(&Difference, u128) -> bool,
    ) -> Result<(), Unnamed> {
        let Ok(mut keys) = self.pipeline.table().keys_of(file).await else { return Ok(()) };
        while let Ok(Some(keys)) = keys.try_next().await {
            for id in keys.ids.into_iter().filter(|id| slice.holds(*id)) {
                if wanted(difference, id) {
                    difference.find(id).map_err(|_| Unnamed::Full)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the records that missing ids come from, and names them.
    async fn name_missing(
        &mut self,
        ranges: &[Range],
        place: Option<PlaceKey>,
        missing: &HashSet<u128>,
        finding: &mut Finding,
    ) -> Result<(), Unnamed> {
        let mut left = missing.clone();
        for range in ranges {
            let mut next = range.from;
            while !left.is_empty()
                && let Some(page) = self.page(*range, &mut next).await?
            {
                let source = &self.pipeline.sources()[range.source];
                let (mut letters, mut counts) = (Vec::new(), weir_ledger::Counts::default());
                let (Some(batch), places) = self.preparer.decode(source, &page, &mut letters, &mut counts)? else {
                    continue;
                };
                let named = self.locate(&batch, place, &mut left).await?;
                for (index, id) in named {
                    finding.name_id(NamedId {
                        wrong: Wrong::Missing,
                        id,
                        log: Some(source.shard().log().name().to_string()),
                        sequence: Some(places[index].0),
                        hour: page.hour(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Returns which decoded records give the wanted ids, and the values of the id columns. Batches that give none of them are
    /// passed over, others are halved.
    async fn locate(
        &self,
        batch: &RecordBatch,
        place: Option<PlaceKey>,
        wanted: &mut HashSet<u128>,
    ) -> Result<Vec<(usize, String)>, Unnamed> {
        let mut found = Vec::new();
        let mut parts = vec![(0, batch.num_rows())];
        while let Some((from, to)) = parts.pop() {
            let Some(rows) = self.preparer.run(batch.slice(from, to - from)).await? else { continue };
            let ids = self.pipeline.table().identify(&rows)?;
            let hits: Vec<usize> = (0..ids.len())
                .filter(|row| wanted.contains(&ids[*row].1) && place.is_none_or(|place| place == key_of(ids[*row].0)))
                .collect();
            let is_plain = self.pipeline.parts().function.is_none();
            if hits.is_empty() {
                continue;
            }
            if is_plain || to - from == 1 {
                for row in hits {
                    if wanted.remove(&ids[row].1) {
                        let columns = &self.pipeline.table().spec().unique_by;
                        found.push((if is_plain { from + row } else { from }, values(&rows, row, columns)?));
                    }
                }
                continue;
            }
            let middle = from + (to - from) / 2;
            parts.extend([(middle, to), (from, middle)]);
        }
        Ok(found)
    }

    /// Names rows of files.
    async fn name_found(
        &self,
        files: &[Arc<weir_table::DataFile>],
        doubled: &HashSet<u128>,
        extra: &HashSet<u128>,
        finding: &mut Finding,
    ) -> Result<(), Unnamed> {
        let mut named: HashMap<u128, String> = HashMap::new();
        for file in files {
            let Ok(mut keys) = self.pipeline.table().keys_of(file.clone()).await else { continue };
            while let Ok(Some(keys)) = keys.try_next().await {
                for (row, id) in keys.ids.iter().enumerate() {
                    if (doubled.contains(id) || extra.contains(id)) && !named.contains_key(id) {
                        let columns = &self.pipeline.table().spec().unique_by;
                        named.insert(*id, values(&keys.columns, row, columns)?);
                    }
                }
            }
        }
        let in_order: BTreeMap<String, u128> = named.into_iter().map(|(id, text)| (text, id)).collect();
        for (text, id) in in_order {
            let wrong = if doubled.contains(&id) { Wrong::Doubled } else { Wrong::Extra };
            finding.name_id(NamedId { wrong, id: text, log: None, sequence: None, hour: None });
        }
        Ok(())
    }
}

/// Writes a row's id columns as a JSON object.
fn values(rows: &RecordBatch, row: usize, columns: &[String]) -> Result<String, Unnamed> {
    let failed = |error: arrow::error::ArrowError| Unnamed::Columns(error.to_string());
    let indices = columns.iter().map(|name| rows.schema().index_of(name)).collect::<Result<Vec<_>, _>>();
    let rows = rows.slice(row, 1).project(&indices.map_err(failed)?).map_err(failed)?;
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(&rows).and_then(|()| writer.finish()).map_err(failed)?;
    Ok(String::from_utf8_lossy(&out).trim_end().to_owned())
}
