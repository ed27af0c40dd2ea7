//! The fixed points at which identities are tested.
//!
//! A point gives every name a value that depends on the name and the point's number alone. Real points lie in several
//! ranges, positive ones first; integer points serve floors, factorials and (−1)ⁿ; complex points what is never real.

use super::ball::Ball;
use super::dd::Dd;
use super::modular::hash;
use super::numeric::{Assignment, Mode};

/// One point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    low: f64,
    high: f64,
    integer: bool,
    /// Integer points of a walk: each name steps through low..=high in an order of its own.
    step: u64,
    imaginary: bool,
    salt: u64,
}

impl Point {
    /// Where values at this point live.
    pub fn mode(&self) -> Mode {
        if self.imaginary { Mode::Complex } else { Mode::Real }
    }
}

impl Assignment for Point {
    fn value(&self, name: &str) -> Option<Ball> {
        let fraction = |salt: u64| (hash(name, salt) >> 11) as f64 / (1u64 << 53) as f64;
        if self.step > 0 {
            let span = (self.high - self.low) as u64 + 1;
            let stride = 1 + hash(name, 31) % (span - 1);
            let k = (self.step.wrapping_mul(stride)).wrapping_add(hash(name, 32)) % span;
            return Some(Ball::real(Dd::new(self.low + k as f64)));
        }
        let x = self.low + (self.high - self.low) * fraction(self.salt);
        if self.integer {
            return Some(Ball::real(Dd::new(x.round())));
        }
        // Few bits, so that symbols are exact and powers lose little.
        let coarse = |x: f64| (x * 65_536.0).round() / 65_536.0;
        let im = if self.imaginary { coarse(0.25 + fraction(self.salt ^ 0xabcd)) } else { 0.0 };
        Some(Ball { re: Dd::new(coarse(x)), im: Dd::new(im), err: 0.0 })
    }
}

const fn real(low: f64, high: f64, salt: u64) -> Point {
    Point { low, high, integer: false, step: 0, imaginary: false, salt }
}

const fn integer(low: f64, high: f64, salt: u64) -> Point {
    Point { low, high, integer: true, step: 0, imaginary: false, salt }
}

const fn complex(low: f64, high: f64, salt: u64) -> Point {
    Point { low, high, integer: false, step: 0, imaginary: true, salt }
}

/// Real points.
pub const REAL: [Point; 8] = [
    real(0.15, 0.95, 1),
    real(1.1, 3.0, 2),
    real(-2.3, 2.3, 3),
    real(-1.9, -0.2, 4),
    real(4.0, 17.0, 5),
    real(-0.9, 0.9, 6),
    real(-9.0, 9.0, 7),
    real(20.0, 90.0, 8),
];

/// Integer points.
pub const INTEGER: [Point; 8] = [
    integer(1.0, 9.0, 11),
    integer(2.0, 17.0, 12),
    integer(5.0, 30.0, 13),
    integer(1.0, 40.0, 14),
    integer(3.0, 12.0, 15),
    integer(2.0, 25.0, 16),
    integer(1.0, 6.0, 17),
    integer(10.0, 60.0, 18),
];

/// Complex points.
pub const COMPLEX: [Point; 3] = [complex(0.3, 1.7, 21), complex(-1.2, 1.9, 22), complex(0.2, 2.2, 23)];

/// How many integers a walk visits; prime, so that every stride visits all of them.
const WALK_LEN: usize = 31;

/// Every integer from 1 to 31 for each name, in an order of its own: floors and remainders differ only here and there.
pub const WALK: [Point; WALK_LEN] = {
    let mut walk = [integer(1.0, WALK_LEN as f64, 0); WALK_LEN];
    let mut k = 0;
    while k < WALK_LEN {
        walk[k].step = k as u64 + 1;
        k += 1;
    }
    walk
};
