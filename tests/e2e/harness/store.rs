//! The embedded store's file, read with SQLite itself and not with the gateway.
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;

/// One kept event.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub source: String,
    pub kind: String,
    pub subject: Option<String>,
    pub route: String,
    pub listener: String,
    pub trace_id: String,
    pub attributes: String,
    pub data: Vec<u8>,
}

/// All rows, oldest first.
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// Nothing, when the file is not there yet.
    pub fn read(data_dir: &Path, store: &str) -> Rows {
        let file = data_dir.join("store").join(format!("{store}.db"));
        let Ok(open) = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY) else {
            return Rows(Vec::new());
        };
        open.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        let columns =
            "SELECT id, source, type, subject, route, listener, trace_id, attributes, data FROM events ORDER BY seq";
        let Ok(mut query) = open.prepare(columns) else { return Rows(Vec::new()) };
        let rows = query.query_map([], |row| {
            Ok(Row {
                id: row.get(0)?,
                source: row.get(1)?,
                kind: row.get(2)?,
                subject: row.get(3)?,
                route: row.get(4)?,
                listener: row.get(5)?,
                trace_id: row.get(6)?,
                attributes: row.get(7)?,
                data: row.get(8)?,
            })
        });
        Rows(rows.unwrap().map(Result::unwrap).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|row| row.id.as_str()).collect()
    }

    #[track_caller]
    pub fn one(&self, id: &str) -> &Row {
        let found: Vec<&Row> = self.0.iter().filter(|row| row.id == id).collect();
        assert_eq!(found.len(), 1, "rows with the id {id}; there are {:?}", self.ids());
        found[0]
    }
}

impl Row {
    /// Extension attributes by name.
    pub fn extension(&self, name: &str) -> Option<String> {
        let all: Value = serde_json::from_str(&self.attributes).unwrap();
        all.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}
