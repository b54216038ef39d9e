//! From the published SQLite file to the flat image.

mod build;
mod report;
mod scan;

pub use build::build_index;
pub(super) use report::Repairs;
pub use report::{BuildReport, Finding};
