//! The PC.
