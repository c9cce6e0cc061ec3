//! The three forms of a report (for people, as JSON lines, as JUnit's XML), and the folder that `--report` fills.

use super::html;
use super::results::{Results, Status, Test, totals};
use std::fmt::Write as _;
use std::path::Path;

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Human,
    /// One JSON object a line.
    Jsonl,
    /// JUnit's XML, as CI services read it.
    Junit,
}

/// The report in a form.
pub fn render(results: &Results, format: Format) -> String {
    match format {
        Format::Human => human(results),
        Format::Jsonl => results.json_lines().join("\n") + "\n",
        Format::Junit => junit(results),
    }
}

/// The suites and engines of a report, in the order of their names.
fn groups(results: &Results) -> Vec<(String, String)> {
    let mut groups: Vec<_> = results.tests.iter().map(|test| (test.suite.clone(), test.engine.clone())).collect();
    groups.sort();
    groups.dedup();
    groups
}

fn in_group<'a>(results: &'a Results, group: &'a (String, String)) -> impl Iterator<Item = &'a Test> + Clone {
    results.tests.iter().filter(move |test| test.suite == group.0 && test.engine == group.1)
}

fn human(results: &Results) -> String {
    let mut text = String::new();
    for test in results.tests.iter().filter(|test| test.status.is_bad()) {
        let _ = writeln!(text, "{}: {} {} ({})", test.status.name().to_uppercase(), test.suite, test.name, test.engine);
        for line in test.detail.lines() {
            let _ = writeln!(text, "    {line}");
        }
        if let Some(reproducer) = &test.reproducer {
            for line in reproducer.text.lines() {
                let _ = writeln!(text, "    {line}");
            }
            let _ = writeln!(text, "    ring86 conform replay '{}'", reproducer.line);
        }
    }
    for group in groups(results) {
        let sums = totals(in_group(results, &group));
        let [pass, skip, fail, error] = sums.tests;
        let _ = writeln!(
            text,
            "{} with {}: {pass} pass, {fail} fail, {error} without a result, {skip} left out; {} cases, {} differences, {} left out",
            group.0, group.1, sums.cases, sums.failed, sums.skipped
        );
    }
    let _ = writeln!(text, "{:.1} s on {}", results.seconds, results.hosts.join(", "));
    text
}

/// Text as the content of an XML or HTML element or attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no other control characters.
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn junit(results: &Results) -> String {
    let all = results.totals();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = |tests: [u64; 4]| {
        let [_, skip, fail, error] = tests;
        format!("tests=\"{}\" failures=\"{fail}\" errors=\"{error}\" skipped=\"{skip}\"", tests.iter().sum::<u64>())
    };
    let _ = writeln!(text, "<testsuites {} time=\"{:.3}\">", counts(all.tests), results.seconds);
    for group in groups(results) {
        let tests = in_group(results, &group);
        let name = escape(&format!("{}.{}", group.0, group.1));
        let _ = writeln!(text, "  <testsuite name=\"{name}\" {}>", counts(totals(tests.clone()).tests));
        for test in tests {
            let _ = write!(text, "    <testcase classname=\"{name}\" name=\"{}\"", escape(&test.name));
            let mut detail = test.detail.clone();
            if let Some(reproducer) = &test.reproducer {
                let _ = write!(detail, "\n{}\nring86 conform replay '{}'", reproducer.text, reproducer.line);
            }
            let first = escape(detail.lines().next().unwrap_or_default());
            let element = match test.status {
                Status::Pass => None,
                Status::Skip => Some("skipped"),
                Status::Fail => Some("failure"),
                Status::Error => Some("error"),
            };
            let _ = match element {
                None => writeln!(text, "/>"),
                Some(e) => {
                    writeln!(text, ">\n      <{e} message=\"{first}\">{}</{e}>\n    </testcase>", escape(&detail))
                }
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// Name of the file with JSON lines in a report's folder.
pub const LINES: &str = "results.jsonl";

fn report_failure(path: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    let why = match error.kind() {
        K::AlreadyExists | K::NotADirectory => "a file of that name is in the way".to_owned(),
        K::PermissionDenied => "permission denied".to_owned(),
        K::NotFound => "there is no folder to put it in".to_owned(),
        _ => error.to_string(),
    };
    format!("--report: cannot write '{}': {why}", path.display())
}

/// Makes a report's folder, and looks whether the file of JSON lines in it can be written, so that a place where it cannot is
/// known before the suites run. A report that is there stays until the new one comes.
///
/// # Errors
/// One sentence.
pub fn prepare_folder(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| report_failure(folder, &error))?;
    let path = folder.join(LINES);
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    file.map(drop).map_err(|error| report_failure(&path, &error))
}

/// Fills a folder, which is made if need be: JSON lines, JUnit's XML, the summary, and the coverage matrix as text
/// and as a page.
///
/// # Errors
/// One sentence.
pub fn write_folder(results: &Results, folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| report_failure(folder, &error))?;
    let files = [
        (LINES, render(results, Format::Jsonl)),
        ("junit.xml", junit(results)),
        ("summary.txt", human(results)),
        ("coverage.txt", super::coverage::table(results)),
        ("coverage.html", html::page(results)),
    ];
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(|error| report_failure(&path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::results::{Asked, Reproducer};
    use super::super::shard::Shard;
    use super::*;

    fn sample() -> Results {
        let asked = Asked { suites: "roms".to_owned(), ..Asked::default() };
        let mut results = Results::new(asked, Shard::WHOLE);
        results.tests.push(Test::new("roms", "single", "good", Status::Pass, ""));
        let mut bad = Test::new("roms", "single", "a<b", Status::Fail, "said \u{1b}\"no\" & left\nsecond line");
        bad.reproducer = Some(Reproducer { line: "x=1".to_owned(), text: "state\nafter".to_owned() });
        results.tests.push(bad);
        results.tests.push(Test::new("vectors", "single", "left out", Status::Skip, "because"));
        results
    }

    #[test]
    fn a_report_stays_until_the_new_one_comes() {
        let folder = std::env::temp_dir().join(format!("ring86-report-{}", std::process::id()));
        prepare_folder(&folder).expect("a place that can be written");
        write_folder(&sample(), &folder).expect("a place that can be written");
        prepare_folder(&folder).expect("the same again");
        let text = std::fs::read_to_string(folder.join(LINES)).expect("the report");
        drop(std::fs::remove_dir_all(&folder));
        assert_eq!(Results::parse("x", &text).expect("a whole report"), sample());
    }

    #[test]
    fn people_see_failures_and_sums() {
        let text = render(&sample(), Format::Human);
        assert!(text.starts_with("FAIL: roms a<b (single)\n    said"), "{text}");
        assert!(text.contains("    after\n    ring86 conform replay 'x=1'\n"), "{text}");
        assert!(text.contains("roms with single: 1 pass, 1 fail, 0 without a result, 0 left out; 2 cases, 1 diff"));
        assert!(text.contains("vectors with single: 0 pass, 0 fail, 0 without a result, 1 left out"), "{text}");
    }

    #[test]
    fn junit_is_well_formed() {
        let text = render(&sample(), Format::Junit);
        assert!(text.contains("<testsuites tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{text}");
        assert!(text.contains("<testcase classname=\"roms.single\" name=\"good\"/>"), "{text}");
        assert!(text.contains("message=\"said ?&quot;no&quot; &amp; left\""), "{text}");
        for element in ["testsuites", "testsuite", "failure", "skipped"] {
            let opened = text.matches(&format!("<{element} ")).count();
            assert_eq!(opened, text.matches(&format!("</{element}>")).count(), "{element}");
        }
    }
}
