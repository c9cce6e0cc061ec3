//! The `ring86` command.
fn main() {}
