//! The report as text for the terminal.

use super::results::{Report, ratio, seconds};

/// Times of each workload under each runner, and how many times longer than native (or than the fastest) they are.
pub fn text(report: &Report) -> String {
    let rows: Vec<_> = report.ran().collect();
    let mut lines = vec![
        std::iter::once("workload".to_owned()).chain(rows.iter().map(|r| r.title.clone())).collect::<Vec<String>>(),
    ];
    for w in &report.workloads {
        let cell = |row: &&super::results::Row| match (report.best(row, &w.name), report.slowdown(row, &w.name)) {
            (Some(s), Some(r)) => format!("{} ({}x)", seconds(s), ratio(r)),
            _ => "-".to_owned(),
        };
        lines.push(std::iter::once(w.name.clone()).chain(rows.iter().map(cell)).collect());
    }
    let widths: Vec<usize> =
        (0..=rows.len()).map(|c| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        for (c, text) in line.iter().enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(text.chars().count()));
            out += &if c == 0 { format!("{text}{pad}") } else { format!("  {pad}{text}") };
        }
        out += "\n";
    }
    out += "\nIn brackets: times native, or times the fastest where there is no native time.\n";
    for row in &report.rows {
        for note in row.unavailable.iter().chain(&row.notes) {
            out += &format!("{}: {note}\n", row.title);
        }
    }
    for failure in &report.failures {
        out += &format!("FAILED: {failure}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table() {
        let text = text(&super::super::results::tests::sample());
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[0]), ["workload", "interpreter", "native"]);
        assert_eq!(words(lines[1]), ["crc32", "1.00", "s", "(10.0x)", "100.0", "ms", "(1.00x)"]);
        assert!(lines[..3].iter().all(|l| l.chars().count() == lines[0].chars().count()), "{text}");
        assert!(text.contains("KVM: no & such device"), "{text}");
    }
}
