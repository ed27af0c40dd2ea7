//! A fixed calendar date for templates that print one; the clock is never asked.

use std::str::FromStr;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The date as Python's `strftime` writes it in the C locale; midnight where a time is asked for.
    ///
    /// # Errors
    /// A directive other than %Y %y %m %d %e %B %b %h %A %a %j %H %M %S %F %%.
    pub fn format(&self, format: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            // "%-d" is "%d" without its leading zero.
            let directive = chars.next();
            let (bare, directive) = if directive == Some('-') { (true, chars.next()) } else { (false, directive) };
            let piece = self.piece(directive)?;
            out.push_str(if bare { strip_zeros(&piece) } else { &piece });
        }
        Ok(out)
    }

    fn piece(&self, directive: Option<char>) -> Result<String, String> {
        let month = MONTHS[usize::from(self.month - 1)];
        let weekday = DAYS[self.weekday()];
        Ok(match directive {
            Some('Y') => format!("{:04}", self.year),
            Some('y') => format!("{:02}", self.year % 100),
            Some('m') => format!("{:02}", self.month),
            Some('d') => format!("{:02}", self.day),
            Some('e') => format!("{:2}", self.day),
            Some('B') => month.to_owned(),
            Some('b' | 'h') => month[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('j') => format!("{:03}", self.day_of_year()),
            Some('H' | 'M' | 'S') => "00".to_owned(),
            Some('F') => self.to_string(),
            Some('%') => "%".to_owned(),
            other => {
                let other = other.map_or_else(|| "at the end".to_owned(), |c| c.to_string());
                return Err(format!("strftime_now: directive %{other} is not supported"));
            }
        })
    }

    fn day_of_year(&self) -> u32 {
        (1..self.month).map(|m| u32::from(month_days(self.year, m))).sum::<u32>() + u32::from(self.day)
    }

    /// 0 is Sunday: days since 31 December of the year 0 (a Sunday in the proleptic calendar), modulo 7.
    fn weekday(&self) -> usize {
        let y = u32::from(self.year) - 1;
        ((y * 365 + y / 4 - y / 100 + y / 400 + self.day_of_year()) % 7) as usize
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no date, expected YYYY-MM-DD");
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().and_then(|p| p.parse::<u16>().ok()).ok_or_else(wrong);
        let (year, month, day) = (next()?, next()?, next()?);
        let month = u8::try_from(month).ok().filter(|m| (1..=12).contains(m)).ok_or_else(wrong)?;
        let longest = month_days(year, month);
        let day = u8::try_from(day).ok().filter(|d| (1..=longest).contains(d)).ok_or_else(wrong)?;
        if year == 0 { Err(wrong()) } else { Ok(Self { year, month, day }) }
    }
}

fn month_days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn strip_zeros(text: &str) -> &str {
    let bare = text.trim_start_matches(['0', ' ']);
    if bare.is_empty() { "0" } else { bare }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(date: &str, format: &str, expected: &str) {
        assert_eq!(date.parse::<Date>().unwrap().format(format).unwrap(), expected, "{date} {format}");
    }

    #[test]
    fn formats_like_python() {
        check("2024-07-26", "%d %b %Y", "26 Jul 2024");
        check("2024-07-26", "%A, %B %d, %Y", "Friday, July 26, 2024");
        check("2000-01-01", "%a %-d %j %y 100%%", "Sat 1 001 00 100%");
        check("2024-12-31", "%j %F %H:%M", "366 2024-12-31 00:00");
        check("1999-03-05", "%e %-m", " 5 3");
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in ["2024-13-01", "2023-02-29", "2024-1", "today", "0000-01-01", "2024-04-31", "2024-04-00"] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
        assert!("2024-01-01".parse::<Date>().unwrap().format("%Q").is_err());
    }
}
