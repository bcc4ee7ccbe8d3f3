//! Recovery's reading half: which segments there are, where each ends, what the last one holds. Writes nothing.

use std::{io, path::PathBuf};

use crate::{
    Notice, OpenError, Options,
    disk::{Disk, DiskFile, Open, read_up_to},
    format::{
        PAGE, PAGE64, Parsed,
        group::{Header as GroupHeader, Row},
        meta::{Meta, SLOT},
        segment::{self, Counts, Header, Sealed},
    },
    inner::meta_path,
    ring::{Blank, Segment, count},
    walk::{Found, Walk},
};

/// The valid meta slot with the higher generation, if there is one.
pub(super) fn read_meta<D: Disk>(disk: &D, options: &Options) -> Result<Option<Meta>, OpenError> {
    let mut best: Option<Meta> = None;
    let mut newer = None;
    for slot in 0..2 {
        let path = meta_path(options, slot);
        let bytes = match disk.open(&path, Open::Existing).and_then(|file| read_up_to(&file, 0, SLOT)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(OpenError::io(format!("read {}", path.display()))(e)),
        };
        match Meta::decode(&bytes) {
            Parsed::Good(meta) if best.as_ref().is_none_or(|best| best.generation < meta.generation) => {
                best = Some(meta);
            }
            Parsed::Good(_) | Parsed::Bad => {}
            Parsed::Newer(min_reader) => newer = Some((path, min_reader)),
        }
    }
    match newer {
        Some((path, min_reader)) => Err(OpenError::Version { path, min_reader }),
        None => Ok(best),
    }
}

/// One group as the scan found it.
#[derive(Clone, Copy, Debug)]
struct Scanned {
    header: GroupHeader,
    offset: u64,
}

/// The groups of a segment; the damage between them (offset, last LSN before, first LSN behind); the offset of a torn one.
type Scan = (Vec<Scanned>, Vec<(u64, u64, u64)>, Option<u64>);

/// The last group, with the events that survived.
#[derive(Debug)]
pub(super) struct LastGroup {
    pub header: GroupHeader,
    /// Per event: its row with the body, or `None` if it did not survive.
    pub events: Vec<Option<(Row, Vec<u8>)>>,
    pub lanes: Vec<u64>,
    /// Events that are there and do not verify (holes of an earlier recovery are not there).
    pub torn: u64,
}

impl LastGroup {
    /// Lanes and length of each event that survived.
    pub(super) fn kept(&self) -> impl Iterator<Item = (u64, u32)> {
        self.lanes.iter().zip(&self.events).filter_map(|(lanes, event)| Some((*lanes, event.as_ref()?.0.len())))
    }
}

/// What reading found.
pub(super) struct Survey<F> {
    /// In use, by number. The last one is where the log ends.
    pub segments: Vec<Segment<F>>,
    pub scrap: Vec<Blank<F>>,
    /// The last group of the last segment, if it has one.
    pub last: Option<LastGroup>,
    /// Where the last segment ends without that group.
    pub before_last: Option<Sealed>,
    /// What each lane had since the log began.
    pub entered: Counts,
    pub next_number: u64,
    /// Behind every LSN that was found.
    pub next: u64,
    pub notices: Vec<Notice>,
    pub torn: bool,
    pub corrupt_groups: u64,
    pub corrupt_events: u64,
}

struct Candidate<F> {
    blank: Blank<F>,
    /// The page is empty or that of an earlier use: no sign of damage.
    ready: bool,
    header: Option<Header>,
}

pub(super) struct Surveyor<'a, D: Disk> {
    pub disk: &'a D,
    pub options: &'a Options,
    pub seed: u32,
    pub size: u64,
}

impl<D: Disk> Surveyor<'_, D> {
    fn dir(&self) -> PathBuf {
        self.options.dir.join("journal")
    }

    fn candidates(&self) -> Result<Vec<Candidate<D::File>>, OpenError> {
        let dir = self.dir();
        let names = self.disk.list(&dir).map_err(OpenError::io(format!("list {}", dir.display())))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let mut found = Vec::new();
        for number in numbers {
            let path = dir.join(segment::name(number));
            let file =
                self.disk.open(&path, Open::Existing).map_err(OpenError::io(format!("open {}", path.display())))?;
            let page = read_up_to(&file, 0, PAGE).map_err(OpenError::io(format!("read {}", path.display())))?;
            let (header, ready) = match Header::decode(&page, self.seed) {
                Parsed::Good(header) if header.number == number => (Some(header), false),
                Parsed::Good(_) => (None, true),
                Parsed::Bad => (None, page.iter().all(|byte| *byte == 0)),
                Parsed::Newer(min_reader) => return Err(OpenError::Version { path, min_reader }),
            };
            found.push(Candidate { blank: Blank { number, file }, ready, header });
        }
        Ok(found)
    }

    /// Whether a group of the file's own number seems to begin where the first one would.
    fn begun(&self, blank: &Blank<D::File>) -> io::Result<bool> {
        let head = read_up_to(&blank.file, PAGE64, crate::format::group::HEADER)?;
        Ok(crate::format::group::peek(&head, blank.number).is_some())
    }

    /// All groups of a segment, the damage before the last of them, and whether something torn is behind it.
    fn scan(&self, number: u64, first: u64, file: &D::File) -> io::Result<Scan> {
        let mut walk = Walk::new(self.seed, number, first.saturating_sub(1));
        let end = self.size.min(file.len()?);
        let (mut groups, mut damage) = (Vec::new(), Vec::new());
        while let Some(found) = walk.next(file, end, |_| true)? {
            if let Some(offset) = found.damage {
                damage.push((offset, walk.seen, found.header.first));
            }
            walk.leave(&found);
            groups.push(Scanned { header: found.header, offset: found.offset });
        }
        let torn = match walk.damage() {
            Some(offset) => {
                let head = read_up_to(file, offset, crate::format::group::HEADER)?;
                crate::format::group::peek(&head, number).map(|_| offset)
            }
            None => None,
        };
        Ok((groups, damage, torn))
    }

    /// Headers are synced before the first group: a group of its own behind a bad header is damage, not a ready file.
    fn headless(&self, behind: &[Candidate<D::File>]) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for candidate in behind {
            if candidate.ready && !self.begun(&candidate.blank)? {
                break;
            }
            let (groups, ..) = self.scan(candidate.blank.number, 1, &candidate.blank.file)?;
            if groups.iter().all(|group| group.header.is_copy()) {
                break;
            }
            found.push(candidate.blank.number);
        }
        Ok(found)
    }

    /// Reads everything that a start needs to know.
    pub(super) fn survey(&self) -> Result<Survey<D::File>, OpenError> {
        let reading = || OpenError::io(format!("read {}", self.dir().display()));
        let mut candidates = self.candidates()?;
        let mut out = Survey {
            segments: Vec::new(),
            scrap: Vec::new(),
            last: None,
            before_last: None,
            entered: Counts::NONE,
            next_number: candidates.last().map_or(1, |c| c.blank.number + 1),
            next: 1,
            notices: Vec::new(),
            torn: false,
            corrupt_groups: 0,
            corrupt_events: 0,
        };
        let newest = candidates.iter().rposition(|c| c.header.is_some());
        let headless = self.headless(&candidates[newest.map_or(0, |at| at + 1)..]).map_err(reading())?;
        let table = match newest.and_then(|at| candidates[at].header.clone()) {
            Some(header) => header,
            None if headless.is_empty() => {
                out.scrap = candidates.into_iter().map(|c| c.blank).collect();
                return Ok(out);
            }
            None => self.lost_header(0),
        };
        let newest_number = table.number;
        for candidate in candidates.drain(..) {
            let number = candidate.blank.number;
            let named = table.sealed.iter().find(|sealed| sealed.number == number).copied();
            let in_use = named.is_some() || (number == newest_number && newest.is_some()) || headless.contains(&number);
            if !in_use {
                out.scrap.push(candidate.blank);
                continue;
            }
            if candidate.header.is_none() {
                out.notices.push(Notice::CorruptSegment { segment: number });
                out.corrupt_groups += 1;
            }
            let entered = candidate.header.as_ref().and_then(|header| header.entered.clone());
            let created = candidate.header.as_ref().map_or(0, |header| header.created);
            let resume = candidate.header.as_ref().map(|header| header.resume);
            let first = candidate.header.as_ref().map_or(1, |header| header.first);
            let about = named.unwrap_or(Sealed { number, first, last: first - 1, end: PAGE64, lanes: 0 });
            out.segments.push(Segment {
                file: std::sync::Arc::new(candidate.blank.file),
                about,
                resume: resume.unwrap_or(about.first),
                entered,
                created,
                sealed: true,
                keyed: true,
            });
        }
        out.entered = table.entered.map_or(Counts::NONE, |entered| *entered);
        out.next = table.resume;
        let from = out.segments.iter().position(|s| !table.sealed.iter().any(|row| row.number == s.about.number));
        let from = from.unwrap_or(out.segments.len());
        self.measure(&mut out, from).map_err(reading())?;
        Ok(out)
    }

    fn lost_header(&self, number: u64) -> Header {
        Header {
            uuid: [0; 16],
            number,
            first: 1,
            resume: 1,
            created: 0,
            size: self.size,
            entered: None,
            sealed: Vec::new(),
        }
    }

    /// Scans the segments from index `from` on, whose ends nobody names: the last one, and only after damage more.
    fn measure(&self, out: &mut Survey<D::File>, from: usize) -> io::Result<()> {
        let mut scans = Vec::new();
        for segment in &out.segments[from..] {
            scans.push(self.scan(segment.about.number, segment.about.first, &segment.file)?);
        }
        // A copy at the head of a headless segment replaces the groups that its predecessor ends with.
        for at in 1..scans.len() {
            let Some(head) = scans[at].0.first().map(|group| group.header.first) else { continue };
            scans[at - 1].0.retain(|group| group.header.first < head);
        }
        let count_of = scans.len();
        for (at, (groups, damage, torn)) in scans.into_iter().enumerate() {
            let is_last = at + 1 == count_of;
            let segment = &mut out.segments[from + at];
            let number = segment.about.number;
            if segment.entered.is_none()
                && let Some(first) = groups.first()
            {
                segment.about.first = first.header.first;
                segment.about.last = first.header.first - 1;
                segment.resume = first.header.first;
            }
            for (offset, seen, next) in damage {
                let from = (seen + 1).max(segment.about.first);
                let events =
                    if from < segment.resume && next >= segment.resume { next - segment.resume } else { next - from };
                out.corrupt_groups += 1;
                out.corrupt_events += events;
                out.notices.push(Notice::CorruptGroup { segment: number, offset, events });
            }
            if let (true, Some(offset)) = (is_last, torn) {
                out.torn = true;
                out.notices.push(Notice::TornTail { segment: number, offset });
            }
            for (index, group) in groups.iter().enumerate() {
                if is_last && index + 1 == groups.len() {
                    out.before_last = Some(segment.about);
                    let last = self.last_group(segment, group)?;
                    if last.torn > 0 {
                        out.torn = true;
                        out.notices.push(Notice::TornTail { segment: number, offset: group.offset });
                    }
                    add(&mut out.entered, last.kept());
                    out.last = Some(last);
                } else {
                    let lanes = self.lanes_of(segment, group)?;
                    add(&mut out.entered, lanes.into_iter());
                }
                segment.about.last = group.header.last();
                segment.about.end = group.offset + group.header.len() as u64;
                segment.about.lanes |= group.header.lanes;
                out.next = out.next.max(group.header.last() + 1);
            }
        }
        Ok(())
    }

    fn with_group<T>(
        &self,
        segment: &Segment<D::File>,
        group: &Scanned,
        work: impl FnOnce(&crate::format::group::Group<'_>) -> T,
    ) -> io::Result<T> {
        let mut walk = Walk::new(self.seed, segment.about.number, 0);
        walk.offset = group.offset;
        let end = group.offset + group.header.len() as u64;
        let found = walk.next(&*segment.file, end, |_| true)?;
        let changed = || io::Error::other("a group changed while it was being read");
        let found: Found = found.ok_or_else(changed)?;
        let (group, ..) = walk.group(&found).ok_or_else(changed)?;
        Ok(work(&group))
    }

    /// Per event its lanes and length; holes have none.
    fn lanes_of(&self, segment: &Segment<D::File>, group: &Scanned) -> io::Result<Vec<(u64, u32)>> {
        self.with_group(segment, group, |group| {
            (0..group.header.count as usize)
                .filter_map(|at| Some((group.lanes(at), group.row(at).filter(|row| !row.is_hole())?.len())))
                .collect()
        })
    }

    fn last_group(&self, segment: &Segment<D::File>, group: &Scanned) -> io::Result<LastGroup> {
        self.with_group(segment, group, |group| {
            let count = group.header.count as usize;
            let mut torn = 0;
            let mut event = |at: usize| {
                let row = group.row(at).filter(|row| !row.is_hole())?;
                let body = group.body(row);
                torn += u64::from(body.is_none());
                Some((row, body?.to_vec()))
            };
            let events = (0..count).map(&mut event).collect();
            LastGroup { header: group.header, events, torn, lanes: (0..count).map(|at| group.lanes(at)).collect() }
        })
    }
}

fn add(entered: &mut Counts, events: impl Iterator<Item = (u64, u32)>) {
    for share in count(events) {
        entered.events[share.lane] += share.events;
        entered.bytes[share.lane] += share.bytes;
    }
}
