//! Destroys the words behind a query log when their time is over.

use std::sync::Arc;
use std::time::Duration;

use loda_ledger::Log;
use loda_ledger::payload::{PayloadStore, Retention};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3600);

/// Looks at once, and then each hour.
pub async fn keep(log: Arc<dyn Log>, payloads: Arc<PayloadStore>, retention: Retention) {
    loop {
        let (log, payloads) = (Arc::clone(&log), Arc::clone(&payloads));
        let today = chrono::Utc::now().date_naive();
        let applied = tokio::task::spawn_blocking(move || retention.apply(&*log, &payloads, today)).await;
        match applied {
            Ok(Ok(0)) => {}
            Ok(Ok(texts)) => tracing::info!(texts, "words of the query log were destroyed: their time is over"),
            Ok(Err(fault)) => {
                tracing::error!("words of the query log whose time is over could not be destroyed: {fault}")
            }
            Err(_) => return,
        }
        tokio::time::sleep(EVERY).await;
    }
}
