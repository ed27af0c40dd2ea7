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

impl Op {
    fn apply(self, left: u32, right: u32) -> u32 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
        }
    }
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

    /// The same story, worked out by somebody who forgets the carry of an addition, or the borrow of a subtraction, in
    /// `percent` of the steps that have one, and goes on with the wrong number. Without slips where that number would no
    /// longer fit the story.
    pub(super) fn with_slips(&self, stream: &mut Stream, percent: u32) -> Self {
        let mut worked = Self { steps: Vec::new(), ..self.clone() };
        let mut held = self.start;
        for &event in &self.events {
            if !fits(event, held) {
                return self.clone();
            }
            let mut steps = steps(event, held);
            for i in 0..steps.len() {
                if i > 0 {
                    // The second step of an event works on what the first one found.
                    let right = steps[i - 1].result;
                    steps[i] = Step { right, result: steps[i].op.apply(steps[i].left, right), ..steps[i] };
                }
                if stream.between(0, 99) < percent {
                    steps[i].result = without_carry(&steps[i]);
                }
            }
            held = steps.last().map_or(held, |step| step.result);
            worked.steps.extend(steps);
        }
        worked
    }
}

/// Whether an event can happen to so many things.
fn fits(event: Event, held: u32) -> bool {
    match event {
        Event::Lose(b) | Event::WithFewer(b) => held >= b + LEAST,
        Event::LoseGroups(k, m) => held >= k * m + LEAST,
        Event::Share(k) => held.is_multiple_of(k) && held / k >= LEAST,
        Event::Gain(_) | Event::GainGroups(..) | Event::Times(_) | Event::WithMore(_) | Event::WithTimes(_) => true,
    }
}

/// The result if the carry or borrow from units to tens is forgotten; the right one where there is none.
fn without_carry(step: &Step) -> u32 {
    let (left, right) = (step.left % 10, step.right % 10);
    match step.op {
        Op::Add if left + right >= 10 && step.result >= 10 + LEAST => step.result - 10,
        Op::Sub if left < right => step.result + 10,
        Op::Add | Op::Sub | Op::Mul | Op::Div => step.result,
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
    let step = |op: Op, left, right, finds| Step { op, left, right, result: op.apply(left, right), finds };
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

    #[test]
    fn slips_forget_carries_and_nothing_else() {
        let mut n_wrong = 0;
        for (number, row) in (1..=MAX_LEVEL).flat_map(|number| (0..300).map(move |row| (number, row))) {
            let plan = draw(&mut Stream::new(9, row), &Level::of(number));
            assert_eq!(plan.with_slips(&mut Stream::new(1, row), 0), plan);
            let slipped = plan.with_slips(&mut Stream::new(1, row), 100);
            assert_eq!(slipped.steps.len(), plan.steps.len());
            for step in &slipped.steps {
                let right = step.op.apply(step.left, step.right);
                assert!(step.result == right || step.result == without_carry(&Step { result: right, ..*step }));
            }
            let has_carry = plan.steps.iter().any(|step| without_carry(step) != step.result);
            assert!(has_carry || slipped == plan, "{plan:?}");
            n_wrong += usize::from(slipped.answer() != plan.answer());
        }
        assert!(n_wrong > 500, "{n_wrong} of 2400 answers are wrong");
    }
}
