//! Unicode twins of LaTeX spellings.

/// The value of a decimal digit of any common script.
pub fn digit_value(c: char) -> Option<u8> {
    if c.is_ascii_digit() {
        return Some(c as u8 - b'0');
    }
    // Zeros of the scripts that number in tens: Arabic, Persian, Devanagari, Bengali, Thai, full width; Mathematical
    // Alphanumeric digits follow each other in five styles.
    const ZEROS: [u32; 6] = [0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10];
    let code = c as u32;
    if code < 0x660 {
        return None;
    }
    for zero in ZEROS {
        if (zero..zero + 10).contains(&code) {
            return Some((code - zero) as u8);
        }
    }
    (0x1D7CE..=0x1D7FF).contains(&code).then(|| ((code - 0x1D7CE) % 10) as u8)
}

/// What a non-ASCII character stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// An ASCII character or one of the lexer's canonical operators.
    Op(char),
    /// A command.
    Cmd(&'static str),
    /// A Latin letter in another face.
    Letter(char),
    /// A superscript character.
    Super(char),
    /// A subscript digit.
    Sub(char),
    /// A vulgar fraction.
    Fraction(u8, u8),
    /// White space.
    Space,
    /// Nothing at all.
    Skip,
}

/// The twin of a character, if it has one.
pub fn twin(c: char) -> Option<Twin> {
    use Twin::{Op, Skip, Super};
    Some(match c {
        '−' | '–' | '—' | '‐' | '‑' | '‒' | '﹣' | '－' => Op('-'),
        '＋' => Op('+'),
        '×' | '·' | '⋅' | '∙' | '•' | '∗' | '＊' | '✕' | '⨯' => Op('*'),
        '÷' | '∕' | '⁄' | '／' => Op('/'),
        '＝' => Op('='),
        '≤' | '⩽' | '≦' => Op('≤'),
        '≥' | '⩾' | '≧' => Op('≥'),
        '＜' => Op('<'),
        '＞' => Op('>'),
        '≠' => Op('≠'),
        '≈' | '≃' | '≅' | '∼' => Op('≈'),
        '≡' => Op('≡'),
        '±' => Op('±'),
        '∓' => Op('∓'),
        '∈' => Op('∈'),
        '∪' => Op('∪'),
        '∩' => Op('∩'),
        '∖' => Op('∖'),
        '→' => Op('→'),
        '∣' | '｜' => Op('|'),
        '（' => Op('('),
        '）' => Op(')'),
        '［' => Op('['),
        '］' => Op(']'),
        '，' | '、' => Op(','),
        '；' => Op(';'),
        '：' => Op(':'),
        '。' | '．' => Op('.'),
        '％' => Op('%'),
        '！' => Op('!'),
        '′' | '’' | '‘' => Op('\''),
        '″' => Op('"'),
        '°' | 'º' | '˚' => Op('°'),
        '…' | '⋯' => Op('…'),
        '€' | '£' | '¥' | '＄' | '¢' | '₹' => Skip,
        '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}'..='\u{2064}' | '\u{ad}' => Skip,
        '⁺' => Super('+'),
        '⁻' => Super('-'),
        'ⁿ' => Super('n'),
        'ⁱ' => Super('i'),
        _ => return other_twin(c),
    })
}

fn other_twin(c: char) -> Option<Twin> {
    digit_twin(c)
        .or_else(|| command_twin(c).or_else(|| greek(c)).map(Twin::Cmd))
        .or_else(|| math_letter(c).map(Twin::Letter))
        .or_else(|| c.is_whitespace().then_some(Twin::Space))
}

/// Mathematical Alphanumeric Symbols: thirteen styles of A–Z, a–z in a row.
fn math_letter(c: char) -> Option<char> {
    let offset = (c as u32).checked_sub(0x1D400).filter(|o| *o < 13 * 52)? % 52;
    Some(if offset < 26 { (b'A' + offset as u8) as char } else { (b'a' + (offset - 26) as u8) as char })
}

fn command_twin(c: char) -> Option<&'static str> {
    Some(match c {
        '√' => "sqrt",
        '∛' => "cbrt",
        '∞' => "infty",
        '∅' => "emptyset",
        '∑' => "sum",
        '∏' => "prod",
        '∫' => "int",
        'ℝ' => "R",
        '⌊' => "lfloor",
        '⌋' => "rfloor",
        '⌈' => "lceil",
        '⌉' => "rceil",
        '⟨' | '〈' => "langle",
        '⟩' | '〉' => "rangle",
        '∠' => "angle",
        '△' => "triangle",
        _ => return None,
    })
}

fn digit_twin(c: char) -> Option<Twin> {
    let code = c as u32;
    Some(match c {
        '¹' => Twin::Super('1'),
        '²' => Twin::Super('2'),
        '³' => Twin::Super('3'),
        '⁰' | '⁴'..='⁹' => Twin::Super((b'0' + (code - 0x2070) as u8) as char),
        '₀'..='₉' => Twin::Sub((b'0' + (code - 0x2080) as u8) as char),
        '½' => Twin::Fraction(1, 2),
        '¼' => Twin::Fraction(1, 4),
        '¾' => Twin::Fraction(3, 4),
        '⅓' => Twin::Fraction(1, 3),
        '⅔' => Twin::Fraction(2, 3),
        '⅕' => Twin::Fraction(1, 5),
        '⅖' => Twin::Fraction(2, 5),
        '⅗' => Twin::Fraction(3, 5),
        '⅘' => Twin::Fraction(4, 5),
        '⅙' => Twin::Fraction(1, 6),
        '⅚' => Twin::Fraction(5, 6),
        '⅛' => Twin::Fraction(1, 8),
        '⅜' => Twin::Fraction(3, 8),
        '⅝' => Twin::Fraction(5, 8),
        '⅞' => Twin::Fraction(7, 8),
        _ => return None,
    })
}

fn greek(c: char) -> Option<&'static str> {
    const LOWER: [&str; 25] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
        "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    ];
    const UPPER: [&str; 25] = [
        "Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta", "Eta", "Theta", "Iota", "Kappa", "Lambda", "Mu", "Nu",
        "Xi", "Omicron", "Pi", "Rho", "", "Sigma", "Tau", "Upsilon", "Phi", "Chi", "Psi", "Omega",
    ];
    let code = c as usize;
    match c {
        'α'..='ω' => Some(LOWER[code - 'α' as usize]),
        'Α'..='Ω' => Some(UPPER[code - 'Α' as usize]),
        'ϕ' | '𝜙' => Some("phi"),
        'ϵ' => Some("epsilon"),
        'ϑ' => Some("theta"),
        'µ' => Some("mu"),
        '𝜋' | '𝝅' | 'ᴨ' => Some("pi"),
        'ℓ' => Some("ell"),
        _ => None,
    }
    .filter(|s| !s.is_empty())
}
