//! The gateway: config, the stack, the router, lanes, admin, telemetry, and the commands.
//!
//! Where to read first: [`stack`], the life of a message. [`runtime`] starts everything, [`lanes`] delivers.
pub mod admin;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod explain;
pub mod gate;
pub mod ids;
pub mod lanes;
pub mod middleware;
pub mod random;
pub mod router;
pub mod runtime;
pub mod stack;
pub mod state;
pub mod systemd;
pub mod telemetry;
pub mod vital;
