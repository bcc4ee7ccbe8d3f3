//! `/api/dlq`: dead letters listed, shown, replayed and discarded.
use super::{
    Api,
    fault::ApiFault,
    letters::{self, Letters, Selection},
    lines::{Lines, json_line},
    replay,
};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::header,
    response::{IntoResponse, Response},
};
use journal::{LaneId, Lsn};
use schemas::Word;
use serde::{Deserialize, Serialize};
use settings::{Period, Rate};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The query of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListQuery {
    /// A failure word.
    pub failure: Option<String>,
    /// A backend's name.
    pub backend: Option<String>,
    /// Received within this time: `1h`.
    pub since: Option<String>,
    /// The oldest so many.
    pub limit: Option<usize>,
}

/// The body of a replay or discard: which letters, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// These.
    pub lsn: Vec<u64>,
    /// All of them.
    pub all: bool,
    /// Those with this failure word.
    pub failure: Option<String>,
    /// Those of this backend.
    pub backend: Option<String>,
    /// Say what would happen, and change nothing.
    pub dry_run: bool,
    /// At most so many: `50/s`. Replay only.
    pub rate: Option<String>,
}

/// The line for one letter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Changed {
    /// The letter.
    pub lsn: u64,
    /// `replayed`, `dead_again`, `left`, `discarded`, `would_replay`, `would_discard`.
    pub outcome: String,
    /// Where to, or why not.
    pub detail: String,
    /// The failure word of what did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Letters that are where they should be; what was a letter is done.
    pub replayed: u64,
    /// Letters that failed again: each is a new dead letter with the new reason.
    pub dead_again: u64,
    /// Letters that stay as they are.
    pub left: u64,
    /// Letters that were thrown away.
    pub discarded: u64,
    /// Letters that a dry run looked at.
    pub would: u64,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
}

impl Summary {
    /// Counts one letter.
    pub(super) fn count(&mut self, changed: &Changed) {
        match changed.outcome.as_str() {
            "replayed" => self.replayed += 1,
            "dead_again" => self.dead_again += 1,
            "discarded" => self.discarded += 1,
            "left" => self.left += 1,
            _ => self.would += 1,
        }
    }
}

fn word(text: &str) -> Result<Word, ApiFault> {
    text.parse().map_err(|_| {
        ApiFault::new(Word::Malformed, format!("{text:?} is no failure word; `anygate errors` lists them"))
    })
}

fn io_fault(error: &std::io::Error) -> ApiFault {
    ApiFault::new(Word::Internal, format!("the journal cannot be read: {error}"))
}

/// The open dead letters as JSON lines, oldest first.
pub async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiFault> {
    let Query(query) = query.map_err(|rejection| ApiFault::new(Word::Malformed, rejection.body_text()))?;
    let since = match &query.since {
        None => None,
        Some(text) => {
            let period: Period =
                text.parse().map_err(|bad: settings::Bad| ApiFault::new(Word::Malformed, format!("since: {bad}")))?;
            SystemTime::now().checked_sub(period.get())
        }
    };
    let failure = query.failure.as_deref().map(word).transpose()?;
    let selection = Selection { lsns: None, failure, backend: query.backend, since };
    let limit = query.limit.unwrap_or(usize::MAX);
    let (lines, response) = Lines::open();
    let task = Arc::clone(&api);
    // The response goes out while the scan runs.
    tokio::spawn(async move { task.scan(move |api| write_list(api, &selection, limit, &lines)).await });
    Ok(response)
}

fn write_list(api: &Api, selection: &Selection, limit: usize, lines: &Lines) -> Result<(), ApiFault> {
    let mut letters = Letters::new(&api.shared);
    let mut listed = 0;
    while listed < limit {
        let letter = match letters.next_open() {
            Ok(Some(letter)) => letter,
            Ok(None) => break,
            Err(error) => {
                let _gone = lines.send_blocking(json_line(&io_fault(&error).body()));
                break;
            }
        };
        if !selection.takes(&letter) {
            continue;
        }
        let mut line = Vec::with_capacity(256);
        letter.write(&mut line, false);
        if lines.send_blocking(line).is_err() {
            break;
        }
        listed += 1;
    }
    Ok(())
}

/// One dead letter with what it held.
pub async fn show(State(api): State<Arc<Api>>, Path(lsn): Path<String>) -> Result<Response, ApiFault> {
    let lsn: u64 =
        lsn.parse().map_err(|_| ApiFault::new(Word::Malformed, format!("{lsn:?} is no LSN: a whole number")))?;
    let letter = api.scan(move |api| letters::one(&api.shared, lsn).map_err(|error| io_fault(&error))).await?;
    let Some(letter) = letter else {
        return Err(ApiFault::new(
            Word::NotFound,
            format!("there is no open dead letter {lsn}; it may have been replayed or discarded"),
        ));
    };
    let mut text = Vec::new();
    letter.write(&mut text, true);
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Which letters a change names. Nothing named is a mistake, not "all".
fn selection(change: &Change) -> Result<Selection, ApiFault> {
    if !change.all && change.lsn.is_empty() && change.failure.is_none() && change.backend.is_none() {
        return Err(ApiFault::new(Word::Malformed, "say which: LSNs, a failure word, a backend, or all"));
    }
    Ok(Selection {
        lsns: (!change.lsn.is_empty()).then(|| change.lsn.iter().copied().collect()),
        failure: change.failure.as_deref().map(word).transpose()?,
        backend: change.backend.clone(),
        since: None,
    })
}

type ChangeBody = Result<Json<Change>, JsonRejection>;

fn read_change(body: ChangeBody) -> Result<(Change, Selection), ApiFault> {
    let Json(change) = body.map_err(|rejection| {
        let word = match rejection.status().as_u16() {
            413 => Word::TooLarge,
            415 => Word::UnsupportedFormat,
            _ => Word::Malformed,
        };
        ApiFault::new(word, rejection.body_text())
    })?;
    let selection = selection(&change)?;
    Ok((change, selection))
}

/// Letters that a selection names but that are not open, as `left` lines.
fn missing(selection: &Selection, met: &std::collections::BTreeSet<u64>) -> Vec<Changed> {
    let named = selection.lsns.iter().flatten().filter(|lsn| !met.contains(lsn));
    let left = |lsn: &u64| Changed {
        lsn: *lsn,
        outcome: "left".to_owned(),
        detail: "there is no open dead letter with this LSN".to_owned(),
        failure: Some(Word::NotFound.as_str().to_owned()),
    };
    named.map(left).collect()
}

/// Sends letters again. One line per letter, then the summary.
pub async fn replay(State(api): State<Arc<Api>>, body: ChangeBody) -> Result<Response, ApiFault> {
    let (change, selection) = read_change(body)?;
    let pause = match &change.rate {
        None => Duration::ZERO,
        Some(text) => {
            let rate: Rate =
                text.parse().map_err(|bad: settings::Bad| ApiFault::new(Word::Malformed, format!("rate: {bad}")))?;
            rate.per.div_f64(f64::from(u32::try_from(rate.count).unwrap_or(u32::MAX)))
        }
    };
    let changes = one_at_a_time(&api)?;
    let (lines, response) = Lines::open();
    tokio::spawn(async move {
        let _changes = changes;
        let run = replay::Run { api: &api, lines: &lines, selection: &selection, dry_run: change.dry_run, pause };
        let (mut summary, met) = run.go().await;
        finish(&lines, &selection, &met, &mut summary).await;
    });
    Ok(response)
}

/// Throws letters away, counted. One line per letter, then the summary.
pub async fn discard(State(api): State<Arc<Api>>, body: ChangeBody) -> Result<Response, ApiFault> {
    let (change, selection) = read_change(body)?;
    let changes = one_at_a_time(&api)?;
    let (lines, response) = Lines::open();
    tokio::spawn(async move {
        let (named, out) = (selection.clone(), lines.clone());
        let done = api.scan(move |api| Ok(discard_all(api, &named, change.dry_run, &out))).await;
        drop(changes);
        match done {
            Ok((mut summary, met)) => finish(&lines, &selection, &met, &mut summary).await,
            Err(fault) => {
                let _gone = lines.send(json_line(&fault.body())).await;
            }
        }
    });
    Ok(response)
}

fn one_at_a_time(api: &Arc<Api>) -> Result<tokio::sync::OwnedMutexGuard<()>, ApiFault> {
    let busy = |_| ApiFault::new(Word::IdInUse, "another replay or discard is running; wait for its end");
    Arc::clone(&api.changes).try_lock_owned().map_err(busy)
}

async fn finish(lines: &Lines, selection: &Selection, met: &std::collections::BTreeSet<u64>, summary: &mut Summary) {
    let stopped = summary.stopped.is_some();
    for changed in missing(selection, met).into_iter().filter(|_| !stopped) {
        summary.count(&changed);
        if lines.send(json_line(&changed)).await.is_err() {
            return;
        }
    }
    let _gone = lines.send(json_line(summary)).await;
}

fn discard_all(
    api: &Api,
    selection: &Selection,
    dry_run: bool,
    lines: &Lines,
) -> (Summary, std::collections::BTreeSet<u64>) {
    let (mut summary, mut met) = (Summary::default(), std::collections::BTreeSet::new());
    let mut letters = Letters::new(&api.shared);
    loop {
        let letter = match letters.next_open() {
            Ok(Some(letter)) => letter,
            Ok(None) => break,
            Err(error) => {
                summary.stopped = Some(io_fault(&error).detail);
                break;
            }
        };
        if !selection.takes(&letter) {
            continue;
        }
        let outcome = if dry_run { "would_discard" } else { "discarded" };
        if selection.lsns.is_some() {
            met.insert(letter.lsn);
        }
        if !dry_run {
            api.settle(letter.lsn, Settled::Discarded(letter.word()));
        }
        let detail = letter.death().map(|death| format!("{}: {}", death.word, death.detail)).unwrap_or_default();
        let changed = Changed { lsn: letter.lsn, outcome: outcome.to_owned(), detail, failure: None };
        summary.count(&changed);
        if lines.send_blocking(json_line(&changed)).is_err() {
            break;
        }
    }
    save(api);
    (summary, met)
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was kept again, elsewhere.
    Replayed,
    /// It is a dead letter again, under another LSN.
    DeadAgain,
    /// Somebody threw it away.
    Discarded(Word),
}

impl Api {
    /// Marks a letter done and counts it into lane 0, so that its law holds: `entered + recovered = delivered +
    /// dead_lettered + dropped + pending`, where *delivered* says replayed and *dead_lettered* dead again. What stands for it
    /// must be durable.
    pub(super) fn settle(&self, lsn: u64, how: Settled) {
        if !self.shared.journal.done(LaneId::DEAD_LETTERS, Lsn::from_raw(lsn)) {
            return;
        }
        let lanes = self.shared.lanes();
        let Some(meter) = lanes.dead_meter() else { return };
        match how {
            Settled::Replayed => {
                meter.delivered.inc();
                self.shared.metrics.replayed.inc();
            }
            Settled::DeadAgain => {
                meter.dead_lettered.inc();
            }
            Settled::Discarded(word) => meter.dropped(word),
        }
    }
}

/// Saves what is done, so that a crash does not bring letters back. Blocks.
pub(super) fn save(api: &Api) {
    if let Err(error) = api.shared.journal.save_cursors() {
        tracing::warn!(%error, "the cursor of the dead letters could not be saved; after a crash they would be there again");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_named_is_not_all() {
        assert_eq!(selection(&Change::default()).unwrap_err().word, Word::Malformed);
        assert!(selection(&Change { all: true, ..Change::default() }).unwrap().lsns.is_none());
        let failure = Change { failure: Some("no_such".to_owned()), ..Change::default() };
        assert!(selection(&failure).unwrap_err().detail.contains("no_such"));
    }
}
