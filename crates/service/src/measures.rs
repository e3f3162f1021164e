//! Measurements of a service: the times of stages, and figures that are looked up when monitoring asks for them.
//!
//! None of them is about a question's answer or a person's record.

use std::path::Path;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// The upper bounds of the classes of times, in seconds.
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
    /// Records the time of one stage of one question.
    pub fn took(&self, stage: &'static str, time: Duration) {
        self.of(vec![("stage", stage.to_owned())], time);
    }

    /// Records the time of one borough's answer.
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
    /// The name, as in `log_entries`. If there is a unit, it is at the end.
    pub name: &'static str,
    /// A sentence about the figure, for monitoring.
    pub help: &'static str,
    /// Names and values of labels, for example the dataset.
    pub labels: Vec<(&'static str, String)>,
    /// The figure, in the unit of the name.
    pub value: i64,
}

impl Measure {
    /// A figure without labels.
    #[must_use]
    pub fn new(name: &'static str, help: &'static str, value: i64) -> Self {
        Self { name, help, labels: Vec::new(), value }
    }

    /// Adds a label, for example of a dataset or a borough.
    #[must_use]
    pub fn of(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// The entries and bytes of a query log, and the free and all bytes of its disk. A size that the system does not tell
/// is left out.
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
