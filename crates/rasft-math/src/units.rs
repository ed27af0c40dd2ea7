//! Units: recognised after a number, compared only when both sides name one.
//!
//! A unit is a vector of exponents over base quantities and an exact factor to the base unit. Words that are no unit
//! ("apples", "of them") are labels and say nothing. Invariant: a unit never swallows a variable: single letters count as
//! units only in text or upright type, or in braces right after a number.

use crate::lex::{Bracket, Kind, Stream};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow};

/// Length, mass, time, current, temperature, amount, money, bits.
type Dims = [i8; 8];

/// A unit of measurement, or a mere label.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    dims: Dims,
    factor: BigRational,
    /// Whether every word was a known unit.
    known: bool,
}

impl Unit {
    fn one() -> Self {
        Self { dims: [0; 8], factor: BigRational::one(), known: true }
    }

    fn label() -> Self {
        Self { known: false, ..Self::one() }
    }

    /// The unit of this name.
    pub fn named(name: &str) -> Option<Self> {
        lookup(name)
    }

    /// Whether both are known units of one kind of quantity.
    pub fn measures_like(&self, other: &Unit) -> bool {
        self.known && other.known && self.dims == other.dims
    }

    /// The factor that turns a value in `self` into one in `other`, if they measure the same; `None` if they do not; one
    /// if either says nothing.
    pub fn conversion(&self, other: &Unit) -> Option<BigRational> {
        if !self.known || !other.known {
            return Some(BigRational::one());
        }
        (self.dims == other.dims).then(|| &self.factor / &other.factor)
    }

    fn times(&mut self, other: &Unit, power: i32) {
        let Ok(p) = i8::try_from(power) else {
            self.known = false;
            return;
        };
        for (a, b) in self.dims.iter_mut().zip(other.dims) {
            *a = a.saturating_add(b.saturating_mul(p));
        }
        let factor = Pow::pow(other.factor.clone(), power.clamp(-12, 12));
        self.factor *= factor;
        self.known &= other.known;
    }
}

const L: Dims = [1, 0, 0, 0, 0, 0, 0, 0];
const M: Dims = [0, 1, 0, 0, 0, 0, 0, 0];
const T: Dims = [0, 0, 1, 0, 0, 0, 0, 0];
const FORCE: Dims = [1, 1, -2, 0, 0, 0, 0, 0];
const ENERGY: Dims = [2, 1, -2, 0, 0, 0, 0, 0];
const POWER: Dims = [2, 1, -3, 0, 0, 0, 0, 0];
const PRESSURE: Dims = [-1, 1, -2, 0, 0, 0, 0, 0];
const SPEED: Dims = [1, 0, -1, 0, 0, 0, 0, 0];
const VOLUME: Dims = [3, 0, 0, 0, 0, 0, 0, 0];
const VOLT: Dims = [2, 1, -3, -1, 0, 0, 0, 0];
const NONE: Dims = [0; 8];

/// Names, dimensions, factor as numerator / denominator.
const TABLE: &[(&[&str], Dims, i64, i64)] = &[
    (&["m", "meter", "meters", "metre", "metres"], L, 1, 1),
    (&["km", "kilometer", "kilometers", "kilometre", "kilometres"], L, 1000, 1),
    (&["cm", "centimeter", "centimeters", "centimetre", "centimetres"], L, 1, 100),
    (&["mm", "millimeter", "millimeters"], L, 1, 1000),
    (&["dm", "decimeter", "decimeters"], L, 1, 10),
    (&["nm", "nanometer", "nanometers"], L, 1, 1_000_000_000),
    (&["pm", "picometer", "picometers"], L, 1, 1_000_000_000_000),
    (&["um", "micrometer", "micrometers", "micron", "microns"], L, 1, 1_000_000),
    (&["angstrom", "angstroms"], L, 1, 10_000_000_000),
    (&["in", "inch", "inches"], L, 254, 10_000),
    (&["ft", "foot", "feet"], L, 3048, 10_000),
    (&["yd", "yard", "yards"], L, 9144, 10_000),
    (&["mi", "mile", "miles"], L, 1_609_344, 1000),
    (&["g", "gram", "grams"], M, 1, 1000),
    (&["kg", "kilogram", "kilograms"], M, 1, 1),
    (&["mg", "milligram", "milligrams"], M, 1, 1_000_000),
    (&["lb", "lbs", "pound", "pounds"], M, 45_359_237, 100_000_000),
    (&["oz", "ounce", "ounces"], M, 45_359_237, 1_600_000_000),
    (&["ton", "tons", "tonne", "tonnes"], M, 1000, 1),
    (&["s", "sec", "secs", "second", "seconds"], T, 1, 1),
    (&["ms", "millisecond", "milliseconds"], T, 1, 1000),
    (&["min", "mins", "minute", "minutes"], T, 60, 1),
    (&["h", "hr", "hrs", "hour", "hours"], T, 3600, 1),
    (&["day", "days"], T, 86_400, 1),
    (&["week", "weeks"], T, 604_800, 1),
    (&["yr", "yrs", "year", "years"], T, 31_557_600, 1),
    (&["month", "months"], T, 2_629_800, 1),
    (&["N", "newton", "newtons"], FORCE, 1, 1),
    (&["J", "joule", "joules"], ENERGY, 1, 1),
    (&["kJ", "kilojoule", "kilojoules"], ENERGY, 1000, 1),
    (&["erg", "ergs"], ENERGY, 1, 10_000_000),
    (&["cal", "calorie", "calories"], ENERGY, 4184, 1000),
    (&["kcal", "kilocalories"], ENERGY, 4184, 1),
    (&["W", "watt", "watts"], POWER, 1, 1),
    (&["kW", "kilowatt", "kilowatts"], POWER, 1000, 1),
    (&["Pa", "pascal", "pascals"], PRESSURE, 1, 1),
    (&["kPa"], PRESSURE, 1000, 1),
    (&["atm"], PRESSURE, 101_325, 1),
    (&["mph"], SPEED, 1_609_344, 3_600_000),
    (&["kmh", "kph"], SPEED, 1000, 3600),
    (&["L", "l", "liter", "liters", "litre", "litres"], VOLUME, 1, 1000),
    (&["mL", "ml", "milliliter", "milliliters"], VOLUME, 1, 1_000_000),
    (&["gallon", "gallons", "gal"], VOLUME, 3_785_411_784, 1_000_000_000_000),
    (&["V", "volt", "volts", "Volt", "Volts"], VOLT, 1, 1),
    (&["A", "amp", "amps", "ampere", "amperes"], [0, 0, 0, 1, 0, 0, 0, 0], 1, 1),
    (&["C", "coulomb", "coulombs"], [0, 0, 1, 1, 0, 0, 0, 0], 1, 1),
    (&["ohm", "ohms"], [2, 1, -3, -2, 0, 0, 0, 0], 1, 1),
    (&["Hz", "hertz"], [0, 0, -1, 0, 0, 0, 0, 0], 1, 1),
    (&["K", "kelvin"], [0, 0, 0, 0, 1, 0, 0, 0], 1, 1),
    (&["mol", "mole", "moles"], [0, 0, 0, 0, 0, 1, 0, 0], 1, 1),
    (&["dollar", "dollars", "USD", "usd"], [0, 0, 0, 0, 0, 0, 1, 0], 1, 1),
    (&["cent", "cents"], [0, 0, 0, 0, 0, 0, 1, 0], 1, 100),
    (&["bit", "bits"], [0, 0, 0, 0, 0, 0, 0, 1], 1, 1),
    (&["byte", "bytes"], [0, 0, 0, 0, 0, 0, 0, 1], 8, 1),
    (&["radian", "radians", "rad"], NONE, 1, 1),
];

/// Words that go with units or count things and say nothing of the size.
const LABELS: &[&str] = &[
    "eV",
    "keV",
    "MeV",
    "GeV",
    "degrees",
    "degree",
    "deg",
    "units",
    "unit",
    "square",
    "cubic",
    "sq",
    "cu",
    "per",
    "arcsec",
    "arcsecs",
    "arcseconds",
    "magnitudes",
    "people",
    "ways",
    "times",
    "points",
    "photons",
    "pulse",
    "atoms",
    "euros",
    "euro",
    "rpm",
    "hp",
    "acres",
    "acre",
    "hectares",
];

fn lookup(name: &str) -> Option<Unit> {
    let (_, dims, n, d) = TABLE.iter().find(|(names, ..)| names.contains(&name))?;
    Some(Unit { dims: *dims, factor: BigRational::new(BigInt::from(*n), BigInt::from(*d)), known: true })
}

/// Whether a word names a unit or a common label of quantities.
pub fn is_unit(word: &str) -> bool {
    LABELS.contains(&word) || TABLE.iter().any(|(names, ..)| names.contains(&word))
}

/// Reads tokens `start..end`, all that follows a number, as a unit or a label; `None` if they are neither.
pub fn read(stream: &Stream, start: usize, end: usize) -> Option<Unit> {
    let mut unit = Unit::one();
    let mut any = false;
    let mut sign = 1;
    let mut area = 1;
    let mut i = start;
    while i < end {
        match stream.kind(i)? {
            Kind::Text(words) | Kind::Word(words) => {
                for word in words.split_whitespace() {
                    let word = word.trim_matches(|c: char| !c.is_alphabetic());
                    match word {
                        "square" | "sq" => area = 2,
                        "cubic" | "cu" => area = 3,
                        "per" => sign = -1,
                        "" => {}
                        _ => {
                            let (power, next) = exponent(stream, i + 1, end);
                            let known = lookup(word).unwrap_or_else(Unit::label);
                            unit.times(&known, sign * area * power);
                            (sign, area) = (1, 1);
                            i = next - 1;
                        }
                    }
                }
                any = true;
            }
            Kind::Op('/') => sign = -1,
            Kind::Op('*' | '.' | ',' | '°' | '\'' | '"' | '-' | '^') => {}
            Kind::Open(Bracket::Brace | Bracket::Paren) | Kind::Close(Bracket::Brace | Bracket::Paren) => {}
            // 10 (cm) needs no power; a bare number may only be a power already read.
            Kind::Cmd(name) if matches!(name.as_str(), "mu" | "Omega" | "AA") => {
                unit.known = false;
                any = true;
            }
            _ => return None,
        }
        i += 1;
    }
    any.then_some(unit)
}

/// `^2`, `^{-1}` after a unit: the power and the index after it.
fn exponent(stream: &Stream, at: usize, end: usize) -> (i32, usize) {
    let mut i = at;
    if stream.kind(i) == Some(&Kind::Close(Bracket::Brace)) {
        i += 1;
    }
    if stream.kind(i) != Some(&Kind::Op('^')) {
        return (1, at);
    }
    let mut negative = false;
    i += 1;
    while i < end {
        match stream.kind(i) {
            Some(Kind::Open(Bracket::Brace)) => {}
            Some(Kind::Op('-')) => negative = true,
            Some(Kind::Num(n)) => {
                let power: i32 = n.digits.parse().unwrap_or(1);
                let after = if stream.kind(i + 1) == Some(&Kind::Close(Bracket::Brace)) { i + 2 } else { i + 1 };
                return (if negative { -power } else { power }, after);
            }
            _ => break,
        }
        i += 1;
    }
    (1, at)
}
