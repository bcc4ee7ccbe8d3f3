//! The store from outside: what it promises, over real files.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use backends::{
    Backend as _, Outcome,
    store::{Filter, Store, StoreFault, StoreReader, StoreSettings},
};
use common::{event, event_with, events, offset, until};
use schemas::{Event, Kind, Word};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

fn figure(store: &Store, name: &str) -> f64 {
    store.figures().into_iter().find(|(found, _)| *found == name).unwrap().1
}

fn read(path: &Path, filter: &Filter) -> Vec<Event> {
    let mut found = Vec::new();
    StoreReader::open(path).unwrap().query(filter, &mut |event| found.push(event)).unwrap();
    found
}

fn ids(found: &[Event]) -> Vec<&str> {
    found.iter().map(|event| event.envelope.id()).collect()
}

#[tokio::test]
async fn an_event_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store/main.db");
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    let attributes = [
        ("subject", "s/1", Kind::String),
        ("time", "2026-01-01T00:00:00Z", Kind::String),
        ("datacontenttype", "application/json", Kind::String),
        ("dataschema", "urn:x", Kind::String),
        ("zeta", "quote \" and ünïcode", Kind::String),
        ("count", "-5", Kind::Integer),
        ("alpha", "true", Kind::Boolean),
        ("digits", "5", Kind::String),
    ];
    let sent = event_with(77, "a", &attributes, vec![0, 255, 1]);
    assert_eq!(offset(&store.deliver(events([sent.clone()])).await[0]), 1);
    let found = read(&path, &Filter::default());
    assert_eq!(found.len(), 1);
    let got = &found[0];
    assert_eq!(got.envelope, sent.envelope);
    assert_eq!((got.lsn, &got.door, &got.headers), (77, &sent.door, &sent.headers));
    assert_eq!(
        (got.received_ns(), got.trace, &got.route, got.level),
        (sent.received_ns(), sent.trace, &sent.route, sent.level)
    );
    assert_eq!(got.key, sent.key);
    store.close().await;
    assert_eq!(store.deliver(events([sent])).await.len(), 1, "a closed store still answers every event");
}

#[tokio::test]
async fn same_is_one_row_and_other_data_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    let first = store.deliver(events([event(1, "a", "x"), event(2, "b", "x"), event(3, "a", "x")])).await;
    assert_eq!(
        first.iter().map(offset).collect::<Vec<_>>(),
        [1, 2, 1],
        "same source, id and data: one row, also within a call"
    );
    let again = store.deliver(events([event(1, "a", "x"), event(2, "b", "x")])).await;
    assert_eq!(again.iter().map(offset).collect::<Vec<_>>(), [1, 2], "offered again: the same rows");
    let other = store.deliver(events([event(4, "a", "y"), event(0, "never-journaled", "")])).await;
    assert_eq!(other.iter().map(offset).collect::<Vec<_>>(), [3, 4]);
    let moved = event_with(5, "a", &[("source", "/elsewhere", Kind::String)], "x");
    assert_eq!(offset(&store.deliver(events([moved])).await[0]), 5, "another source is another event");
    // The journal began anew while the store was kept: nothing may be taken for an old row by its LSN alone.
    let reborn = store.deliver(events([event(1, "new", "z"), event(1, "new", "z")])).await;
    assert_eq!(reborn.iter().map(offset).collect::<Vec<_>>(), [7, 7]);
    assert_eq!(figure(&store, "store_rows_written_total"), 6.0);
    assert_eq!(figure(&store, "store_rows_same_total"), 4.0);
    assert_eq!(figure(&store, "store_id_reused_total"), 1.0);
    assert_eq!(figure(&store, "store_lsn_reused_total"), 1.0);
    let found = read(&path, &Filter::default());
    assert_eq!(ids(&found), ["a", "b", "a", "never-journaled", "a", "new"]);
    assert_eq!(found.iter().map(|event| event.lsn).collect::<Vec<_>>(), [1, 2, 4, 0, 5, 0]);
    store.close().await;
}

#[tokio::test]
async fn filters_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    // More than one piece of the reader.
    let all: Vec<Event> = (1..=1500u64)
        .map(|n| {
            let kind = if n % 2 == 0 { "even" } else { "odd" };
            let mut event = event_with(n, &format!("e{n}"), &[("type", kind, Kind::String)], "d");
            event.received = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000 + n);
            event.trace.trace_id[0] = u8::try_from(n % 100).unwrap();
            event
        })
        .collect();
    store.deliver(events(all.clone())).await;
    assert_eq!(read(&path, &Filter::default()).len(), 1500);
    let newest = read(&path, &Filter { limit: Some(3), ..Filter::default() });
    assert_eq!(ids(&newest), ["e1498", "e1499", "e1500"], "the newest, oldest of them first");
    let newest = read(&path, &Filter { limit: Some(700), event_type: Some("odd".into()), ..Filter::default() });
    assert_eq!((newest.len(), newest[0].envelope.id(), newest[699].envelope.id()), (700, "e101", "e1499"));
    assert!(read(&path, &Filter { limit: Some(0), ..Filter::default() }).is_empty());
    let since = Filter { since_ns: Some(4_000_001_499 * 1_000_000_000), ..Filter::default() };
    assert_eq!(ids(&read(&path, &since)), ["e1499", "e1500"]);
    assert!(read(&path, &Filter { since_ns: Some(u64::MAX), ..Filter::default() }).is_empty());
    let traced = read(&path, &Filter { trace_id: Some(all[6].trace.trace_id_hex()), ..Filter::default() });
    assert_eq!((traced.len(), traced[0].envelope.id()), (15, "e7"));
    assert_eq!(
        ids(&read(&path, &Filter { event_id: Some("e9".into()), source: Some("/test".into()), ..Filter::default() })),
        ["e9"]
    );
    let mut found = Vec::new();
    let filter = Filter { limit: Some(2), ..Filter::default() };
    let mut fits = |event: &Event| event.envelope.id().ends_with("00");
    StoreReader::open(&path).unwrap().query_where(&filter, &mut fits, &mut |event| found.push(event)).unwrap();
    assert_eq!(ids(&found), ["e1400", "e1500"], "the limit counts what fits");
    store.close().await;
    assert_eq!(read(&path, &Filter::default()).len(), 1500, "also when no gateway runs");
}

#[tokio::test]
async fn calls_are_answered_each_with_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(StoreSettings::new(folder.path().join("s.db"))).unwrap();
    let calls: Vec<_> = (0..100u64)
        .map(|call| store.deliver(events((0..call % 4).map(|n| event(call * 10 + n + 1, &format!("{call}-{n}"), "x")))))
        .collect();
    let mut expected = 1;
    for (call, answer) in calls.into_iter().enumerate() {
        let outcomes = answer.await;
        assert_eq!(outcomes.len(), call % 4);
        for outcome in outcomes {
            assert_eq!(offset(&outcome), expected, "in the order of the calls");
            expected += 1;
        }
    }
    assert!(figure(&store, "store_transactions_total") < 100.0, "calls that wait are written together");
    store.close().await;
}

#[tokio::test]
async fn a_crash_keeps_every_row_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    for n in 1..=50 {
        offset(&store.deliver(events([event(n, &format!("e{n}"), "x")])).await[0]);
    }
    // What kill -9 leaves: the files as they are now, the WAL not written back. The shared-memory file is rebuilt.
    let after = tempfile::tempdir().unwrap();
    for name in ["s.db", "s.db-wal"] {
        fs::copy(folder.path().join(name), after.path().join(name)).unwrap();
    }
    assert!(fs::metadata(after.path().join("s.db-wal")).unwrap().len() > 0, "vacuous: nothing was in the WAL");
    let copy = after.path().join("s.db");
    assert_eq!(read(&copy, &Filter::default()).len(), 50, "a reader needs no writer first");
    let second = Store::start(StoreSettings::new(&copy)).unwrap();
    assert_eq!(offset(&second.deliver(events([event(50, "e50", "x")])).await[0]), 50, "offered again after the crash");
    assert_eq!(offset(&second.deliver(events([event(51, "e51", "x")])).await[0]), 51);
    assert_eq!(read(&copy, &Filter::default()).len(), 51);
    second.close().await;
    store.close().await;
}

#[tokio::test]
async fn old_rows_go_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = Store::start(StoreSettings { keep: Duration::from_secs(3600), ..StoreSettings::new(&path) }).unwrap();
    let hours = |n: u64| SystemTime::now() - Duration::from_secs(n * 3600);
    let old = (1..=1200).map(|n| Event { received: hours(2), ..event(n, &format!("old{n}"), "x") });
    store.deliver(events(old.chain([event(2000, "new", "x")]))).await;
    until("the old rows are deleted", || figure(&store, "store_rows_deleted_by_age_total") == 1200.0).await;
    assert_eq!(ids(&read(&path, &Filter::default())), ["new"]);
    assert_eq!(
        offset(&store.deliver(events([event(2001, "next", "x")])).await[0]),
        1202,
        "places are never used twice"
    );
    store.close().await;
}

#[tokio::test]
async fn the_oldest_rows_go_by_size_while_events_come_and_a_reader_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let most = 2 << 20;
    let store = Store::start(StoreSettings { max_size: most, ..StoreSettings::new(&path) }).unwrap();
    assert!(store.probe().await.is_ok());
    let reader = StoreReader::open(&path).unwrap();
    let mut n = 0;
    for _ in 0..40 {
        let batch = (0..200).map(|_| {
            n += 1;
            event_with(n, &format!("e{n}"), &[], vec![b'x'; 1000])
        });
        offset(store.deliver(events(batch)).await.last().unwrap());
        let mut last = None;
        reader.query(&Filter { limit: Some(1), ..Filter::default() }, &mut |event| last = Some(event.lsn)).unwrap();
        assert_eq!(last, Some(n), "a reader sees what was confirmed");
    }
    until("the store is small again", || {
        let bytes = figure(&store, "store_bytes");
        bytes > 0.0 && bytes <= 2_097_152.0 && figure(&store, "store_rows_deleted_by_size_total") >= 6000.0
    })
    .await;
    let kept = read(&path, &Filter::default());
    assert_eq!(kept.last().unwrap().lsn, n, "the newest stay");
    let first = kept[0].lsn;
    assert!(kept.iter().zip(first..).all(|(event, lsn)| event.lsn == lsn), "only the oldest went");
    assert!(kept.len() > 500, "{} rows in 2 MiB: too much was deleted", kept.len());
    until("free pages are given back", || fs::metadata(&path).unwrap().len() <= most + (2 << 20)).await;
    store.close().await;
}

#[tokio::test]
async fn a_broken_file_is_the_place_and_not_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    fs::write(&path, vec![b'?'; 8192]).unwrap();
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    let why = store.probe().await.unwrap_err();
    assert!(why.detail.contains("s.db") && why.detail.contains("not a database"), "{why}");
    assert!(matches!(&store.deliver(events([event(1, "a", "x")])).await[..], [Outcome::Destination(_)]));
    fs::remove_file(&path).unwrap();
    assert!(store.probe().await.is_ok(), "mended without a restart");
    assert_eq!(offset(&store.deliver(events([event(1, "a", "x")])).await[0]), 1);
    store.close().await;
    assert!(matches!(StoreReader::open(folder.path().join("none.db")), Err(StoreFault::Missing(_))));
}

#[tokio::test]
async fn a_later_table_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    assert!(store.probe().await.unwrap_err().detail.contains("version 2"));
    assert!(matches!(&store.deliver(events([event(1, "a", "x")])).await[..], [Outcome::Destination(_)]));
    store.close().await;
}

#[tokio::test]
async fn a_locked_file_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    assert!(store.probe().await.is_ok());
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcomes = store.deliver(events([event(1, "a", "x"), event(2, "b", "x")])).await;
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Retry(why) if why.word == Word::BackendUnavailable), "{outcome:?}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(offset(&store.deliver(events([event(1, "a", "x")])).await[0]), 1, "nothing of the failed call was kept");
    store.close().await;
}
