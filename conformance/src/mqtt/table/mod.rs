//! This project's own table of bad input for MQTT listeners: rows M01 to M40, each with the exact answer, for MQTT 5 and 3.1.1
//! where they differ.
//!
//! A row's name is its number, a letter where it has several parts, and `.5` or `.3` for the version. Where a row differs from
//! what is commonly asked of a broker, a note beside it says why. Rows that nothing outside of a server can show are listed too,
//! as not applicable, so that the table is whole.
mod connect;
mod publish;
mod special;

use super::{
    encode::Connect,
    judge::Difference,
    wire::{Connection, Packet, Seen, Version},
};
use crate::{
    cut::{self, Asked, Cuts},
    suite::{CaseResult, Endpoint, Outcome},
};

/// Cuts of one row that are asked at once; all rows run at once besides.
const AT_ONCE: usize = 4;

/// Rows that take long each time they are asked: cut at one place at most.
const LONG: [&str; 4] = ["M08.5", "M08.3", "M32.5", "M32.3"];

/// One row.
pub struct Row {
    /// Its name, unique: `M04b`, `M09a.5`.
    pub name: &'static str,
    /// What is sent.
    pub title: &'static str,
    /// What decides the answer.
    pub section: &'static str,
    ask: Ask,
}

/// How a row is asked.
enum Ask {
    /// Instead of a CONNECT.
    First(fn(&Endpoint) -> Vec<u8>, Want),
    /// After a plain CONNECT.
    After(Version, fn(Version) -> Vec<u8>, Want),
    /// In a way of its own.
    Own(fn(&Endpoint) -> Result<(), Miss>),
    /// Not at all: why.
    Never(&'static str),
}

/// What must come.
enum Want {
    /// Nothing; the connection closes.
    Closed,
    /// CONNACK with one of these codes; then the connection closes.
    Connack(&'static [u8]),
    /// The same, or nothing: the connection closes.
    ConnackOrClosed(&'static [u8]),
    /// DISCONNECT with one of these reasons; then the connection closes.
    Disconnect(&'static [u8]),
    /// This packet up to its reason code, and the connection stays open.
    Answer(&'static [u8]),
    /// No answer, and the connection stays open.
    Open,
}

/// Why a row is not green.
enum Miss {
    Failed(Difference),
    NotApplicable(String),
}

impl From<Difference> for Miss {
    fn from(difference: Difference) -> Self {
        Miss::Failed(difference)
    }
}

/// All rows.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    connect::ROWS.iter().chain(publish::ROWS)
}

/// Runs the rows that are wanted, all at once, because some wait for a deadline; gives the results in their order.
pub(super) fn run(endpoint: &Endpoint, cuts: Cuts, wanted: &dyn Fn(&str) -> bool, done: &mut dyn FnMut(CaseResult)) {
    std::thread::scope(|scope| {
        let chosen: Vec<&Row> = rows().filter(|row| wanted(row.name)).collect();
        let running: Vec<_> =
            chosen.into_iter().map(|row| (row, scope.spawn(move || row.run(endpoint, cuts)))).collect();
        for (row, asked) in running {
            let asked = asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (name, title, section) = (row.name.into(), row.title.into(), row.section.into());
            done(CaseResult { name, title, section, outcome: asked.outcome, asked: asked.times });
        }
    });
}

impl Row {
    fn run(&self, endpoint: &Endpoint, cuts: Cuts) -> Asked {
        if let Ask::Never(why) = &self.ask {
            return Asked { outcome: Outcome::NotApplicable((*why).to_owned()), times: 0 };
        }
        let cuts = if LONG.contains(&self.name) { cuts.at_most_once() } else { cuts };
        cut::ask(endpoint, cuts, cut::seed(self.name), AT_ONCE, |endpoint| match self.ask(endpoint) {
            Ok(()) => Outcome::Ok,
            Err(Miss::NotApplicable(why)) => Outcome::NotApplicable(why),
            Err(Miss::Failed(Difference { expected, seen })) => Outcome::Failed { expected, seen },
        })
    }

    fn ask(&self, endpoint: &Endpoint) -> Result<(), Miss> {
        match &self.ask {
            Ask::First(bytes, want) => {
                let mut connection = open(endpoint)?;
                connection.send(&bytes(endpoint));
                Ok(want.check(&mut connection)?)
            }
            Ask::After(version, bytes, want) => {
                let (mut connection, _) = connected(endpoint, *version)?;
                connection.send(&bytes(*version));
                Ok(want.check(&mut connection)?)
            }
            Ask::Own(ask) => ask(endpoint),
            Ask::Never(why) => Err(Miss::NotApplicable((*why).to_owned())),
        }
    }
}

fn open(endpoint: &Endpoint) -> Result<Connection, Difference> {
    Connection::open(endpoint).map_err(|why| Difference::new("a connection", why))
}

/// A connection after a plain CONNECT, and its CONNACK.
fn connected(endpoint: &Endpoint, version: Version) -> Result<(Connection, Packet), Difference> {
    connected_as(endpoint, &Connect::new(version, endpoint))
}

fn connected_as(endpoint: &Endpoint, connect: &Connect) -> Result<(Connection, Packet), Difference> {
    let mut connection = open(endpoint)?;
    let connack = connection.connect(connect).map_err(|seen| Difference::new("CONNACK 0x00", seen))?;
    Ok((connection, connack))
}

impl Want {
    fn check(&self, connection: &mut Connection) -> Result<(), Difference> {
        match self {
            Want::Closed => want_closed(connection),
            Want::Connack(codes) => want_last(connection, 2, codes),
            Want::ConnackOrClosed(codes) => match connection.receive() {
                Seen::Closed => Ok(()),
                seen => check_last(connection, &seen, 2, codes),
            },
            Want::Disconnect(codes) => want_last(connection, 14, codes),
            Want::Answer(bytes) => {
                want_answer(connection, bytes)?;
                want_open(connection)
            }
            Want::Open => want_open(connection),
        }
    }
}

fn want_closed(connection: &mut Connection) -> Result<(), Difference> {
    match connection.receive() {
        Seen::Closed => Ok(()),
        seen => Err(Difference::new("the connection closed without a word", seen)),
    }
}

/// PINGREQ is answered, and nothing else comes before.
fn want_open(connection: &mut Connection) -> Result<(), Difference> {
    connection.send_whole(&[0xc0, 0]);
    match connection.receive() {
        Seen::Packet(packet) if packet.first == 0xd0 && packet.body.is_empty() => Ok(()),
        seen => Err(Difference::new("an open connection: PINGRESP to a PINGREQ", seen)),
    }
}

/// A packet of this type with one of these codes, and then the end.
fn want_last(connection: &mut Connection, kind: u8, codes: &[u8]) -> Result<(), Difference> {
    let seen = connection.receive();
    check_last(connection, &seen, kind, codes)
}

fn check_last(connection: &mut Connection, seen: &Seen, kind: u8, codes: &[u8]) -> Result<(), Difference> {
    let name = if kind == 2 { "CONNACK" } else { "DISCONNECT" };
    let expected = || {
        let codes: Vec<String> = codes.iter().map(|code| format!("0x{code:02x}")).collect();
        format!("{name} {}, then the connection closed", codes.join(" or "))
    };
    match seen {
        Seen::Packet(packet) if packet.kind() == kind && codes.contains(&packet.code()) => {}
        other => return Err(Difference::new(expected(), other)),
    }
    match connection.receive() {
        Seen::Closed => Ok(()),
        after => Err(Difference::new(expected(), format!("{name}, then {after}"))),
    }
}

/// A packet that begins with these bytes, its length not counted: type, identifier and reason code. A reason code of
/// success may be left out.
fn want_answer(connection: &mut Connection, wanted: &[u8]) -> Result<(), Difference> {
    let expected = Packet { first: wanted[0], body: wanted[1..].to_vec() };
    match connection.receive() {
        Seen::Packet(got)
            if got.first == expected.first
                && got.body.get(..2) == expected.body.get(..2)
                && codes_match(&expected, &got) =>
        {
            Ok(())
        }
        seen => Err(Difference::new(expected.to_string(), seen)),
    }
}

fn codes_match(expected: &Packet, got: &Packet) -> bool {
    match expected.kind() {
        // PUBACK to PUBCOMP.
        4..=7 => got.code() == expected.code(),
        _ => got.body == expected.body,
    }
}

fn fail(expected: impl Into<String>, seen: impl Into<String>) -> Miss {
    Miss::Failed(Difference::new(expected, seen))
}
