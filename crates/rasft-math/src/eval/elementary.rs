//! Elementary functions of double-doubles: argument reduction and Taylor series.
//!
//! Relative error of every function here (absolute for sine and cosine) is below [`ERROR`] on the stated domains; the
//! tests compare against identities and known digits.

use super::dd::Dd;

/// Bound of the relative error of a function's value, argument taken as exact.
pub const ERROR: f64 = 2e-29;

/// eˣ; `None` outside |x| < 690.
pub fn exp(x: Dd) -> Option<Dd> {
    if x.hi.is_nan() || x.hi.abs() >= 690.0 {
        return None;
    }
    let k = (x.hi / Dd::LN_2.hi).round();
    const HALVINGS: i32 = 7;
    let r = (x - Dd::LN_2.times(k)).scale(-HALVINGS);
    // expm1 by its series (|r| < 0.0028, r¹³/13! < 1e-42), doubled back: (1+s)² − 1 = 2s + s².
    let (mut term, mut s) = (r, r);
    for n in 2..=12 {
        term = (term * r) / Dd::new(f64::from(n));
        s = s + term;
    }
    for _ in 0..HALVINGS {
        s = s.times(2.0) + s * s;
    }
    Some((s + Dd::ONE).scale(k as i32))
}

/// ln x for x > 0.
pub fn ln(x: Dd) -> Option<Dd> {
    if x.hi <= 0.0 || !x.is_finite() || x.hi < 1e-300 {
        return None;
    }
    let bits = x.hi.to_bits();
    let mut k = ((bits >> 52) & 0x7ff) as i32 - 1022;
    let mut m = x.scale(-k);
    if m.hi < std::f64::consts::FRAC_1_SQRT_2 {
        k -= 1;
        m = m.scale(1);
    }
    // A double's worth by the series of artanh, then Newton on the exponential: y ← y + 2(m − eʸ)/(m + eʸ).
    let t = (m.hi - 1.0) / (m.hi + 1.0);
    let (mut power, mut sum) = (t, 0.0);
    for n in 0..24 {
        sum += power / f64::from(2 * n + 1);
        power *= t * t;
    }
    let mut y = Dd::new(2.0 * sum);
    let e = exp(y)?;
    y = y + ((m - e) / (m + e)).times(2.0);
    // Near 1 the logarithm is small, and only the series keeps its relative precision.
    if (m.hi - 1.0).abs() < 1e-3 {
        let t = (m - Dd::ONE) / (m + Dd::ONE);
        let t2 = t * t;
        let (mut power, mut sum) = (t, t);
        for n in 1..=6 {
            power = power * t2;
            sum = sum + power / Dd::new(f64::from(2 * n + 1));
        }
        y = sum.times(2.0);
    }
    Some(Dd::LN_2.times(f64::from(k)) + y)
}

/// sin x and cos x; `None` for |x| ≥ 10⁵, where the reduction would lose digits.
pub fn sin_cos(x: Dd) -> Option<(Dd, Dd)> {
    if x.hi.is_nan() || x.hi.abs() >= 1e5 {
        return None;
    }
    let k = (x.hi / std::f64::consts::FRAC_PI_2).round();
    // π/2 to three doubles, so that k·π/2 is subtracted to 1e-27 at worst.
    const HALF_PI: Dd = Dd { hi: std::f64::consts::FRAC_PI_2, lo: 6.123_233_995_736_766e-17 };
    const HALF_PI_REST: f64 = -1.497_384_904_859_169_8e-33;
    let r = x - HALF_PI.times(k) - Dd::new(HALF_PI_REST * k);
    let r2 = r * r;
    let (mut s, mut c) = (r, Dd::ONE);
    let (mut ts, mut tc) = (r, Dd::ONE);
    for n in 1..=14 {
        let m = f64::from(2 * n);
        tc = -(tc * r2) / Dd::new(m * (m - 1.0));
        ts = -(ts * r2) / Dd::new(m * (m + 1.0));
        c = c + tc;
        s = s + ts;
    }
    Some(match (k as i64).rem_euclid(4) {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    })
}

/// The angle of (x, y) in (−π, π].
pub fn atan2(y: Dd, x: Dd) -> Option<Dd> {
    if !x.is_finite() || !y.is_finite() {
        return None;
    }
    if y.hi == 0.0 && x.hi == 0.0 {
        return None;
    }
    let (ax, ay) = (x.abs(), y.abs());
    // In [0, π/4], then unfold.
    let swapped = ay.hi > ax.hi;
    let (num, den) = if swapped { (ax, ay) } else { (ay, ax) };
    let t = num / den;
    let mut angle = atan_small(t)?;
    if swapped {
        angle = Dd::PI.times(0.5) - angle;
    }
    if x.hi < 0.0 {
        angle = Dd::PI - angle;
    }
    Some(if y.hi < 0.0 { -angle } else { angle })
}

/// arctan t for 0 ≤ t ≤ 1.
fn atan_small(t: Dd) -> Option<Dd> {
    if t.hi == 0.0 {
        return Some(Dd::ZERO);
    }
    // A double's worth: halve the angle thrice, then the series.
    let mut u = t.hi;
    for _ in 0..3 {
        u /= 1.0 + (1.0 + u * u).sqrt();
    }
    let (mut power, mut sum) = (u, 0.0);
    for n in 0..10 {
        let sign = if n % 2 == 0 { 1.0 } else { -1.0 };
        sum += sign * power / f64::from(2 * n + 1);
        power *= u * u;
    }
    let a = Dd::new(8.0 * sum);
    // tan(angle − a) = (t cos a − sin a)/(cos a + t sin a); the difference is ~1e-16, so tan is the identity on it.
    let (s, c) = sin_cos(a)?;
    Some(a + (t * c - s) / (c + t * s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Dd, b: Dd, scale: f64) {
        let d = (a - b).hi.abs();
        assert!(d <= ERROR * scale, "{a:?} {b:?} differ by {d:e}");
    }

    #[test]
    fn known_digits() {
        let e = Dd { hi: std::f64::consts::E, lo: 1.445_646_891_729_250_2e-16 };
        close(exp(Dd::ONE).unwrap(), e, 3.0);
        let sqrt2 = Dd { hi: std::f64::consts::SQRT_2, lo: -9.667_293_313_452_913e-17 };
        close(Dd::new(2.0).sqrt(), sqrt2, 2.0);
        close(ln(Dd::new(2.0)).unwrap(), Dd::LN_2, 1.0);
        close(atan2(Dd::ONE, Dd::ONE).unwrap().times(4.0), Dd::PI, 4.0);
    }

    #[test]
    fn identities_over_the_range() {
        for i in 1..400 {
            let x = Dd::new(f64::from(i)) / Dd::new(7.0);
            let (s, c) = sin_cos(x).unwrap();
            close(s * s + c * c, Dd::ONE, 2.0);
            close(exp(ln(x).unwrap()).unwrap(), x, 20.0 * x.hi);
            let (s2, _) = sin_cos(x.times(2.0)).unwrap();
            close(s * c.times(2.0), s2, 4.0);
            let y = Dd::new(f64::from(i)) / Dd::new(401.0);
            let a = atan2(y, Dd::ONE).unwrap();
            let (s, c) = sin_cos(a).unwrap();
            close(s / c, y, 4.0);
        }
    }
}
