//! Reads a store beside its writer: `anygate events`, `anygate trace` and the admin API use it.
//!
//! It reads in pieces, each a short read transaction, so that a slow consumer neither holds the writer's WAL nor memory. It
//! sees rows that were committed when it reached them; rows deleted meanwhile are passed over.
use super::{
    row::{COLUMNS, RowFault, to_event},
    schema::{BUSY_WAIT, OpenFault, check_version},
};
use rusqlite::{Connection, OpenFlags, named_params};
use schemas::Event;
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

/// Rows of one piece.
const ROWS_PER_PIECE: usize = 512;
/// Bytes of one piece; the row that crosses it is the last one.
const BYTES_PER_PIECE: usize = 4 << 20;

/// Which events; everything that is set must fit.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The trace, as 32 lower-case hex digits.
    pub trace_id: Option<String>,
    /// The attribute `id`.
    pub event_id: Option<String>,
    /// The attribute `source`.
    pub source: Option<String>,
    /// The attribute `type`.
    pub event_type: Option<String>,
    /// Received at this time or later, in nanoseconds since 1970.
    pub since_ns: Option<u64>,
    /// The newest so many of those that fit.
    pub limit: Option<usize>,
}

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// There is no such file.
    #[error("{0}: there is no store here yet")]
    Missing(PathBuf),
    /// SQLite cannot read it: damaged, no right, or another program's.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, String),
    /// A row is no event.
    #[error("{0}: the row with seq {1} cannot be read: {2}")]
    Row(PathBuf, i64, String),
}

/// A store, open for reading only.
pub struct StoreReader {
    connection: Connection,
    path: PathBuf,
}

impl StoreReader {
    /// Opens the file, also while a gateway writes it.
    ///
    /// # Errors
    /// [`StoreFault::Missing`], [`StoreFault::Unreadable`].
    pub fn open(path: impl AsRef<Path>) -> Result<StoreReader, StoreFault> {
        let path = path.as_ref().to_path_buf();
        if !path.exists() {
            return Err(StoreFault::Missing(path));
        }
        let unreadable = |fault: OpenFault| StoreFault::Unreadable(path.clone(), fault.to_string());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|error| unreadable(error.into()))?;
        connection.busy_timeout(BUSY_WAIT).map_err(|error| unreadable(error.into()))?;
        check_version(&connection).map_err(unreadable)?;
        Ok(StoreReader { connection, path })
    }

    /// Calls `each` for every event that fits, oldest first; with a limit, for the newest so many.
    ///
    /// # Errors
    /// [`StoreFault::Unreadable`] or [`StoreFault::Row`]; what came before was handed out.
    pub fn query(&self, filter: &Filter, each: &mut dyn FnMut(Event)) -> Result<(), StoreFault> {
        self.query_where(filter, &mut |_| true, each)
    }

    /// As [`StoreReader::query`], for the events for which `fits` says yes (a CESQL expression); the limit counts those only.
    ///
    /// # Errors
    /// As [`StoreReader::query`].
    pub fn query_where(
        &self,
        filter: &Filter,
        fits: &mut dyn FnMut(&Event) -> bool,
        each: &mut dyn FnMut(Event),
    ) -> Result<(), StoreFault> {
        let Some(limit) = filter.limit else {
            return self.scan(filter, &Scan::forward(0), &mut |_, event| {
                if fits(&event) {
                    each(event);
                }
                true
            });
        };
        // Newest first to find them, then forward again, so that only places are kept and not events.
        let mut found = VecDeque::new();
        self.scan(filter, &Scan::backward(), &mut |seq, event| {
            if found.len() < limit && fits(&event) {
                found.push_front(seq);
            }
            found.len() < limit
        })?;
        let (Some(first), Some(last)) = (found.front().copied(), found.back().copied()) else { return Ok(()) };
        self.scan(filter, &Scan::forward(first - 1), &mut |seq, event| {
            if found.front() == Some(&seq) {
                found.pop_front();
                each(event);
            } else {
                // Rows that were deleted since.
                while found.front().is_some_and(|next| *next < seq) {
                    found.pop_front();
                }
            }
            seq < last
        })
    }

    /// Hands out rows and their `seq` until there are none or `each` says stop.
    fn scan(&self, filter: &Filter, scan: &Scan, each: &mut dyn FnMut(i64, Event) -> bool) -> Result<(), StoreFault> {
        let mut from = scan.from;
        if scan.forward {
            from = from.max(self.before_since(filter)?);
        }
        loop {
            let piece = self.piece(filter, scan.forward, from)?;
            let Some((last, _)) = piece.last() else { return Ok(()) };
            from = *last;
            for (seq, event) in piece {
                if !each(seq, event) {
                    return Ok(());
                }
            }
        }
    }

    /// A `seq` below every row that was received since the filter's time, found by the index.
    fn before_since(&self, filter: &Filter) -> Result<i64, StoreFault> {
        let Some(since) = filter.since_ns else { return Ok(0) };
        let sql = "SELECT min(seq) FROM events WHERE received_ns >= ?1";
        let first: rusqlite::Result<Option<i64>> =
            self.connection.query_row(sql, [i64::try_from(since).unwrap_or(i64::MAX)], |row| row.get(0));
        Ok(first.map_err(|error| self.unreadable(&error))?.map_or(i64::MAX, |seq| seq - 1))
    }

    fn piece(&self, filter: &Filter, forward: bool, from: i64) -> Result<Vec<(i64, Event)>, StoreFault> {
        let mut statement =
            self.connection.prepare_cached(&sql(filter, forward)).map_err(|error| self.unreadable(&error))?;
        let since = filter.since_ns.map(|since| i64::try_from(since).unwrap_or(i64::MAX));
        let bound = named_params! {
            ":from": from,
            ":trace_id": filter.trace_id,
            ":event_id": filter.event_id,
            ":source": filter.source,
            ":type": filter.event_type,
            ":since": since,
        };
        let mut rows = statement.query(bound).map_err(|error| self.unreadable(&error))?;
        let mut piece = Vec::new();
        let mut bytes = 0;
        while bytes < BYTES_PER_PIECE
            && let Some(row) = rows.next().map_err(|error| self.unreadable(&error))?
        {
            let seq: i64 = row.get(0).map_err(|error| self.unreadable(&error))?;
            let event =
                to_event(row).map_err(|fault: RowFault| StoreFault::Row(self.path.clone(), seq, fault.to_string()))?;
            bytes += event.envelope.size();
            piece.push((seq, event));
        }
        Ok(piece)
    }

    fn unreadable(&self, error: &rusqlite::Error) -> StoreFault {
        StoreFault::Unreadable(self.path.clone(), error.to_string())
    }
}

struct Scan {
    forward: bool,
    from: i64,
}

impl Scan {
    fn forward(after: i64) -> Scan {
        Scan { forward: true, from: after }
    }

    fn backward() -> Scan {
        Scan { forward: false, from: i64::MAX }
    }
}

/// One condition per field that is set, so that SQLite can choose that field's index. Every parameter is named in each text
/// (`IS` with NULL costs nothing), because binding a name that a statement lacks is an error.
fn sql(filter: &Filter, forward: bool) -> String {
    let mut conditions = String::from(if forward { "seq > :from" } else { "seq < :from" });
    let fields = [
        (filter.trace_id.is_some(), "trace_id = :trace_id", ":trace_id"),
        (filter.event_id.is_some(), "id = :event_id", ":event_id"),
        (filter.source.is_some(), "source = :source", ":source"),
        (filter.event_type.is_some(), "type = :type", ":type"),
        (filter.since_ns.is_some(), "+received_ns >= :since", ":since"),
    ];
    for (set, condition, name) in fields {
        conditions.push_str(" AND ");
        if set {
            conditions.push_str(condition);
        } else {
            conditions.push_str(name);
            conditions.push_str(" IS NULL");
        }
    }
    let order = if forward { "ASC" } else { "DESC" };
    format!("SELECT {COLUMNS} FROM events WHERE {conditions} ORDER BY seq {order} LIMIT {ROWS_PER_PIECE}")
}
