//! One small program per architectural fact.
#![forbid(unsafe_code)]
