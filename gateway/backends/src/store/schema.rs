//! The store's file: how it is opened for writing, its table and its indexes. Tested through the store itself.
use rusqlite::{Connection, OpenFlags};
use std::{path::Path, time::Duration};

/// Version of the table, as `PRAGMA user_version` tells it. A later version may only add columns with defaults.
pub(crate) const VERSION: i64 = 1;

/// How long a statement waits for a lock: only a foreign writer or a checkpoint by a leaving reader can hold one.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// `auto_vacuum` must come before the first table, and the journal mode is kept in the file. The cache grows to 8 MiB at most.
const PRAGMAS: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -8192;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
";

const TABLE: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        lsn INTEGER UNIQUE,
        id TEXT NOT NULL,
        source TEXT NOT NULL,
        type TEXT NOT NULL,
        subject TEXT,
        time TEXT,
        datacontenttype TEXT,
        dataschema TEXT,
        received_ns INTEGER NOT NULL,
        trace_id TEXT NOT NULL,
        span_id TEXT NOT NULL,
        trace_flags INTEGER NOT NULL,
        listener TEXT NOT NULL,
        principal TEXT NOT NULL,
        tenant TEXT NOT NULL,
        door_subject TEXT NOT NULL,
        route TEXT NOT NULL,
        ack TEXT NOT NULL,
        attributes TEXT NOT NULL,
        headers TEXT NOT NULL,
        data BLOB NOT NULL,
        data_hash INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS events_identity ON events (id, source, data_hash);
    CREATE INDEX IF NOT EXISTS events_source ON events (source);
    CREATE INDEX IF NOT EXISTS events_type ON events (type);
    CREATE INDEX IF NOT EXISTS events_trace ON events (trace_id);
    CREATE INDEX IF NOT EXISTS events_received ON events (received_ns);
    PRAGMA user_version = 1;
    COMMIT;
";

/// Why a file cannot be opened as a store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFault {
    /// SQLite refused.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The folder cannot be made.
    #[error("its folder cannot be made: {0}")]
    Folder(#[from] std::io::Error),
    /// The file was written by a later version.
    #[error(
        "its table has version {0}; this program knows versions up to {VERSION}: use a newer anygate or another file"
    )]
    Newer(i64),
}

/// Opens or makes the file for the one writer.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, OpenFault> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    check_version(&connection)?;
    connection.execute_batch(PRAGMAS)?;
    connection.execute_batch(TABLE)?;
    // The statements of one transaction, prepared once.
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// Refuses a file of a later version.
pub(crate) fn check_version(connection: &Connection) -> Result<(), OpenFault> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION { Err(OpenFault::Newer(version)) } else { Ok(()) }
}
