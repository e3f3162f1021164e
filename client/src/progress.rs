//! The progress line on standard error: the boroughs that have answered, and those that have not.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loda_proto::v1::{Progress, State};

use loda_answer::boroughs;

/// The number of boroughs that are named before "and n more".
const NAMED: usize = 2;

/// The characters beside the text: the bar, the time and spaces.
const BESIDE: usize = 17;

/// The progress line. It prints nothing if standard error is not a terminal.
pub(crate) struct ProgressLine {
    bar: ProgressBar,
    /// The characters that the text may have.
    room: usize,
}

impl ProgressLine {
    /// `width`: that of the terminal, if there is one.
    pub(crate) fn new(is_terminal: bool, width: Option<u16>) -> Self {
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:10} {wide_msg} {elapsed:>4}") {
            bar.set_style(style);
        }
        bar.set_message("preparing");
        if is_terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let room = width.map_or(usize::MAX, |width| usize::from(width).saturating_sub(BESIDE));
        Self { bar, room }
    }

    pub(crate) fn show(&self, progress: &Progress) {
        self.bar.set_length(progress.boroughs.len() as u64);
        self.bar.set_position(count(progress, |state| !is_pending(state)) as u64);
        self.bar.set_message(words(progress, self.room));
    }

    pub(crate) fn clear(self) {
        self.bar.finish_and_clear();
    }
}

/// A line that counts what was read. It prints nothing if standard error is not a terminal.
pub(crate) fn counting(all: usize, what: &'static str, is_terminal: bool) -> ProgressBar {
    let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(all as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:10} {pos} of {len} {msg} {elapsed:>4}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// The text of the line, for example "30 of 33 answered, 1 refused; waiting for Camden, Hackney". Where `room` is short, it
/// names fewer boroughs: half a name or half a number would be another one.
fn words(progress: &Progress, room: usize) -> String {
    let all = progress.boroughs.len();
    if all == 0 {
        return "waiting for the coordinator".into();
    }
    let mut text = format!("{} of {all} answered", count(progress, |state| state == State::Released));
    for (state, word) in [
        (State::Refused, "refused"),
        (State::NotAnswered, "did not answer"),
        (State::Held, "held for a person"),
        (State::Cancelled, "cancelled"),
    ] {
        match count(progress, |other| other == state) {
            0 => {}
            n => text.push_str(&format!(", {n} {word}")),
        }
    }
    let waiting: Vec<_> =
        progress.boroughs.iter().filter(|b| is_pending(b.state())).map(|b| boroughs::short(&b.borough)).collect();
    if waiting.is_empty() {
        return text;
    }
    let named = |most: usize| {
        let names: Vec<_> = waiting.iter().take(most).map(String::as_str).collect();
        match waiting.len().saturating_sub(names.len()) {
            0 => format!("{text}; waiting for {}", names.join(", ")),
            all if names.is_empty() => format!("{text}; waiting for {all}"),
            more => format!("{text}; waiting for {} and {more} more", names.join(", ")),
        }
    };
    let fits = (0..=NAMED).rev().map(named).find(|words| words.chars().count() <= room);
    fits.unwrap_or_else(|| text.clone())
}

fn is_pending(state: State) -> bool {
    matches!(state, State::Unspecified | State::Queued | State::Running | State::Held)
}

fn count(progress: &Progress, wanted: impl Fn(State) -> bool) -> usize {
    progress.boroughs.iter().filter(|borough| wanted(borough.state())).count()
}

#[cfg(test)]
mod tests {
    use loda_proto::v1::BoroughState;

    use super::*;

    #[test]
    fn the_line_counts_and_names() {
        let states = [
            (1, State::Released),
            (2, State::Refused),
            (7, State::Running),
            (12, State::Queued),
            (13, State::Running),
            (14, State::Running),
            (15, State::Held),
        ];
        let boroughs = states.map(|(n, state)| BoroughState { borough: format!("E090000{n:02}"), state: state as i32 });
        let progress = Progress { state: State::Running as i32, boroughs: boroughs.to_vec(), ..Default::default() };
        let start = "1 of 7 answered, 1 refused, 1 held for a person";
        for (room, rest) in [
            (usize::MAX, "; waiting for Camden, Hackney and 3 more"),
            (80, "; waiting for Camden and 4 more"),
            (70, "; waiting for 5"),
            (20, ""),
        ] {
            assert_eq!(words(&progress, room), format!("{start}{rest}"), "{room}");
        }
    }
}
