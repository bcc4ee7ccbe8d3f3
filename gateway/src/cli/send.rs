//! `anygate send`: placeholder
pub mod http;
pub mod link;
pub mod wire;
