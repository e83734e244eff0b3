//! Integration tests: everything real, in one binary, so that all share one broker.

mod harness;
mod sink;
