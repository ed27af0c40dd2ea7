//! `tojson` as transformers defines it for chat templates: Python's `json.dumps(x, ensure_ascii=False, indent=…)`.
//!
//! minijinja's own filter escapes HTML and writes no spaces, which would put other tokens into the prompt.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// The filter. `indent` may be given by name; `ensure_ascii`, `separators` and `sort_keys` are accepted only at their defaults.
pub(super) fn tojson(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    if ascii == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: ensure_ascii=true is not supported"));
    }
    let mut out = String::new();
    write(value, indent, 0, &mut out)?;
    Ok(out)
}

fn write(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Map => {
            let keys: Vec<Value> = value.try_iter()?.collect();
            list(keys.len(), ('{', '}'), indent, depth, out, |i, out| {
                let key = keys[i].as_str().map_or_else(|| keys[i].to_string(), str::to_owned);
                string(&key, out);
                out.push_str(": ");
                write(&value.get_item(&keys[i])?, indent, depth + 1, out)
            })
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            list(items.len(), ('[', ']'), indent, depth, out, |i, out| write(&items[i], indent, depth + 1, out))
        }
        kind => scalar(value, kind, out),
    }
}

fn scalar(value: &Value, kind: ValueKind, out: &mut String) -> Result<(), Error> {
    match kind {
        ValueKind::String => string(value.as_str().unwrap_or_default(), out),
        ValueKind::None => out.push_str("null"),
        // Displayed as Python writes them, True and False.
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {kind} is not JSON"))),
    }
    Ok(())
}

fn list(
    n: usize,
    (open, close): (char, char),
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
    mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(width) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(open);
    for i in 0..n {
        if i > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(depth + 1, out);
        item(i, out)?;
    }
    if n > 0 {
        line(depth, out);
    }
    out.push(close);
    Ok(())
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
