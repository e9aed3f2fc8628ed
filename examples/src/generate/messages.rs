//! What customers write about a shop, on an evening when its app breaks.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{HOUR, MINUTE, SECOND, iso},
};

/// 2026-03-14T17:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_507_600_000;
const LENGTH: i64 = 3 * HOUR;

const MESSAGES: Files = Files {
    name: "messages/messages",
    ending: "json",
    header: "",
    start: START,
    length: LENGTH,
    each: 20 * MINUTE,
};

/// What it is about, and how many of a hundred are happy with it.
const TOPICS: [(i64, (&str, i64)); 4] = [
    (30, ("app", 75)),
    (30, ("delivery", 50)),
    (20, ("checkout", 40)),
    (20, ("support", 65)),
];

const HAPPY: [&str; 9] = [
    "Really great {}, thank you!",
    "I love the {}. Fast and easy.",
    "The {} was excellent today",
    "Not bad at all, the {}. Happy with it.",
    "good {}, friendly people",
    "Never had a problem with the {}, it just works",
    "The new {} is wonderful, thanks",
    "{}: quick, helpful, perfect",
    "Very happy about the {} this week",
];

const UNHAPPY: [&str; 9] = [
    "The {} is terrible, never again",
    "Not happy with the {} at all.",
    "Why is the {} so slow? Bad, bad, bad",
    "{} broken again, I am angry",
    "Awful {}. I want my money back",
    "Disappointed by the {}, it was late and wrong",
    "the {} does not work, useless",
    "I hate the {} since the last change",
    "Worst {} in town",
];

const NEUTRAL: [&str; 5] = [
    "Is there any news about the {}?",
    "Who do I ask about the {}?",
    "I have a question: {}",
    "Has the {} changed since last year?",
    "just tried the {} for the first time",
];

pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_319);
    let mut messages = Vec::new();
    let mut time = START;
    loop {
        time += SECOND + random.below(32 * SECOND);
        if time >= START + LENGTH {
            break;
        }
        messages.push(message(time, &mut random));
    }
    cut_by_arrival(&MESSAGES, messages)
}

fn message(time: i64, random: &mut Random) -> Row {
    let minute = (time - START) / MINUTE;
    let app_is_down = (80..125).contains(&minute);
    // Whoever cannot use the app writes about it.
    let &(topic, happy) = match app_is_down && random.in_percent(40) {
        true => &("app", 75),
        false => random.pick(&TOPICS),
    };
    let happy = if app_is_down && topic == "app" {
        5
    } else {
        happy
    };
    let texts: &[&str] = if random.in_percent(15) {
        &NEUTRAL
    } else if random.in_percent(happy) {
        &HAPPY
    } else {
        &UNHAPPY
    };
    let text = texts[random.below(texts.len() as i64) as usize].replace("{}", topic);
    let author = 1 + random.below(300);
    Row {
        time,
        arrival: time + usual_delay(random),
        line: format!(
            "{{\"time\":\"{}\",\"topic\":\"{topic}\",\"author\":\"user{author}\",\"text\":\"{text}\"}}\n",
            iso(time)
        ),
    }
}
