//! Transports: they speak one protocol each, turn bytes into messages, and verdicts into that protocol's answers.
//!
//! The contract, from the outside in:
//! * a transport asks its [`Intake`] for room in bytes *before* it reads a payload ([`Intake::reserve`]);
//! * it hands over one message ([`Permit::submit`]) and gets a [`Ticket`] at once: what the verdict will be;
//! * it answers when the ticket becomes a verdict, in order: [`Answers`] waits for the head of the line only.
//!
//! A transport knows neither routes nor backends nor the journal: behind the [`Gate`] is the gateway. It maps verdicts to its
//! protocol in one exhaustive function, and never tells a sender more than the verdict says.
pub mod answers;
pub mod budget;
pub mod gate;
pub mod http;
pub mod intake;
pub mod mqtt;
pub mod net;
pub mod ticket;

pub use answers::Answers;
pub use budget::{Budget, Room, Share};
pub use gate::{Credentials, DurableWait, Gate, Lost, Origin, Principal, Submission};
pub use intake::{Intake, Permit};
pub use ticket::{Slot, Ticket};
