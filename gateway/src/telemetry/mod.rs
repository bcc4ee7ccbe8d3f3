//! Telemetry: metrics, the trace ring, spans and logs. One layer on the stack and one wrapper around lanes; plug-in authors
//! write none.
pub mod filling;
pub mod log;
pub mod metrics;
pub mod ring;
pub mod spans;

pub use filling::Filling;
pub use metrics::{LaneMeter, Meter, Metrics};
pub use ring::{Delivered, Ring, Seen};
