//! Plain-text tables and bars for summaries on stderr.

/// Lays out rows under a header; the first column is left-aligned, the others right-aligned.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut push = |cells: &[String]| {
        for (i, cell) in cells.iter().enumerate().take(columns) {
            let pad = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
            let line = if i == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") };
            text.push_str(&line);
        }
        text.push('\n');
    };
    push(&header.iter().map(ToString::to_string).collect::<Vec<_>>());
    push(&widths.iter().map(|w| "─".repeat(*w)).collect::<Vec<_>>());
    for row in rows {
        push(row);
    }
    text
}

/// A horizontal bar of at most `width` cells for `value` out of `max`.
pub fn bar(value: f64, max: f64, width: usize) -> String {
    if max <= 0.0 || !value.is_finite() {
        return String::new();
    }
    let cells = ((value / max).clamp(0.0, 1.0) * width as f64).round() as usize;
    "█".repeat(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text =
            render(&["model", "avg@4"], &[vec!["base".into(), "0.5".into()], vec!["rasft".into(), "0.75".into()]]);
        assert_eq!(text, "model  avg@4\n─────  ─────\nbase     0.5\nrasft   0.75\n");
    }

    #[test]
    fn bars_are_proportional() {
        assert_eq!(bar(1.0, 2.0, 4), "██");
        assert_eq!(bar(1.0, 0.0, 4), "");
    }
}
