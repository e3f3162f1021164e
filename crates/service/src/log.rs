//! The operator's log, on standard error. It holds codes, names and sentences, and never a row, a figure or a secret.

/// Begins logging. It also makes this process's files private, because a service's files are its own. `RUST_LOG` sets
/// the level (`info` without it). `LODA_LOG=json` gives one JSON object a line, for a collector.
pub fn begin() {
    crate::private();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // If a host that embeds the program has set up logging already, that stays.
    let _already = if std::env::var_os("LODA_LOG").is_some_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}
