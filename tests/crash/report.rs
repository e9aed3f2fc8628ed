//! Says what a test went through, past the harness, which keeps what passing tests print to itself: the steps that were
//! swept belong in the log of every run.

use std::{collections::BTreeMap, io::Write};

/// One line, or several.
pub(crate) fn say(text: &str) {
    // Nobody minds if nobody listens.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// The places at which something was cut off, with how many there were of each.
pub(crate) fn say_places(heading: &str, places: &BTreeMap<String, usize>) {
    let mut text = heading.to_owned();
    for (place, times) in places {
        text.push_str(&format!("\n{times:6} × {place}"));
    }
    say(&text);
}
