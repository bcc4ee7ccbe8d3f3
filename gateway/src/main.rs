//! The `anygate` command.
fn main() {}
