//! What makes a level: how many steps, which operations, how large the numbers.
//!
//! | level | steps | operations | start | changes | factors | group size | largest |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | 1 | 1 | + - | 3–20 | 2–9 | | | 30 |
//! | 2 | 2 | + - | 5–30 | 2–20 | | | 60 |
//! | 3 | 3 | + - \* | 5–40 | 2–20 | 2–5 | 2–9 | 200 |
//! | 4 | 3 | + - \* / | 10–60 | 5–40 | 2–9 | 3–12 | 600 |
//! | 5 | 4 | + - \* / | 20–99 | 10–99 | 2–9 | 5–20 | 999 |
//! | 6 | 5 | + - \* / | 50–300 | 20–200 | 2–9 | 10–40 | 2999 |
//! | 7 | 6 | + - \* / | 100–500 | 50–500 | 2–9 | 10–60 | 5999 |
//! | 8 | 7 | + - \* / | 100–900 | 50–900 | 2–9 | 20–90 | 9999 |

/// The highest level.
pub const MAX_LEVEL: u8 = 8;

/// The bounds of one level; every range is inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Operations in the solution.
    pub steps: u32,
    /// What the story starts with.
    pub start: (u32, u32),
    /// What is added or taken away at once.
    pub change: (u32, u32),
    /// Factors and divisors; none below level 3.
    pub factor: Option<(u32, u32)>,
    /// How many are in each of several groups.
    pub group: (u32, u32),
    /// Whether things are divided.
    pub divides: bool,
    /// No number of the story or solution is larger.
    pub largest: u32,
    /// At least so many multiplications and divisions.
    pub min_products: u32,
}

impl Level {
    /// The bounds of a level from 1 to [`MAX_LEVEL`]; higher numbers are read as the highest.
    pub fn of(number: u8) -> Self {
        let small = |steps, start, change, largest| Level {
            steps,
            start,
            change,
            factor: None,
            group: (2, 2),
            divides: false,
            largest,
            min_products: 0,
        };
        let full = |steps, start, change, group, largest, min_products| Level {
            steps,
            start,
            change,
            factor: Some((2, 9)),
            group,
            divides: true,
            largest,
            min_products,
        };
        match number {
            0 | 1 => small(1, (3, 20), (2, 9), 30),
            2 => small(2, (5, 30), (2, 20), 60),
            3 => Level { factor: Some((2, 5)), group: (2, 9), min_products: 1, ..small(3, (5, 40), (2, 20), 200) },
            4 => full(3, (10, 60), (5, 40), (3, 12), 600, 1),
            5 => full(4, (20, 99), (10, 99), (5, 20), 999, 1),
            6 => full(5, (50, 300), (20, 200), (10, 40), 2999, 2),
            7 => full(6, (100, 500), (50, 500), (10, 60), 5999, 2),
            _ => full(7, (100, 900), (50, 900), (20, 90), 9999, 3),
        }
    }
}
