//! SQLite's errors as outcomes: what to wait for, what is wrong with one event, what people must mend.
use super::schema::OpenFault;
use crate::{Outcome, Why};
use rusqlite::{Error, ErrorCode, ffi};
use schemas::Word;

/// What a failure means for what was being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk is full, the file is busy: wait.
    Wait(Why),
    /// This event cannot be a row.
    Event(Why),
    /// The file is damaged, foreign, or not ours to write: people must look.
    Place(Why),
    /// A sync failed: what reached the disk is unknown, and a later sync that succeeds would prove nothing.
    Sync(Why),
}

impl Fault {
    /// The outcome of an event that met this fault.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Fault::Wait(why) => Outcome::Retry(why.clone()),
            Fault::Event(why) => Outcome::Record(why.clone()),
            Fault::Place(why) | Fault::Sync(why) => Outcome::Destination(why.clone()),
        }
    }
}

impl From<OpenFault> for Fault {
    fn from(fault: OpenFault) -> Fault {
        match fault {
            OpenFault::Sqlite(error) => classify(&error),
            OpenFault::Folder(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Fault::Wait(Why::new(Word::StorageFull, error.to_string()))
            }
            OpenFault::Folder(error) => {
                Fault::Place(Why::new(Word::BackendUnavailable, format!("its folder cannot be made: {error}")))
            }
            newer @ OpenFault::Newer(_) => Fault::Place(Why::new(Word::BackendUnavailable, newer.to_string())),
        }
    }
}

/// Sorts an error of SQLite.
pub(crate) fn classify(error: &Error) -> Fault {
    let why = |word| Why::new(word, error.to_string());
    let Error::SqliteFailure(failure, _) = error else {
        // Errors of the wrapper (a NUL in a text, a wrong type) concern the one event that was bound.
        return Fault::Event(why(Word::Internal));
    };
    if matches!(failure.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) {
        return Fault::Sync(why(Word::BackendUnavailable));
    }
    match failure.code {
        ErrorCode::DiskFull => Fault::Wait(why(Word::StorageFull)),
        ErrorCode::TooBig => Fault::Event(why(Word::TooLarge)),
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::ParameterOutOfRange => Fault::Event(why(Word::Internal)),
        ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::AuthorizationForStatementDenied
        | ErrorCode::CannotOpen
        | ErrorCode::NoLargeFileSupport
        // A statement that does not fit the file's tables: somebody else's file, or a damaged schema.
        | ErrorCode::Unknown
        | ErrorCode::SchemaChanged => Fault::Place(why(Word::BackendUnavailable)),
        _ => Fault::Wait(why(Word::BackendUnavailable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> Fault {
        classify(&Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn codes() {
        assert!(matches!(sqlite(ffi::SQLITE_FULL), Fault::Wait(Why { word: Word::StorageFull, .. })));
        assert!(matches!(sqlite(ffi::SQLITE_IOERR_WRITE), Fault::Wait(Why { word: Word::BackendUnavailable, .. })));
        assert!(matches!(sqlite(ffi::SQLITE_BUSY), Fault::Wait(_)));
        assert!(matches!(sqlite(ffi::SQLITE_IOERR_FSYNC), Fault::Sync(_)));
        assert!(matches!(sqlite(ffi::SQLITE_CORRUPT), Fault::Place(_)));
        assert!(matches!(sqlite(ffi::SQLITE_NOTADB), Fault::Place(_)));
        assert!(matches!(sqlite(ffi::SQLITE_READONLY), Fault::Place(_)));
        assert!(matches!(sqlite(ffi::SQLITE_TOOBIG), Fault::Event(Why { word: Word::TooLarge, .. })));
        assert!(matches!(sqlite(ffi::SQLITE_CONSTRAINT), Fault::Event(_)));
    }
}
