//! Stories and solutions in words.
//!
//! Placeholders as in `themes`, and `<p>` the second person, `<w>` how a step begins, `<x>`, `<y>`, `<r>` the operands and
//! the result of a step. The solutions are worded so that they pass the text filters of algorithm.md §6: a worked step
//! with `=` and "so" or "we get", no phrase that reads as a short cut, a box at the end, at least 180 characters, and fewer
//! than eight words between two numbers that differ from step to step, so that no long solution looks like a loop.

use super::plan::{Event, Finds, Op, Plan, Step};
use super::random::Stream;
use super::themes::{NAMES, Theme};

pub(super) const WITH_MORE: &[&str] = &["Now <p> has <b> more <o> than <n>."];
pub(super) const WITH_FEWER: &[&str] = &["Now <p> has <b> fewer <o> than <n>."];
pub(super) const WITH_TIMES: &[&str] = &["Now <p> has <k> times as many <o> as <n>."];

pub(super) const ASK: &[&str] = &["How many <o> does <n> have now?", "How many <o> does <n> have in the end?"];
pub(super) const ASK_BOTH: &[&str] =
    &["How many <o> do <n> and <p> have together?", "How many <o> do <n> and <p> have in all?"];

pub(super) const OPEN: &[&str] = &[
    "At the start, <n> has <v> <o>. We go through the story step by step.",
    "Let us count the <o> step by step. At first, <n> has <v> <o>.",
    "We follow the story and count the <o>. We begin with <v> <o>.",
];

pub(super) const FIRST: &[&str] = &["First"];
pub(super) const MIDDLE: &[&str] = &["Next", "Then", "After that"];
pub(super) const LAST: &[&str] = &["Finally", "At last"];

pub(super) const ADD: &[&str] = &[
    "<w>, <x> + <y> = <r>, so <n> has <r> <o>.",
    "<w>, we add <y> to <x> and we get <x> + <y> = <r> <o>.",
    "<w>, there are <y> more, which makes <x> + <y> = <r> <o>.",
];
pub(super) const SUB: &[&str] = &[
    "<w>, <x> - <y> = <r>, so <n> has <r> <o> left.",
    "<w>, we take <y> from <x> and we get <x> - <y> = <r> <o>.",
    "<w>, there are <y> fewer, which leaves <x> - <y> = <r> <o>.",
];
pub(super) const MUL: &[&str] = &[
    "<w>, <x> * <y> = <r>, so <n> has <r> <o>.",
    "<w>, we multiply <x> by <y> and we get <x> * <y> = <r> <o>.",
    "<w>, <y> times as many makes <x> * <y> = <r> <o>.",
];
pub(super) const DIV: &[&str] = &[
    "<w>, <x> / <y> = <r>, so <n> keeps <r> <o>.",
    "<w>, we divide <x> by <y> and we get <x> / <y> = <r> <o>.",
    "<w>, each of <y> parts is <x> / <y> = <r> <o>.",
];
pub(super) const GROUPS: &[&str] = &[
    "<w>, <x> * <y> = <r>, so this makes <r> <o>.",
    "<w>, we multiply <x> by <y> and we get <x> * <y> = <r> <o>.",
    "<w>, <x> times <y> <o> makes <x> * <y> = <r> <o>.",
];
pub(super) const SECOND_MORE: &[&str] = &[
    "<w>, <x> + <y> = <r>, so <p> has <r> <o>.",
    "<w>, <p> has <y> more than <n>, so we get <x> + <y> = <r> <o> for <p>.",
];
pub(super) const SECOND_FEWER: &[&str] = &[
    "<w>, <x> - <y> = <r>, so <p> has <r> <o>.",
    "<w>, <p> has <y> fewer than <n>, so we get <x> - <y> = <r> <o> for <p>.",
];
pub(super) const SECOND_TIMES: &[&str] = &[
    "<w>, <x> * <y> = <r>, so <p> has <r> <o>.",
    "<w>, <p> has <y> times as many as <n>, so we get <x> * <y> = <r> <o> for <p>.",
];
pub(super) const BOTH: &[&str] = &[
    "<w>, <x> + <y> = <r>, so <n> and <p> have <r> <o> together.",
    "<w>, we add both numbers and we get <x> + <y> = <r> <o> together.",
];

pub(super) const CHECK: &[&str] = &[
    "Nothing more happens in the story, so this is the number that we need.",
    "This was the last part of the story, so the count is done.",
    "Now every number of the story is used, so we can stop here.",
];
pub(super) const CLOSE: &[&str] = &[
    "Therefore, there are <r> <o> in the end. The final answer is \\boxed{<r>}.",
    "So we get <r> <o> in all, and the final answer is \\boxed{<r>}.",
    "Thus the number of <o> is <r>, and the final answer is \\boxed{<r>}.",
];

/// Who and what a story is about.
pub(super) struct Cast {
    theme: &'static Theme,
    person: &'static str,
    second: &'static str,
    object: &'static str,
}

impl Cast {
    pub(super) fn draw(stream: &mut Stream, theme: &'static Theme) -> Self {
        let person = stream.choose(&NAMES);
        let others: Vec<&'static str> = NAMES.into_iter().filter(|name| *name != person).collect();
        Self { theme, person, second: stream.choose(&others), object: stream.choose(theme.objects) }
    }

    /// Fills a template's placeholders: the cast's own, and those given.
    fn say(&self, template: &str, given: &[(char, &str)]) -> String {
        let mut out = String::with_capacity(template.len() + 16);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('<') {
            out.push_str(before);
            let (name, after) = after.split_once('>').unwrap_or((after, ""));
            let own = match name {
                "n" => self.person,
                "p" => self.second,
                "o" => self.object,
                _ => given.iter().find(|(key, _)| name.starts_with(*key)).map_or("", |(_, value)| value),
            };
            debug_assert!(!own.is_empty(), "<{name}> in {template:?}");
            out.push_str(own);
            rest = after;
        }
        out + rest
    }
}

/// The story and its question.
pub(super) fn prompt(stream: &mut Stream, cast: &Cast, plan: &Plan) -> String {
    let theme = cast.theme;
    let mut sentences = vec![cast.say(stream.choose(theme.start), &[('v', &plan.start.to_string())])];
    for event in &plan.events {
        let (templates, one, two) = match *event {
            Event::Gain(b) => (theme.gain, ('b', b), None),
            Event::Lose(b) => (theme.lose, ('b', b), None),
            Event::GainGroups(k, m) => (theme.gain_groups, ('k', k), Some(m)),
            Event::LoseGroups(k, m) => (theme.lose_groups, ('k', k), Some(m)),
            Event::Times(k) => (theme.times, ('k', k), None),
            Event::Share(k) => (theme.share, ('k', k), None),
            Event::WithMore(b) => (WITH_MORE, ('b', b), None),
            Event::WithFewer(b) => (WITH_FEWER, ('b', b), None),
            Event::WithTimes(k) => (WITH_TIMES, ('k', k), None),
        };
        let template = stream.choose(templates);
        let container = stream.choose(theme.containers);
        let two = two.unwrap_or_default().to_string();
        sentences.push(cast.say(template, &[(one.0, &one.1.to_string()), ('m', &two), ('c', container)]));
    }
    let ask = if asks_both(plan) { ASK_BOTH } else { ASK };
    sentences.push(cast.say(stream.choose(ask), &[]));
    sentences.join(" ")
}

fn asks_both(plan: &Plan) -> bool {
    plan.steps.last().is_some_and(|step| step.finds == Finds::Both)
}

/// The worked solution.
pub(super) fn solution(stream: &mut Stream, cast: &Cast, plan: &Plan) -> String {
    let mut sentences = vec![cast.say(stream.choose(OPEN), &[('v', &plan.start.to_string())])];
    for (i, step) in plan.steps.iter().enumerate() {
        let begin = match i {
            0 => FIRST,
            i if i + 1 == plan.steps.len() => LAST,
            _ => MIDDLE,
        };
        let (word, template) = (stream.choose(begin), stream.choose(templates(step)));
        let [x, y, r] = [step.left, step.right, step.result].map(|number| number.to_string());
        sentences.push(cast.say(template, &[('w', word), ('x', &x), ('y', &y), ('r', &r)]));
    }
    sentences.push(stream.choose(CHECK).to_owned());
    sentences.push(cast.say(stream.choose(CLOSE), &[('r', &plan.answer().to_string())]));
    sentences.join(" ")
}

fn templates(step: &Step) -> &'static [&'static str] {
    match (step.finds, step.op) {
        (Finds::Groups, _) => GROUPS,
        (Finds::Both, _) => BOTH,
        (Finds::Second, Op::Add) => SECOND_MORE,
        (Finds::Second, Op::Sub) => SECOND_FEWER,
        (Finds::Second, _) => SECOND_TIMES,
        (Finds::Holding, Op::Add) => ADD,
        (Finds::Holding, Op::Sub) => SUB,
        (Finds::Holding, Op::Mul) => MUL,
        (Finds::Holding, Op::Div) => DIV,
    }
}
