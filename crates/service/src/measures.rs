//! What is measured of a service: how long stages take, and figures that are looked up when they are asked for.
//!
//! None is of a question's answer or of anybody's record.

use std::path::Path;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Upper ends of the classes of times, in seconds.
const CLASSES: [f64; 10] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

pub(crate) type Labels = Vec<(&'static str, String)>;

/// How long stages of questions take.
#[derive(Clone)]
pub struct Times(pub(crate) Family<Labels, Histogram, fn() -> Histogram>);

impl Default for Times {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(CLASSES)))
    }
}

impl Times {
    /// One stage of one question.
    pub fn took(&self, stage: &'static str, time: Duration) {
        self.of(vec![("stage", stage.to_owned())], time);
    }

    /// One borough's answer.
    pub fn borough_took(&self, borough: &str, time: Duration) {
        self.of(vec![("stage", "borough".to_owned()), ("borough", borough.to_owned())], time);
    }

    fn of(&self, labels: Labels, time: Duration) {
        self.0.get_or_create(&labels).observe(time.as_secs_f64());
    }
}

/// A figure as it is now.
#[derive(Debug, Clone)]
pub struct Measure {
    /// `log_entries`: with the unit at its end where it has one.
    pub name: &'static str,
    pub help: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: i64,
}

impl Measure {
    #[must_use]
    pub fn new(name: &'static str, help: &'static str, value: i64) -> Self {
        Self { name, help, labels: Vec::new(), value }
    }

    /// Of one dataset, borough or the like.
    #[must_use]
    pub fn of(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// How a query log and the disk under it stand.
#[must_use]
pub fn of_log(log: &Path, entries: u64) -> Vec<Measure> {
    let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut measures = vec![Measure::new("log_entries", "Entries of the query log", whole(entries))];
    if let Ok(about) = std::fs::metadata(log) {
        measures.push(Measure::new("log_bytes", "Size of the query log", whole(about.len())));
    }
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(log) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let all = disk.f_blocks.saturating_mul(disk.f_frsize);
        measures.push(Measure::new("disk_free_bytes", "Room left on the disk of the state", whole(free)));
        measures.push(Measure::new("disk_bytes", "Size of the disk of the state", whole(all)));
    }
    measures
}
