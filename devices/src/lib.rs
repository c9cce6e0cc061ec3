//! The chips of a PC.
#![forbid(unsafe_code)]
