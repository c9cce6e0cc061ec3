//! The coverage matrix as one page without scripts or outside parts: a row for each instruction form, a cell for each
//! mode, kind of operand, judge and engine; red cells lead to a reproducer below, each to its own where the
//! suite keeps one.

use super::coverage::{Cell, KINDS, not_asked};
use super::output::escape;
use super::results::{Reproducer, Results};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}
table{border-collapse:collapse}th,td{border:1px solid #ccc;padding:1px 6px;text-align:right}
th{background:#f4f4f4}thead{position:sticky;top:0}td{white-space:nowrap}td.text{white-space:normal}td:first-child,td.text{text-align:left}
td.good{background:#dff2df}td.bad{background:#f6b8b8;font-weight:bold}td.none{background:#f4f4f4;color:#999}
pre{background:#f8f8f8;border:1px solid #ccc;padding:.6em;white-space:pre-wrap;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}th{background:#333}td.good{background:#1e4620}
td.bad{background:#7a1f1f}td.none{background:#262626}pre{background:#262626}td.bad a{color:#fff}}";

/// What a column of the matrix holds: judge, engine, mode.
type Column = (String, String, u8);

/// The page.
pub fn page(results: &Results) -> String {
    let mut columns: BTreeSet<Column> = BTreeSet::new();
    let mut rows: BTreeMap<&str, BTreeMap<Column, &Cell>> = BTreeMap::new();
    for (key, cell) in &results.cells {
        let column = (key.judge.clone(), key.engine.clone(), key.mode);
        rows.entry(&key.code).or_default().insert(column.clone(), cell);
        columns.insert(column);
    }
    let anchors = anchors(results);
    let totals = results.totals();
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Conformance of ring86</title>\
         <style>{STYLE}</style></head>\n<body>\n<h1>Conformance of ring86 {}</h1>\n<p>{}: {} cases, <a href=\"#failures\">{} \
         differences</a>, {} left out, {:.1} s on {}. Options: <code>{}</code></p>\n",
        env!("CARGO_PKG_VERSION"),
        escape(&results.asked.suites),
        totals.cases,
        totals.failed,
        totals.skipped,
        results.seconds,
        escape(&results.hosts.join(", ")),
        escape(&results.asked.options),
    );
    if !columns.is_empty() {
        matrix(&mut text, &columns, &rows, &anchors);
    }
    left_out(&mut text);
    failures(&mut text, results);
    text.push_str("</body></html>\n");
    text
}

/// The anchor of the reproducer for each code, judge, engine and mode that failed.
fn anchors(results: &Results) -> BTreeMap<(String, Column), usize> {
    let mut anchors = BTreeMap::new();
    for (number, test) in results.tests.iter().enumerate().filter(|(_, test)| test.status.is_bad()) {
        let (place, code) = test.name.split_once(' ').unwrap_or(("", &test.name));
        let mode = if place.ends_with("16") { 16 } else { 32 };
        let column = (test.suite.clone(), test.engine.clone(), mode);
        anchors.entry((code.to_owned(), column)).or_insert(number);
    }
    anchors
}

fn matrix(
    text: &mut String,
    columns: &BTreeSet<Column>,
    rows: &BTreeMap<&str, BTreeMap<Column, &Cell>>,
    anchors: &BTreeMap<(String, Column), usize>,
) {
    text.push_str(
        "<h2>Coverage</h2>\n<p>Cases by instruction form (an iced-x86 code). Red: some differ; the number leads to ",
    );
    text.push_str("the smallest case that does.</p>\n");
    text.push_str("<table><thead><tr><th rowspan=\"2\">instruction form</th>");
    for (judge, engine, mode) in columns {
        let _ = write!(text, "<th colspan=\"4\">{} / {} / {mode}-bit</th>", escape(judge), escape(engine));
    }
    text.push_str("<th rowspan=\"2\">not compared</th></tr><tr>");
    for _ in columns {
        for kind in KINDS {
            let _ = write!(text, "<th>{kind}</th>");
        }
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (code, cells) in rows {
        let _ = write!(text, "<tr><td>{}</td>", escape(code));
        let mut masks = BTreeSet::new();
        for column in columns {
            let Some(cell) = cells.get(column) else {
                text.push_str(&"<td class=\"none\"></td>".repeat(KINDS.len()));
                continue;
            };
            masks.insert(cell.masks.as_str());
            let of_test = anchors.get(&((*code).to_owned(), column.clone()));
            for (kind, (cases, failed)) in cell.counts.into_iter().enumerate() {
                let _ = match (cases, failed) {
                    (0, 0) => write!(text, "<td class=\"none\">0</td>"),
                    (_, 0) => write!(text, "<td class=\"good\">{cases}</td>"),
                    _ => {
                        let anchor = match (&cell.reproducers[kind], of_test) {
                            (Some(_), _) => own_anchor(code, column, kind),
                            (None, Some(at)) => format!("f{at}"),
                            (None, None) => "failures".to_owned(),
                        };
                        write!(text, "<td class=\"bad\"><a href=\"#{anchor}\">{failed} of {cases}</a></td>")
                    }
                };
            }
        }
        let masks: Vec<_> = masks.into_iter().filter(|mask| !mask.is_empty()).collect();
        let _ = writeln!(text, "<td class=\"text\">{}</td></tr>", escape(&masks.join("; ")));
    }
    text.push_str("</tbody></table>\n");
}

/// The anchor of a cell's own reproducer.
fn own_anchor(code: &str, (judge, engine, mode): &Column, kind: usize) -> String {
    escape(&format!("{judge}-{engine}-{mode}-{code}-{kind}"))
}

fn left_out(text: &mut String) {
    text.push_str(
        "<h2>Not asked of the host's processor</h2>\n<table><tr><th>instruction form</th><th>why</th></tr>\n",
    );
    let forms: BTreeMap<_, _> = not_asked(16).into_iter().chain(not_asked(32)).collect();
    for (code, reason) in forms {
        let _ = writeln!(text, "<tr><td>{code}</td><td class=\"text\">{}</td></tr>", escape(reason));
    }
    text.push_str("</table>\n");
}

fn failures(text: &mut String, results: &Results) {
    text.push_str("<h2 id=\"failures\">Failures</h2>\n");
    let mut none = true;
    for (number, test) in results.tests.iter().enumerate().filter(|(_, test)| test.status.is_bad()) {
        none = false;
        let _ = write!(
            text,
            "<h3 id=\"f{number}\">{} {} ({})</h3>\n<p>{}</p>\n",
            escape(&test.suite),
            escape(&test.name),
            escape(&test.engine),
            escape(&test.detail).replace('\n', "<br>")
        );
        if let Some(reproducer) = &test.reproducer {
            show(text, reproducer);
        }
    }
    for (key, cell) in &results.cells {
        let column = (key.judge.clone(), key.engine.clone(), key.mode);
        for (kind, found) in cell.reproducers.iter().enumerate() {
            let Some(found) = found else { continue };
            let _ = writeln!(
                text,
                "<h3 id=\"{}\">{} {}, {}-bit, {} ({})</h3>",
                own_anchor(&key.code, &column, kind),
                escape(&key.judge),
                escape(&key.code),
                key.mode,
                KINDS[kind],
                escape(&key.engine)
            );
            show(text, found);
        }
    }
    if none {
        text.push_str("<p>None.</p>\n");
    }
}

fn show(text: &mut String, reproducer: &Reproducer) {
    let _ = write!(
        text,
        "<pre>{}</pre>\n<pre>ring86 conform replay '{}'</pre>\n",
        escape(&reproducer.text),
        escape(&reproducer.line)
    );
}

#[cfg(test)]
mod tests {
    use super::super::coverage::Key;
    use super::super::results::{Asked, Test};
    use super::super::shard::Shard;
    use super::*;

    #[test]
    fn red_cells_lead_to_reproducers() {
        let mut results = Results::new(Asked::default(), Shard::WHOLE);
        let mut test = Test::of_cases("native", "single", "seg16 Add_rm16_r16", 9, 2);
        test.reproducer = Some(Reproducer { line: "bytes=01c8".to_owned(), text: "before <state>".to_owned() });
        results.tests.push(test);
        let key =
            Key { code: "Add_rm16_r16".to_owned(), mode: 16, judge: "native".to_owned(), engine: "single".to_owned() };
        let counts = [(5, 2), (4, 0), (0, 0), (0, 0)];
        results.cells.insert(key, Cell { counts, masks: "AF".to_owned(), ..Cell::default() });
        // A file of vectors is of several forms, so its cells have their own.
        let key = Key { judge: "vectors".to_owned(), ..results.cells.keys().next().unwrap().clone() };
        let own = Reproducer { line: "vectors=01 test=7".to_owned(), text: "of its own".to_owned() };
        let reproducers = [None, Some(own), None, None];
        results.cells.insert(key, Cell { counts: [(1, 0), (3, 1), (0, 0), (0, 0)], reproducers, ..Cell::default() });
        let page = page(&results);
        assert!(page.contains("<td class=\"bad\"><a href=\"#f0\">2 of 5</a></td><td class=\"good\">4</td>"), "{page}");
        assert!(page.contains("<h3 id=\"f0\">") && page.contains("before &lt;state&gt;"), "{page}");
        let own = "vectors-single-16-Add_rm16_r16-1";
        assert!(page.contains(&format!("<a href=\"#{own}\">1 of 3</a>")) && page.contains(&format!("id=\"{own}\"")));
        assert!(page.contains("ring86 conform replay 'vectors=01 test=7'"), "{page}");
        // Whoever reads on the first screen that something failed gets to it from there, and both rows of the head stay.
        assert!(page.contains("<a href=\"#failures\">") && page.contains("<h2 id=\"failures\">"), "{page}");
        assert!(page.contains("thead{position:sticky") && page.matches("<thead>").count() == 1);
        assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
    }
}
