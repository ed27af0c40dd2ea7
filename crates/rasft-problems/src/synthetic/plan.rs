//! The arithmetic of a story: a start, a chain of events, and the steps that compute the answer. No words here.

use super::level::Level;
use super::random::Stream;

/// The smallest number that is ever held, given, or left: plurals are always right.
const LEAST: u32 = 2;

/// What happens to the number of things somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// b more.
    Gain(u32),
    /// b fewer.
    Lose(u32),
    /// k groups of m more.
    GainGroups(u32, u32),
    /// k groups of m fewer.
    LoseGroups(u32, u32),
    /// k times as many.
    Times(u32),
    /// One of k equal parts is kept.
    Share(u32),
    /// A second person has b more; both are asked for.
    WithMore(u32),
    /// A second person has b fewer.
    WithFewer(u32),
    /// A second person has k times as many.
    WithTimes(u32),
}

/// The four operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
}

/// What a step finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finds {
    /// How many the first person has now.
    Holding,
    /// How many a number of groups are.
    Groups,
    /// How many the second person has.
    Second,
    /// How many both have.
    Both,
}

/// One operation of the solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub op: Op,
    pub left: u32,
    pub right: u32,
    pub result: u32,
    pub finds: Finds,
}

/// A story without words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub start: u32,
    pub events: Vec<Event>,
    pub steps: Vec<Step>,
}

impl Plan {
    pub(super) fn answer(&self) -> u32 {
        self.steps.last().map_or(self.start, |step| step.result)
    }
}

/// Draws plans until one has the level's number of multiplications and divisions.
pub(super) fn draw(stream: &mut Stream, level: &Level) -> Plan {
    loop {
        if let Some(plan) = attempt(stream, level) {
            return plan;
        }
    }
}

/// One plan; none if no number fits the next event, an event repeats, or multiplications are lacking.
fn attempt(stream: &mut Stream, level: &Level) -> Option<Plan> {
    let start = stream.between(level.start.0, level.start.1);
    let mut plan = Plan { start, events: Vec::new(), steps: Vec::new() };
    let mut held = start;
    loop {
        let left = level.steps - plan.steps.len() as u32;
        if left == 0 {
            break;
        }
        let kind = stream.choose(&kinds(level, left, plan.events.last()));
        let event = with_numbers(stream, level, kind, held)?;
        if plan.events.contains(&event) {
            // The same sentence twice reads like a slip, and three times like a loop.
            return None;
        }
        let steps = steps(event, held);
        held = steps.last().map_or(held, |step| step.result);
        plan.events.push(event);
        plan.steps.extend(steps);
    }
    let products = plan.steps.iter().filter(|step| matches!(step.op, Op::Mul | Op::Div)).count();
    (products as u32 >= level.min_products).then_some(plan)
}

/// The kinds of event that may come next, with their numbers still zero.
fn kinds(level: &Level, steps_left: u32, last: Option<&Event>) -> Vec<Event> {
    let mut kinds = vec![Event::Gain(0), Event::Lose(0)];
    if level.factor.is_some() {
        // Multiplying and dividing in a row would often cancel.
        if !matches!(last, Some(Event::Share(_))) {
            kinds.push(Event::Times(0));
        }
        if level.divides && !matches!(last, Some(Event::Times(_))) {
            kinds.push(Event::Share(0));
        }
        if steps_left >= 2 {
            kinds.extend([Event::GainGroups(0, 0), Event::LoseGroups(0, 0)]);
        }
    }
    // A second person ends the story.
    if steps_left == 2 {
        kinds.extend([Event::WithMore(0), Event::WithFewer(0)]);
        if level.factor.is_some() {
            kinds.push(Event::WithTimes(0));
        }
    }
    kinds
}

/// Fills the numbers in; none if no number fits.
fn with_numbers(stream: &mut Stream, level: &Level, kind: Event, held: u32) -> Option<Event> {
    let room = level.largest.saturating_sub(held);
    let spare = held.saturating_sub(LEAST);
    let (low, high) = level.factor.unwrap_or((LEAST, LEAST));
    let mut within = |bounds: (u32, u32), most: u32| {
        let high = bounds.1.min(most);
        (bounds.0 <= high).then(|| stream.between(bounds.0, high))
    };
    Some(match kind {
        Event::Gain(_) => Event::Gain(within(level.change, room)?),
        Event::Lose(_) => Event::Lose(within(level.change, spare)?),
        Event::GainGroups(..) => {
            let k = within((low, high), high)?;
            Event::GainGroups(k, within(level.group, room / k)?)
        }
        Event::LoseGroups(..) => {
            let k = within((low, high), high)?;
            Event::LoseGroups(k, within(level.group, spare / k)?)
        }
        Event::Times(_) => Event::Times(within((low, high), level.largest / held)?),
        Event::Share(_) => {
            let divisors: Vec<u32> = (low..=high).filter(|k| held.is_multiple_of(*k) && held / k >= LEAST).collect();
            let last = divisors.len().checked_sub(1)?;
            Event::Share(divisors[within((0, last as u32), last as u32)? as usize])
        }
        Event::WithMore(_) => Event::WithMore(within(level.change, room.saturating_sub(held))?),
        Event::WithFewer(_) if 2 * held > level.largest => return None,
        Event::WithFewer(_) => Event::WithFewer(within(level.change, spare)?),
        Event::WithTimes(_) => Event::WithTimes(within((low, high), room / held)?),
    })
}

/// The operations that an event asks for.
fn steps(event: Event, held: u32) -> Vec<Step> {
    let step = |op, left, right, finds| {
        let result = match op {
            Op::Add => left + right,
            Op::Sub => left - right,
            Op::Mul => left * right,
            Op::Div => left / right,
        };
        Step { op, left, right, result, finds }
    };
    let second = |op, right| {
        let first = step(op, held, right, Finds::Second);
        vec![first, step(Op::Add, held, first.result, Finds::Both)]
    };
    match event {
        Event::Gain(b) => vec![step(Op::Add, held, b, Finds::Holding)],
        Event::Lose(b) => vec![step(Op::Sub, held, b, Finds::Holding)],
        Event::GainGroups(k, m) => {
            vec![step(Op::Mul, k, m, Finds::Groups), step(Op::Add, held, k * m, Finds::Holding)]
        }
        Event::LoseGroups(k, m) => {
            vec![step(Op::Mul, k, m, Finds::Groups), step(Op::Sub, held, k * m, Finds::Holding)]
        }
        Event::Times(k) => vec![step(Op::Mul, held, k, Finds::Holding)],
        Event::Share(k) => vec![step(Op::Div, held, k, Finds::Holding)],
        Event::WithMore(b) => second(Op::Add, b),
        Event::WithFewer(b) => second(Op::Sub, b),
        Event::WithTimes(k) => second(Op::Mul, k),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::level::MAX_LEVEL;

    #[test]
    fn plans_keep_their_level() {
        for number in 1..=MAX_LEVEL {
            let level = Level::of(number);
            let mut seen = std::collections::BTreeSet::new();
            for row in 0..500 {
                let plan = draw(&mut Stream::new(7, row), &level);
                assert_eq!(plan.steps.len() as u32, level.steps);
                for step in &plan.steps {
                    assert!(step.result >= LEAST && step.result <= level.largest, "{plan:?}");
                    let back = match step.op {
                        Op::Add => step.result - step.right,
                        Op::Sub => step.result + step.right,
                        Op::Mul => step.result / step.right,
                        Op::Div => step.result * step.right,
                    };
                    assert_eq!(back, step.left, "{plan:?}");
                    assert!(level.divides || step.op != Op::Div);
                    assert!(level.factor.is_some() || !matches!(step.op, Op::Mul | Op::Div));
                }
                seen.extend(plan.events.iter().map(|event| format!("{event:?}").split('(').next().map(str::to_owned)));
            }
            let kinds = if level.divides { 9 } else { [0, 2, 4, 8][usize::from(number)] };
            assert_eq!(seen.len(), kinds, "every kind of event comes up: {seen:?}");
        }
    }
}
