//! Nanoseconds per predicate, for ten that routes are made of. No framework: loops and a clock.
//!
//! `cargo bench -p cesql`. Each figure is the best of nine rounds, because what disturbs a round only ever makes it
//! slower; the event changes between evaluations, so that nothing is hoisted out of the loop.

use std::hint::black_box;
use std::time::Instant;

use cesql::{Attributes, Core, Expression, Value};

const ROUNDS: usize = 9;
const EVALUATIONS: u32 = 400_000;

/// Slices into one text, as a gateway keeps an event.
struct Event {
    text: String,
    core: [Option<(usize, usize)>; 8],
    extensions: Vec<((usize, usize), (usize, usize))>,
}

impl Event {
    fn new(core: &[(Core, &str)], extensions: &[(&str, &str)]) -> Event {
        let mut event = Event { text: String::new(), core: [None; 8], extensions: Vec::new() };
        for (name, value) in core {
            event.core[*name as usize] = Some(event.push(value));
        }
        for (name, value) in extensions {
            let entry = (event.push(name), event.push(value));
            event.extensions.push(entry);
        }
        event
    }

    fn push(&mut self, value: &str) -> (usize, usize) {
        let start = self.text.len();
        self.text.push_str(value);
        (start, self.text.len())
    }

    #[inline]
    fn slice(&self, (start, end): (usize, usize)) -> &str {
        &self.text[start..end]
    }
}

impl Attributes for Event {
    #[inline]
    fn get(&self, name: &str) -> Option<Value<'_>> {
        // Core attributes come through `core` while evaluating; here they are the exception.
        match self.extensions.iter().find(|(key, _)| self.slice(*key) == name) {
            Some((_, value)) => Some(Value::from(self.slice(*value))),
            None => Core::from_name(name).and_then(|core| self.core(core)),
        }
    }

    #[inline]
    fn core(&self, core: Core) -> Option<Value<'_>> {
        self.core[core as usize].map(|span| Value::from(self.slice(span)))
    }
}

const PREDICATES: [&str; 10] = [
    "TRUE",
    "type = 'com.example.alarm'",
    "type IN ('com.example.a', 'com.example.b', 'com.example.alarm')",
    "type LIKE 'com.example.%'",
    "source LIKE '%/7'",
    "subject LIKE '%pump%'",
    "type LIKE 'com.%' AND source = '/plant/7'",
    "EXISTS severity AND severity >= 17",
    "type = 'com.example.x' OR type = 'com.example.y' OR type = 'com.example.alarm'",
    "anygatetenant = 'acme' AND NOT (type LIKE 'com.example.debug.%')",
];

fn main() {
    let core = |id| {
        [
            (Core::Id, id),
            (Core::Source, "/plant/7"),
            (Core::SpecVersion, "1.0"),
            (Core::Type, "com.example.alarm"),
            (Core::Subject, "line/4/pump/12"),
        ]
    };
    let extensions = [("severity", "20"), ("anygatetenant", "acme")];
    let events = [Event::new(&core("1"), &extensions), Event::new(&core("22"), &extensions)];
    println!("ns/predicate  predicate ({EVALUATIONS} evaluations, best of {ROUNDS})");
    let mut worst: f64 = 0.0;
    // `cargo bench -p cesql -- LIKE` runs those that contain the word.
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for source in PREDICATES.into_iter().filter(|source| source.contains(&only)) {
        let expression = Expression::compile(source).expect("the predicates above parse");
        assert_eq!(expression.matches(&events[0]), Ok(true), "{source}");
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for index in 0..EVALUATIONS {
                let event = black_box(&events[usize::from(index % 2 == 0)]);
                let _ = black_box(black_box(&expression).matches(event));
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(EVALUATIONS));
        }
        worst = worst.max(best);
        println!("{best:>12.1}  {source}");
    }
    println!("{worst:>12.1}  slowest");
}
