//! Two normal forms of a prompt: a sequence of words for overlap with benchmarks, and a stricter text for near duplicates.

/// The words of a text: lower-cased maximal runs of letters and digits (Unicode `Alphabetic` or `N*`); everything else
/// separates. So punctuation, markup, spacing and capitals make no difference: `$x+1$` is the words `x`, `1`.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

/// A prompt as compared for near duplicates: lower-cased; quotes, `$`, and commas, full stops and other marks that end a
/// clause deleted unless they stand between two digits; white space collapsed. Operators and signs stay, so `x + 3` and
/// `x - 3` differ, while "3 Apples, 4 pears." and "3 apples 4 pears" do not.
pub fn near_form(prompt: &str) -> String {
    let chars: Vec<char> = prompt.chars().collect();
    let digit = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(char::is_ascii_digit);
    let mut out = String::with_capacity(prompt.len());
    for (i, &c) in chars.iter().enumerate() {
        match c {
            ',' | '.' | ':' | ';' | '?' | '!' if !(digit(i.checked_sub(1)) && digit(Some(i + 1))) => {}
            '"' | '\'' | '`' | '“' | '”' | '‘' | '’' | '$' => {}
            c if c.is_whitespace() => {
                if !out.ends_with(' ') && !out.is_empty() {
                    out.push(' ');
                }
            }
            c => out.extend(c.to_lowercase()),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ignore_marks_case_and_spacing() {
        let all: Vec<String> = words("  Find $x_{1}+2.5$, *Élan*!\n").collect();
        assert_eq!(all, ["find", "x", "1", "2", "5", "élan"]);
        assert_eq!(words(" .,\n").count(), 0);
    }

    #[test]
    fn near_form_keeps_what_changes_the_meaning() {
        let same = [
            ("Ann has 3 Apples,  4 pears.", "ann has 3 apples 4 pears"),
            ("What is $x + 3$?", "what is x + 3"),
            ("Janet’s eggs", "janets eggs"),
        ];
        for (a, b) in same {
            assert_eq!(near_form(a), b);
        }
        let different = [("x + 3", "x - 3"), ("1.5", "15"), ("1,080", "10 80"), ("f(x)=2", "f(x)>2")];
        for (a, b) in different {
            assert_ne!(near_form(a), near_form(b));
        }
    }
}
