//! The operator's log, on standard error. What is logged are codes, names and sentences: never a row, a figure or a
//! secret.

/// Begins logging, and with it the work of a service, whose files are its own: `RUST_LOG` says how much, `LODA_LOG=json` gives one JSON object a line for a collector.
pub fn begin() {
    crate::private();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second initialisation, by a host that embeds the program, keeps the host's.
    let _already = if std::env::var_os("LODA_LOG").is_some_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}
