//! Tests with missing prerequisites: they are counted and reported, or they fail.
//!
//! With `LODA_REQUIRE_ALL=1`, as in CI, a missing program that could be installed is a failure. Things that a host does
//! not permit, and data outside this project, cannot be installed: those tests are only reported.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Reports a missing program or package.
pub fn tool(why: impl Display) {
    assert!(
        std::env::var_os("LODA_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "a prerequisite of this test is not there, and LODA_REQUIRE_ALL=1: {why}"
    );
    tell(why);
}

/// Reports that the host does not permit it, or that data are missing beside this checkout.
pub fn host(why: impl Display) {
    tell(why);
}

/// Writes past the test harness, which hides the output of passing tests. The last such line of a run has the total.
fn tell(why: impl Display) {
    let number = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let _told = writeln!(std::io::stderr(), "skipped ({number} so far): {why}");
}
