//! Choice letters: `(C)`, `\textbf{(C)}`, `C.`, `C) 27`.

/// The letter an answer chooses, if the answer has the form of a choice.
///
/// `alone` is true when nothing but the letter stands there; only then does the form say for certain that the question
/// was one of choice.
pub fn choice_letter(text: &str) -> Option<(char, bool)> {
    parts(text).map(|(letter, rest)| (letter, rest.is_empty()))
}

/// What stands beside the letter of a choice: 27 in `C) 27`.
pub fn choice_text(text: &str) -> Option<String> {
    parts(text).map(|(_, rest)| rest).filter(|rest| !rest.is_empty())
}

fn parts(text: &str) -> Option<(char, String)> {
    let plain = unwrap_text(text);
    // "option B"
    let lead = ["option ", "choice ", "answer "]
        .into_iter()
        .find(|lead| plain.get(..lead.len()).is_some_and(|head| head.eq_ignore_ascii_case(lead)));
    let plain = plain.get(lead.map_or(0, str::len)..).unwrap_or_default().trim_start();
    let mut chars = plain.chars().peekable();
    let bracketed = chars.next_if(|c| matches!(c, '(' | '[')).is_some();
    if bracketed {
        while chars.next_if_eq(&' ').is_some() {}
    }
    let letter = chars.next().filter(|c| ('A'..='J').contains(c))?;
    while bracketed && chars.next_if_eq(&' ').is_some() {}
    let closed = chars.next_if(|c| matches!(c, ')' | ']')).is_some();
    if bracketed && !closed {
        return None;
    }
    let marked = closed || chars.next_if(|c| matches!(c, '.' | ':')).is_some();
    let rest: String = chars.collect();
    let rest = rest.trim();
    if rest.is_empty() || rest == "." {
        return Some((letter, String::new()));
    }
    // `(C) 27` and `C. 27`; but `A.5`, `(A)(B)` and `A(t)` are not choices.
    let spaced = plain.contains(' ') && !rest.starts_with(['(', '=', '+', '-', '*', '/', '^', '_', ',', ')']);
    (marked && spaced).then(|| (letter, rest.to_owned()))
}

/// The text with text commands, dollar signs and grouping braces removed.
pub(crate) fn unwrap_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(64));
    let mut rest = super::strip_markup(text);
    while !rest.is_empty() && out.len() < 256 {
        if let Some(after) = rest.strip_prefix('\\') {
            let name_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let name = &after[..name_len];
            match name {
                "text" | "textbf" | "textrm" | "textit" | "mathrm" | "mathbf" | "mbox" | "textnormal" | "textsf"
                | "mathsf" | "left" | "right" | "bf" | "rm" | "boldsymbol" | "displaystyle" => {}
                "" => {
                    out.push(' ');
                    rest = after.get(after.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
                    continue;
                }
                _ => {
                    out.push('\\');
                    out.push_str(name);
                }
            }
            rest = &after[name_len..];
            continue;
        }
        let Some(c) = rest.chars().next() else { break };
        match c {
            '{' | '}' | '$' | '*' => {}
            '~' => out.push(' '),
            _ => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::choice_letter;

    #[test]
    fn forms_of_choices() {
        for s in [
            "C",
            "(C)",
            "\\text{(C)}",
            "\\textbf{C}",
            "C.",
            "\\mathrm{C}",
            "**C**",
            "\\textbf{(C) }",
            "option C",
            "Choice (C)",
        ] {
            assert_eq!(choice_letter(s), Some(('C', true)), "{s}");
        }
        for s in ["C. 14", "(C) 27", "\\text{C)} 27", "\\textbf{(C)}\\ 12"] {
            assert_eq!(choice_letter(s), Some(('C', false)), "{s}");
        }
        for s in ["c", "AB", "A(t)=3", "12", "", "Z", "A+B", "(A", "A and B"] {
            assert_eq!(choice_letter(s), None, "{s}");
        }
    }
}
