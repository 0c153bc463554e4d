//! Bars on a terminal; nothing where the standard error is none.

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of a bar for a part of a whole.
const STEPS: u64 = 1000;

/// A bar for one thing of which a part is done.
#[must_use]
pub fn of_whole(what: &str) -> ProgressBar {
    styled(
        ProgressBar::new(STEPS),
        "{bar:32} {percent:>3} %, {elapsed} gone, {eta} to go  {msg}",
        what,
    )
}

/// A sign of life for things whose length is not known.
#[must_use]
pub fn spinner() -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {elapsed}  {msg}", "");
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// Moves a bar to a part of its whole, from 0 to 1.
pub fn set(bar: &ProgressBar, done: f64) {
    bar.set_position((done.clamp(0.0, 1.0) * STEPS as f64) as u64);
}

/// Says something beside a bar, if it is not said there already.
pub fn say(bar: &ProgressBar, words: &str) {
    if bar.message() != words {
        bar.set_message(words.to_owned());
    }
}

fn styled(bar: ProgressBar, template: &str, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(what.to_owned())
}
