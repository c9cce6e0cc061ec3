//! The firmware that ships inside ring86.
#![forbid(unsafe_code)]
