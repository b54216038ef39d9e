//! Small programs and set-ups to copy from, and the sources of the demo repository.

pub mod demo;
