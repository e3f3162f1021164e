//! The end of a process.

use std::io::Read;

/// Waits for SIGTERM (service managers) or SIGINT (Ctrl-C).
///
/// # Errors
/// The process cannot wait for signals.
pub async fn signal() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => stopped?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Ends this process when the process that started it ends, for any reason: standard input is then at its end.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let mut buffer = [0_u8; 64];
        while matches!(std::io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
        std::process::exit(0);
    });
}
