//! The report as one HTML page that needs nothing beside itself.

use super::guest::BOOT;
use super::initrd;
use super::plot::{self, Bar, escape};
use super::results::{Report, Row, ratio, seconds};
use ring86_translator::activity::Doing;
use serde_json::Value;
use std::fmt::Write;

/// Kinds of calls that the plot shows; the table shows all.
const CALLS_SHOWN: usize = 14;

const STYLE: &str = "
body { font: 15px/1.5 sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: .15rem .6rem; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } .faint { color: #777; }
.failed { color: #a00; font-weight: bold; } svg { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
figcaption { font-size: 13px; color: #555; } .wide { overflow-x: auto; }
";

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn name_of<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// A table with a head; columns after the first `left` are numbers.
fn table(left: usize, head: &[String], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        let cell = |(i, text): (usize, &String)| {
            let class = if i < left { "" } else { " class=\"n\"" };
            format!("<{tag}{class}>{text}</{tag}>")
        };
        format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>())
    };
    let body: String = rows.iter().map(|r| cells("td", r)).collect();
    format!("<div class=\"wide\"><table>\n{}{body}</table></div>\n", cells("th", head))
}

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Ring86: overhead of {0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Overhead of virtualization: {0}</h1>\n",
        escape(&report.guest)
    );
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "<p>{}, {}. Smallest of {} alternating runs, each a process of its own. {}.</p>",
        escape(&report.date),
        escape(&report.host),
        report.runs,
        escape(&report.versions.join("; "))
    );
    out += "<p>The questions are those of Keith Adams and Ole Agesen, <i>A Comparison of Software and Hardware Techniques \
            for x86 Virtualization</i> (ASPLOS 2006): how much longer does the same work take than on the bare \
            processor, which operations make the difference, how often is the monitor called and what does each call \
            cost. Work that stays in user mode shows the quality of the generated code; system calls, context \
            switches, forks and page faults show what it costs to keep privileged state and page tables in \
            software.</p>\n";
    for failure in &report.failures {
        let _ = writeln!(out, "<p class=\"failed\">{}</p>", escape(failure));
    }
    runners(report, &mut out);
    times(report, &mut out);
    shares(report, &mut out);
    phases(report, &mut out);
    calls(report, &mut out);
    translations(report, &mut out);
    out + "</body>\n</html>\n"
}

fn runners(report: &Report, out: &mut String) {
    *out += "<h2>Who ran</h2>\n";
    let rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| {
            let notes: Vec<String> = row.unavailable.iter().chain(&row.notes).map(|n| escape(n)).collect();
            let state = match (&row.unavailable, row.cells.len()) {
                (Some(_), _) => "no".to_owned(),
                (None, n) => format!("{n} workloads"),
            };
            vec![escape(&row.title), state, notes.join("<br>")]
        })
        .collect();
    *out += &table(3, &["runner".to_owned(), "ran".to_owned(), "remarks".to_owned()], &rows);
}

/// Number of the series of each row that ran, with its title.
fn series(report: &Report) -> Vec<(usize, String)> {
    report.rows.iter().enumerate().filter(|(_, r)| !r.cells.is_empty()).map(|(n, r)| (n, r.title.clone())).collect()
}

fn times(report: &Report, out: &mut String) {
    *out += "<h2>Time and slowdown by workload</h2>\n";
    let rows: Vec<(usize, &Row)> = report.rows.iter().enumerate().filter(|(_, r)| !r.cells.is_empty()).collect();
    let groups: Vec<(String, Vec<Bar>)> = report
        .workloads
        .iter()
        .map(|w| {
            let bar = |&(series, row): &(usize, &Row)| {
                // The native bar is 1 by definition.
                let value = report.slowdown(row, &w.name).filter(|_| row.id != "native")?;
                Some(Bar { series, value, figure: format!("{}x", ratio(value)) })
            };
            (w.name.clone(), rows.iter().filter_map(bar).collect())
        })
        .filter(|(_, bars): &(String, Vec<Bar>)| !bars.is_empty())
        .collect();
    if !groups.is_empty() {
        let named: Vec<_> = series(report).into_iter().filter(|(n, _)| report.rows[*n].id != "native").collect();
        let _ = writeln!(
            out,
            "<figure>{}<figcaption>Times longer than native, on a logarithmic scale; where there is no native time, \
             times longer than the fastest runner. Shorter is better.</figcaption></figure>",
            plot::logarithmic("slowdown by workload", &named, &groups)
        );
    }
    let mut head = vec!["workload".to_owned(), "stands for".to_owned()];
    head.extend(rows.iter().map(|(_, r)| escape(&r.title)));
    let cells: Vec<Vec<String>> = report
        .workloads
        .iter()
        .map(|w| {
            let time = |&(_, row): &(usize, &Row)| {
                let Some(s) = report.best(row, &w.name) else { return "-".to_owned() };
                let to_native = report.native(&w.name).map(|n| format!("{}x native", ratio(s / n)));
                let to_fastest = report.fastest(&w.name).map(|f| format!("{}x fastest", ratio(s / f)));
                let both: Vec<String> = to_native.into_iter().chain(to_fastest).collect();
                format!("{} <span class=\"faint\">{}</span>", seconds(s), both.join(", "))
            };
            [escape(&w.name), w.stands_for.to_owned()].into_iter().chain(rows.iter().map(time)).collect()
        })
        .collect();
    *out += &table(2, &head, &cells);
}

/// Every run with counters: its row, the name of the start, and the counters.
fn runs(report: &Report) -> impl Iterator<Item = (&Row, &str, &Value)> {
    report.rows.iter().flat_map(|row| {
        report.starts.iter().filter_map(move |s| row.stats.get(s).map(|stats| (row, s.as_str(), stats)))
    })
}

fn shares(report: &Report, out: &mut String) {
    let groups: Vec<(String, Vec<Bar>)> = runs(report)
        .map(|(row, start, stats)| {
            let part = |part: &Value| {
                let series = Doing::ALL.iter().position(|d| d.name() == name_of(part, "name"))?;
                let value = number(part, "ns") as f64;
                Some(Bar { series, value, figure: format!("{}: {}", name_of(part, "name"), seconds(value / 1e9)) })
            };
            (format!("{}, {start}", row.title), list(stats, "time").iter().filter_map(part).collect())
        })
        .filter(|(_, bars): &(String, Vec<Bar>)| bars.iter().any(|b| b.value > 0.0))
        .collect();
    if groups.is_empty() {
        return;
    }
    let named: Vec<(usize, String)> = Doing::ALL.iter().map(|d| d.name().to_owned()).enumerate().collect();
    let _ = writeln!(
        out,
        "<h2>Where the time went</h2>\n<figure>{}<figcaption>Shares of the host's time of the fastest whole run, boot \
         included, sampled some thousand times a second on the processor's thread.</figcaption></figure>",
        plot::stacked("where the time went", &named, &groups)
    );
    let mut head =
        vec!["run".to_owned(), "total".to_owned(), "guest instructions".to_owned(), "interpreted".to_owned()];
    head.extend(named.iter().map(|(_, n)| n.clone()));
    let rows: Vec<Vec<String>> = runs(report)
        .zip(&groups)
        .map(|((_, _, stats), (name, bars))| {
            let instructions = number(stats, "guest_instructions");
            let share = number(stats, "interpreted_instructions") as f64 * 100.0 / instructions.max(1) as f64;
            let total = number(stats, "host_ns") as f64 / 1e9;
            let sum: f64 = bars.iter().map(|b| b.value).sum();
            let part = |(n, _): &(usize, String)| {
                let ns: f64 = bars.iter().filter(|b| b.series == *n).map(|b| b.value).sum();
                format!("{:.1}%", ns * 100.0 / sum.max(1.0))
            };
            [escape(name), seconds(total), format!("{:.1} M", instructions as f64 / 1e6), format!("{share:.1}%")]
                .into_iter()
                .chain(named.iter().map(part))
                .collect()
        })
        .collect();
    *out += &table(1, &head, &rows);
}

/// The name of a phase in the report: that of the workload whose line ends it.
fn phase_name(phase: &Value) -> &str {
    match name_of(phase, "name") {
        initrd::READY => BOOT,
        name if name == initrd::TIMES => "program",
        name => name,
    }
}

/// Kinds of calls that are named for each workload.
const KINDS_NAMED: usize = 4;

fn phases(report: &Report, out: &mut String) {
    let named: Vec<(usize, String)> = Doing::ALL.iter().map(|d| d.name().to_owned()).enumerate().collect();
    let mut title = "<h2>Workload by workload</h2>\n<p>The same by the lines that the guest prints: what came before the \
                     line of a workload, the start of its program and the warming up of its code included. Few samples \
                     make rough shares.</p>\n";
    for (row, start, stats) in runs(report) {
        let all = list(stats, "phases");
        if all.is_empty() {
            continue;
        }
        let part = |part: &Value| {
            let series = Doing::ALL.iter().position(|d| d.name() == name_of(part, "name"))?;
            let value = number(part, "ns") as f64;
            Some(Bar { series, value, figure: format!("{}: {}", name_of(part, "name"), seconds(value / 1e9)) })
        };
        let bars = |p: &Value| (phase_name(p).to_owned(), list(p, "time").iter().filter_map(part).collect());
        let groups: Vec<(String, Vec<Bar>)> =
            all.iter().map(bars).filter(|(_, bars): &(String, Vec<Bar>)| bars.iter().any(|b| b.value > 0.0)).collect();
        let _ = writeln!(
            out,
            "{title}<h3>{0}, {1}</h3>\n<figure>{2}<figcaption>Shares of the host's time of each part.</figcaption></figure>",
            escape(&row.title),
            escape(start),
            plot::stacked("where the time went, workload by workload", &named, &groups)
        );
        title = "";
        let rows: Vec<Vec<String>> = all.iter().map(phase_row).collect();
        let head = [
            "part",
            "total",
            "instructions",
            "interpreted",
            "calls",
            "in calls",
            "side exits",
            "page walks",
            "most calls",
        ]
        .map(str::to_owned);
        let _ = writeln!(out, "<details><summary>Counts</summary>{}</details>", table(1, &head, &rows));
    }
}

/// What the table of phases says of one.
fn phase_row(phase: &Value) -> Vec<String> {
    let mut kinds: Vec<&Value> = list(phase, "calls").iter().filter(|c| number(c, "count") > 0).collect();
    kinds.sort_by_key(|c| std::cmp::Reverse(number(c, "count")));
    let of = |member: &str| kinds.iter().map(|c| number(c, member)).sum::<u64>();
    let most: Vec<String> = kinds
        .iter()
        .take(KINDS_NAMED)
        .map(|c| format!("{} {}", number(c, "count"), escape(name_of(c, "name"))))
        .collect();
    let instructions = number(phase, "guest_instructions");
    let interpreted = number(phase, "interpreted_instructions") as f64 * 100.0 / instructions.max(1) as f64;
    let exits: u64 = list(phase, "side_exits").iter().map(|e| number(e, "count")).sum();
    vec![
        escape(phase_name(phase)),
        seconds(number(phase, "host_ns") as f64 / 1e9),
        format!("{:.1} M", instructions as f64 / 1e6),
        format!("{interpreted:.1}%"),
        of("count").to_string(),
        seconds(of("ns") as f64 / 1e9),
        exits.to_string(),
        number(&phase["counters"], "page walks").to_string(),
        most.join(", "),
    ]
}

fn calls(report: &Report, out: &mut String) {
    let mut title = "<h2>Hypervisor calls by kind</h2>\n<p>Each privileged or sensitive instruction of the guest is a \
                     call of the monitor, unless it is written out inline. Calls are counted; their cost is measured \
                     on a sample and includes the chips that a call reaches. Kinds without a star are not sensitive: \
                     they are calls because they are long.</p>\n";
    for (row, start, stats) in runs(report) {
        let mut kinds: Vec<&Value> = list(stats, "calls").iter().filter(|c| number(c, "count") > 0).collect();
        if kinds.is_empty() {
            continue;
        }
        kinds.sort_by_key(|c| std::cmp::Reverse(number(c, "ns")));
        let star = |c: &Value| if c["sensitive"] == true { "*" } else { "" };
        let groups: Vec<(String, Vec<Bar>)> = kinds
            .iter()
            .take(CALLS_SHOWN)
            .map(|c| {
                let (count, ns) = (number(c, "count") as f64, number(c, "ns") as f64);
                let bars = vec![
                    Bar { series: 0, value: count, figure: format!("{count:.0} calls") },
                    Bar { series: 1, value: (ns / count).max(1.0), figure: format!("{:.0} ns each", ns / count) },
                ];
                (format!("{}{} ({})", name_of(c, "name"), star(c), seconds(ns / 1e9)), bars)
            })
            .collect();
        let named = [(0, "calls".to_owned()), (1, "nanoseconds each".to_owned())];
        let total = |sensitive: bool| -> f64 {
            kinds.iter().filter(|c| (c["sensitive"] == true) == sensitive).map(|c| number(c, "ns") as f64 / 1e9).sum()
        };
        let _ = writeln!(
            out,
            "{title}<h3>{}, {}</h3>\n<figure>{}<figcaption>The {} kinds that took longest in all, in brackets how long; \
             logarithmic scale. All sensitive calls together {}, the others {}.</figcaption></figure>",
            escape(&row.title),
            escape(start),
            plot::logarithmic("hypervisor calls by kind", &named, &groups),
            groups.len(),
            seconds(total(true)),
            seconds(total(false))
        );
        title = "";
        let rows: Vec<Vec<String>> = kinds
            .iter()
            .map(|c| {
                let (count, ns) = (number(c, "count"), number(c, "ns"));
                let mean = ns as f64 / count as f64;
                vec![
                    format!("{}{}", escape(name_of(c, "name")), star(c)),
                    count.to_string(),
                    format!("{mean:.0} ns"),
                    seconds(ns as f64 / 1e9),
                ]
            })
            .collect();
        let head = ["kind", "calls", "each", "in all"].map(str::to_owned);
        let _ = writeln!(out, "<details><summary>All kinds</summary>{}</details>", table(1, &head, &rows));
        let free: Vec<String> = list(stats, "no_calls")
            .iter()
            .map(|kind| format!("{} ({})", escape(name_of(kind, "name")), escape(name_of(kind, "when"))))
            .collect();
        if !free.is_empty() {
            let _ = writeln!(out, "<p>Compiled without a call, so not counted, if: {}.</p>", free.join(", "));
        }
    }
}

fn translations(report: &Report, out: &mut String) {
    let rows: Vec<Vec<String>> = runs(report)
        .map(|(row, start, stats)| {
            let t = &stats["translations"];
            let exits: Vec<String> = list(stats, "side_exits")
                .iter()
                .map(|e| format!("{} {}", number(e, "count"), escape(name_of(e, "reason"))))
                .collect();
            vec![
                escape(&format!("{}, {start}", row.title)),
                if exits.is_empty() { "none".to_owned() } else { exits.join("<br>") },
                number(t, "blocks").to_string(),
                number(t, "regions").to_string(),
                number(t, "instructions").to_string(),
                format!("{:.0} KiB", number(t, "bytes") as f64 / 1024.0),
                seconds(number(t, "ns") as f64 / 1e9),
                number(stats, "invalidations").to_string(),
                number(&stats["counters"], "page walks").to_string(),
                number(stats, "window_fills").to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let head = [
        "run",
        "side exits",
        "blocks lifted",
        "regions",
        "instructions compiled",
        "code",
        "compiling",
        "invalidations",
        "page walks",
        "window fills",
    ]
    .map(str::to_owned);
    *out += "<h2>Translations</h2>\n<p>Compiling goes on beside the guest, on other threads.</p>\n";
    *out += &table(2, &head, &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone() {
        let page = page(&super::super::results::tests::sample());
        assert!(page.contains("Adams") && page.contains("ASPLOS 2006"));
        assert!(page.contains("&lt;guest&gt;") && !page.contains("<guest>"), "what comes from outside is escaped");
        assert!(page.contains("no &amp; such device"));
        for outside in ["<script", "<link", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for tag in ["svg", "table", "figure", "tr", "td", "div", "details", "p", "h2"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn what_was_measured_is_on_the_page() {
        let page = page(&super::super::results::tests::sample());
        for text in
            ["10.0x", "90%", "Cli*", "12 page fault", "20 ns", "boot", "1000 calls", "Workload by workload", "3 Sti"]
        {
            assert!(page.contains(text), "{text}");
        }
    }
}
