//! Text form of a block's operations, for traces and golden files.

use super::Op;
use std::fmt::Write;

/// One operation a line.
pub fn print(ops: &[Op]) -> String {
    let mut s = String::new();
    for (i, op) in ops.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(s, "{i:4}  {op:?}");
    }
    s
}
