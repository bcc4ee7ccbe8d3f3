//! Bytes in two pieces: what is sent has to get the same answer, wherever the network cuts it.
//!
//! A case is asked in one piece first, which also shows how many bytes it sends. Then it is asked again for each place of a cut:
//! the bytes before it, a pause in which the endpoint reads them, the bytes behind it.
//!
//! **What it does not do.** It cannot see whether the endpoint did read the first piece by itself: on a machine that is busy for
//! longer than the pause ([`Cut::apart`]) it may get both at once. It does not cut what only leads to a case: the CONNECT before it, the good
//! request or the PINGREQ behind it.
use crate::suite::{Endpoint, Outcome};
use std::{
    fmt,
    io::{self, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Between the two pieces, unless something else is asked for.
const APART: Duration = Duration::from_millis(4);
/// Most bytes that one sequence is sent with in all its cuts; it is cut once in any case.
const BYTES_MAX: usize = 1024 * 1024;

/// Where sequences are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cuts {
    /// Nowhere.
    #[default]
    None,
    /// At one place, which wanders from case to case.
    Once,
    /// At each place, up to 1 KiB; longer sequences at so many places, evenly, that 1 MiB is sent in all.
    Every,
}

impl Cuts {
    /// The words that choose them.
    pub const WORDS: [&str; 3] = ["none", "once", "every"];

    /// The one with this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Cuts::None, Cuts::Once, Cuts::Every]
            .into_iter()
            .zip(Self::WORDS)
            .find(|(_, known)| *known == word)
            .map(|(cuts, _)| cuts)
    }

    /// At most one place: for cases that wait for a deadline each time.
    pub(crate) fn at_most_once(self) -> Self {
        if self == Cuts::Every { Cuts::Once } else { self }
    }

    /// The places in a sequence of so many bytes: how many are before the cut. `seed` lets a single one wander.
    fn places(self, bytes: usize, seed: usize) -> Vec<usize> {
        let last = bytes.saturating_sub(1);
        let most = match self {
            Cuts::None => 0,
            Cuts::Once => return if last == 0 { Vec::new() } else { vec![1 + seed * 7 % last] },
            Cuts::Every => (BYTES_MAX / bytes.max(1)).max(1).min(last),
        };
        (0..most).map(|number| 1 + number * last / most).collect()
    }
}

/// What is cut on each connection that is made, and how much the longest of them sent.
#[derive(Clone, Debug)]
pub struct Cut {
    at: Option<usize>,
    apart: Duration,
    longest: Arc<AtomicUsize>,
}

impl Default for Cut {
    /// Nothing is cut; 4 ms between the pieces where something is.
    fn default() -> Self {
        Cut { at: None, apart: APART, longest: Arc::default() }
    }
}

impl Cut {
    /// As the default, with this pause between the two pieces.
    pub fn apart(apart: Duration) -> Self {
        Cut { apart, ..Cut::default() }
    }

    /// Whether anything is cut.
    pub(crate) fn is_one(&self) -> bool {
        self.at.is_some()
    }
}

/// The sending side of a connection.
#[derive(Debug)]
pub(crate) struct Pen {
    stream: TcpStream,
    /// Bytes before the cut.
    left: Option<usize>,
    apart: Duration,
    sent: usize,
    longest: Arc<AtomicUsize>,
}

impl Pen {
    pub(crate) fn new(stream: TcpStream, cut: &Cut) -> Self {
        Pen { stream, left: cut.at, apart: cut.apart, sent: 0, longest: Arc::clone(&cut.longest) }
    }

    /// Sends bytes of the case: they count, and the cut may lie in them.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sent += bytes.len();
        self.longest.fetch_max(self.sent, Ordering::Relaxed);
        match self.left {
            Some(left) if left < bytes.len() => {
                self.left = None;
                let (now, later) = bytes.split_at(left);
                self.stream.write_all(now)?;
                std::thread::sleep(self.apart);
                self.stream.write_all(later)
            }
            left => {
                self.left = left.map(|left| left - bytes.len());
                self.stream.write_all(bytes)
            }
        }
    }

    /// Sends bytes that only lead to the case, or look what it left behind.
    pub(crate) fn write_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}

/// How a case, or a part of it, went in one piece and in two.
#[derive(Debug)]
pub(crate) struct Asked {
    /// That of the first cut that differed, else the one in one piece.
    pub(crate) outcome: Outcome,
    /// How often it was asked.
    pub(crate) times: usize,
}

/// Asks in one piece, and again with each cut, `at_once` of them at a time.
pub(crate) fn ask(
    endpoint: &Endpoint,
    cuts: Cuts,
    seed: usize,
    at_once: usize,
    ask: impl Fn(&Endpoint) -> Outcome + Sync,
) -> Asked {
    let counting = Endpoint { cut: Cut::default(), ..endpoint.clone() };
    let outcome = ask(&counting);
    let bytes = counting.cut.longest.load(Ordering::Relaxed);
    if matches!(outcome, Outcome::Failed { .. }) {
        return Asked { outcome, times: 1 };
    }
    let places = cuts.places(bytes, seed);
    let difference = first(&places, at_once, |place| {
        let cut = Cut { at: Some(*place), ..Cut::apart(endpoint.cut.apart) };
        differs(
            &outcome,
            ask(&Endpoint { cut, ..endpoint.clone() }),
            format_args!("with a cut after byte {place} of {bytes}"),
        )
    });
    Asked { outcome: difference.unwrap_or(outcome), times: 1 + places.len() }
}

/// `None` when both went the same way.
fn differs(whole: &Outcome, cut: Outcome, place: fmt::Arguments<'_>) -> Option<Outcome> {
    match (whole, cut) {
        (Outcome::Ok, Outcome::Ok) | (Outcome::NotApplicable(_), Outcome::NotApplicable(_)) => None,
        (_, Outcome::Failed { expected, seen }) => Some(Outcome::Failed { expected, seen: format!("{seen}, {place}") }),
        (whole, other) => Some(Outcome::Failed {
            expected: format!("{whole:?} as in one piece"),
            seen: format!("{other:?}, {place}"),
        }),
    }
}

/// Asks about each of `jobs`, so many at once, until one of them has an answer.
pub(crate) fn first<T: Sync, R: Send>(jobs: &[T], at_once: usize, ask: impl Fn(&T) -> Option<R> + Sync) -> Option<R> {
    let (next, over, found) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let work = || {
        while !over.load(Ordering::Relaxed)
            && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
        {
            if let Some(answer) = ask(job) {
                over.store(true, Ordering::Relaxed);
                found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(answer);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..at_once.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A number from a name, so that the single cut of different cases lies at different places.
pub(crate) fn seed(name: &str) -> usize {
    name.bytes().fold(0, |sum, byte| sum * 31 % 1_000_003 + usize::from(byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{io::Read, net::TcpListener};

    #[test]
    fn places_are_between_the_first_byte_and_the_last() {
        assert_eq!(Cuts::Every.places(5, 0), [1, 2, 3, 4]);
        assert_eq!(Cuts::Every.places(1024, 0).len(), 1023);
        let long = Cuts::Every.places(100_000, 0);
        assert_eq!((long.len(), long[0]), (10, 1));
        assert!(long.windows(2).all(|two| two[0] < two[1]) && long[9] < 100_000);
        assert_eq!(Cuts::Every.places(20 << 20, 0), [1]);
        for cuts in [Cuts::None, Cuts::Once, Cuts::Every] {
            assert_eq!((cuts.places(0, 3), cuts.places(1, 3)), (vec![], vec![]), "{cuts:?}");
        }
        let once: Vec<usize> = (0..20).flat_map(|seed| Cuts::Once.places(10, seed)).collect();
        assert!(once.len() == 20 && once.iter().all(|place| (1..10).contains(place)), "{once:?}");
        assert_eq!(Cuts::parse("every"), Some(Cuts::Every));
        assert_eq!(Cuts::parse("often"), None);
    }

    #[test]
    fn a_cut_pen_sends_all_bytes_in_two_pieces() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cut = Cut { at: Some(4), ..Cut::default() };
        let mut pen = Pen::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap(), &cut);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all
        });
        pen.write_whole(b"hello ").unwrap();
        for part in [&b"abc"[..], b"def", b"gh"] {
            pen.write(part).unwrap();
        }
        assert_eq!((pen.left, cut.longest.load(Ordering::Relaxed)), (None, 8));
        drop(pen);
        assert_eq!(reader.join().unwrap(), b"hello abcdefgh");
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let jobs: Vec<usize> = (0..100).collect();
        assert_eq!(first(&jobs, 8, |job| (*job == 77).then_some(*job)), Some(77));
        assert_eq!(first(&jobs, 8, |_| None::<()>), None);
        let failed = Outcome::Failed { expected: "400".to_owned(), seen: "202".to_owned() };
        let said = differs(&Outcome::Ok, failed, format_args!("here")).unwrap();
        assert_eq!(said, Outcome::Failed { expected: "400".to_owned(), seen: "202, here".to_owned() });
        assert!(differs(&Outcome::NotApplicable("x".to_owned()), Outcome::Ok, format_args!("")).is_some());
        assert_eq!(differs(&Outcome::Ok, Outcome::Ok, format_args!("")), None);
    }
}
