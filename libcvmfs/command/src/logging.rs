//! What a program says on standard error about what happens.

/// Lets `program` tell warnings; only errors if `quiet`, more if `verbose`. The variable `CVMFS_LOG` beats both.
pub fn start(program: &'static str, quiet: bool, verbose: u8) {
    let asked = std::env::var("CVMFS_LOG").unwrap_or_default();
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, _) => "debug",
    };
    let filter = if asked.is_empty() { level } else { &asked };
    let mut logger = env_logger::Builder::new();
    logger.parse_filters(filter).format(move |out, record| {
        use std::io::Write as _;
        writeln!(out, "{program}: {}: {}", record.level().as_str().to_lowercase(), record.args())
    });
    logger.init();
}
