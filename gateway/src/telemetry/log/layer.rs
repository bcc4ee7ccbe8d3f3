//! From tracing's events to lines on a writer.
use super::{line::Line, repeats::Repeats};
use crate::config::LogFormat;
use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where lines go.
pub(super) struct Sink {
    format: LogFormat,
    coloured: bool,
    /// One lock for both, so that a count never overtakes its line.
    state: Mutex<(Repeats, Box<dyn Write + Send>)>,
}

impl Sink {
    pub(super) fn new(format: LogFormat, coloured: bool, out: Box<dyn Write + Send>) -> Self {
        Sink { format, coloured, state: Mutex::new((Repeats::default(), out)) }
    }

    /// Writes the counts whose time has come.
    pub(super) fn write_due(&self) {
        self.write(|repeats| repeats.due(Instant::now()));
    }

    /// Writes all counts.
    pub(super) fn write_all_counts(&self) {
        self.write(|repeats| repeats.all(Instant::now()));
    }

    fn write(&self, lines: impl FnOnce(&mut Repeats) -> Vec<Line>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (repeats, out) = &mut *state;
        for line in lines(repeats) {
            // Nobody can be told that stderr is gone.
            let _gone = out.write_all(line.render(self.format, self.coloured).as_bytes());
        }
    }
}

/// The layer.
pub(super) struct Lines(pub(super) Arc<Sink>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        self.0.write(|repeats| repeats.take(line, Instant::now()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn events_become_lines_once() {
        let memory = Memory::default();
        let sink = Arc::new(Sink::new(LogFormat::Json, false, Box::new(memory.clone())));
        let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(&sink)));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..3 {
                tracing::warn!(target: "transports::mqtt", peer = n, failure = %schemas::Word::Timeout, id = "e1", listener = "edge", "a will was not taken");
            }
            tracing::info!(target: "journal", seconds = 2, ok = true, "the ring has room again");
        });
        sink.write_all_counts();
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!((&lines[0]["code"], &lines[0]["listener"]), (&"timeout".into(), &"edge".into()));
        assert_eq!((&lines[0]["event_id"], &lines[0]["peer"]), (&"e1".into(), &0.into()));
        assert_eq!((&lines[0]["msg"], &lines[0]["level"]), (&"a will was not taken".into(), &"warn".into()));
        assert_eq!((&lines[1]["seconds"], &lines[1]["ok"]), (&2.into(), &true.into()));
        assert_eq!((&lines[2]["repeats"], &lines[2]["msg"]), (&2.into(), &"a will was not taken".into()));
    }
}
