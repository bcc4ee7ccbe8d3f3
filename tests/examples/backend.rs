//! The backend `lines`: every event is one line of JSON at the end of a file, synced before it counts as delivered.
use backends::{Backend, BuildContext, Events, Order, Outcome, Plugin, Position, Why, config::BackendConfig};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use schemas::Word;
use serde::Deserialize;
use std::{fs::File, io::Write as _, sync::Arc};

/// Writes events into a file, one line each.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinesConfig {
    /// The file; it is made when it is missing. Relative to the config's folder.
    pub path: String,
    /// The keys of every backend.
    #[serde(flatten)]
    pub common: BackendConfig,
}

impl Plugin for LinesConfig {
    fn common(&self) -> &BackendConfig {
        &self.common
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Backend>, String> {
        let path = cx.path(&self.path);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Arc::new(Lines { file: Arc::new(file) }))
    }
}

struct Lines {
    file: Arc<File>,
}

impl Backend for Lines {
    fn kind(&self) -> &'static str {
        "lines"
    }

    /// The blocking pool keeps no order between calls, so the lane makes one call per strand at a time.
    fn order(&self) -> Order {
        Order::OnePerStrand
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let (file, count) = (Arc::clone(&self.file), events.len());
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || write(&file, &events)).await;
            let outcome = match written {
                Ok(Ok(())) => Outcome::Done(Position { place: "lines".into(), partition: -1, offset: -1 }),
                // Not now: the disk may be full. What was written of the call comes again: delivery is at least once.
                Ok(Err(error)) => Outcome::Retry(Why::new(Word::BackendUnavailable, error.to_string())),
                Err(error) => Outcome::Retry(Why::new(Word::Internal, error.to_string())),
            };
            vec![outcome; count]
        })
    }
}

fn write(mut file: &File, events: &Events) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for event in events {
        schemas::json::write_event_line(&mut lines, &event.envelope, Some(&event.door));
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    file.sync_data()
}
