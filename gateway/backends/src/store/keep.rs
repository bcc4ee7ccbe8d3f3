//! Retention: deletes the oldest rows, by age and by size, in small transactions between those of the writer, and gives the
//! freed pages back to the file system. Never in the way for longer than one step.
use super::{Counts, StoreSettings};
use rusqlite::{Connection, params};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

/// How often the store looks when there is nothing to delete.
const PERIOD: Duration = Duration::from_secs(5);
/// Pause between two steps while there is more to delete: leaves the writer most of its time.
const PAUSE: Duration = Duration::from_millis(5);
/// Rows that one step may delete by age, and by size; after a burst by size as many as are too many.
const ROWS_PER_STEP: u64 = 500;
/// Writing this part of `max_size` calls for a look at once: how far the size may be exceeded between two steps.
const SHARE_BETWEEN_STEPS: u64 = 8;
/// Most pages (of 4 KiB) that one step gives back to the file system.
const PAGES_PER_STEP: u64 = 1024;
/// Free pages that may stay in the file, so that it does not shrink and grow all the time.
const FREE_PAGES_KEPT: u64 = 256;

/// When to look, and what to keep.
pub(crate) struct Keeper {
    keep: Duration,
    max_size: u64,
    /// When the next step is due.
    pub(crate) due: Instant,
    bytes_since: u64,
}

impl Keeper {
    pub(crate) fn new(settings: &StoreSettings, now: Instant) -> Keeper {
        Keeper { keep: settings.keep, max_size: settings.max_size, due: now, bytes_since: 0 }
    }

    /// Takes note of what was written.
    pub(crate) fn wrote(&mut self, bytes: u64, now: Instant) {
        self.bytes_since += bytes;
        if self.bytes_since > self.max_size / SHARE_BETWEEN_STEPS {
            self.due = self.due.min(now);
        }
    }

    /// Looks again after a while.
    pub(crate) fn later(&mut self, now: Instant) {
        // A store that keeps seconds, as tests and demos do, looks more often.
        self.due = now + PERIOD.min(self.keep / 4).max(PAUSE);
    }

    /// One bounded step.
    pub(crate) fn step(&mut self, connection: &mut Connection, counts: &Counts, now: Instant) -> rusqlite::Result<()> {
        self.bytes_since = 0;
        let by_age = delete_older(connection, self.keep)?;
        counts.deleted_by_age.fetch_add(by_age, Ordering::Relaxed);
        let by_size = delete_oldest(connection, self.max_size)?;
        counts.deleted_by_size.fetch_add(by_size, Ordering::Relaxed);
        let shrinking = shrink(connection)?;
        counts.bytes.store(used(connection)?, Ordering::Relaxed);
        if by_age == ROWS_PER_STEP || by_size > 0 || shrinking {
            self.due = now + PAUSE;
        } else {
            self.later(now);
        }
        Ok(())
    }
}

fn delete_older(connection: &Connection, keep: Duration) -> rusqlite::Result<u64> {
    let since = SystemTime::now().checked_sub(keep).and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    let Some(since) = since.and_then(|since| i64::try_from(since.as_nanos()).ok()) else { return Ok(0) };
    let sql =
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE received_ns < ?1 ORDER BY received_ns LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![since, i64::try_from(ROWS_PER_STEP).unwrap_or(i64::MAX)]).map(count)
}

/// Deletes about as many of the oldest rows as take the bytes above `max_size`, judged by the rows' mean size.
fn delete_oldest(connection: &Connection, max_size: u64) -> rusqlite::Result<u64> {
    let used = used(connection)?;
    let excess = used.saturating_sub(max_size);
    if excess == 0 {
        return Ok(0);
    }
    // At most: places of rows that are gone count too. The mean is then small, and too little is never deleted for long.
    let rows: Option<i64> =
        connection.prepare_cached("SELECT max(seq) - min(seq) + 1 FROM events")?.query_row([], |row| row.get(0))?;
    let Some(rows) = rows.and_then(|rows| u64::try_from(rows).ok()) else { return Ok(0) };
    let mean = (used / rows).max(1);
    let limit = i64::try_from(excess.div_ceil(mean)).unwrap_or(i64::MAX);
    let sql = "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?1)";
    connection.prepare_cached(sql)?.execute([limit]).map(count)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(&format!("PRAGMA {name}"))?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(|n| u64::try_from(n).unwrap_or(0))
}

/// Bytes that rows and indexes take: the file without its free pages.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")?.saturating_sub(pragma(connection, "freelist_count")?);
    Ok(pages * pragma(connection, "page_size")?)
}

/// Gives free pages back. `true` when there are more.
fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let free = pragma(connection, "freelist_count")?;
    if free <= FREE_PAGES_KEPT {
        return Ok(false);
    }
    let pages = (free - FREE_PAGES_KEPT).min(PAGES_PER_STEP);
    // Each step of the statement frees one page, so it must be run to its end.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(free - pages > FREE_PAGES_KEPT)
}
