//! Bar charts as inline SVG.

use std::fmt::Write;

/// Colours that stay apart for most eyes, one for each series.
pub const COLOURS: [&str; 10] =
    ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999933", "#ee8866", "#bbbbbb", "#555555"];

/// Width of a chart, of the column of names on its left, and of the figures on its right.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 262.0;
const FIGURES: f64 = 110.0;
/// Height of a bar and of the text beside it.
const BAR: f64 = 13.0;

/// Text with the characters that HTML reserves written out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

/// One bar of a group: series, value, and its figure as text.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Number of the series.
    pub series: usize,
    /// The value.
    pub value: f64,
    /// What stands at its end.
    pub figure: String,
}

fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

fn begin(height: f64, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"11\"><title>{}</title>\n<rect width=\"{WIDTH:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n",
        escape(title)
    )
}

fn legend(out: &mut String, series: &[(usize, String)]) {
    let mut x = NAMES;
    for (number, name) in series {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"6\" width=\"11\" height=\"11\" fill=\"{}\"/><text x=\"{:.0}\" y=\"16\">{}</text>",
            colour(*number),
            x + 15.0,
            escape(name)
        );
        x += 30.0 + name.chars().count() as f64 * 6.2;
    }
}

/// Groups of bars side by side on a logarithmic scale from 1 (values below are drawn from 1 to the left edge's right).
pub fn logarithmic(title: &str, series: &[(usize, String)], groups: &[(String, Vec<Bar>)]) -> String {
    let values = || groups.iter().flat_map(|g| &g.1).map(|b| b.value).filter(|v| *v > 0.0);
    let highest = values().fold(10.0f64, f64::max);
    let lowest = values().fold(1.0f64, f64::min);
    let (from, to) = (lowest.log10().floor(), highest.log10().ceil());
    let scale = (WIDTH - NAMES - FIGURES) / (to - from).max(1.0);
    let x = |value: f64| NAMES + (value.max(10f64.powf(from)).log10() - from) * scale;
    let bars: usize = groups.iter().map(|g| g.1.len().max(1)).sum();
    let height = 44.0 + bars as f64 * BAR + groups.len() as f64 * 7.0;
    let mut out = begin(height, title);
    legend(&mut out, series);
    for power in from as i32..=to as i32 {
        let at = x(10f64.powi(power));
        let strong = if power == 0 { "#555555" } else { "#dddddd" };
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"38\" y2=\"{height:.0}\" stroke=\"{strong}\"/><text x=\"{at:.1}\" y=\"34\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
            10f64.powi(power)
        );
    }
    let mut y = 42.0;
    for (name, bars) in groups {
        let middle = y + bars.len().max(1) as f64 * BAR / 2.0 + 4.0;
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 8.0,
            escape(name)
        );
        for bar in bars {
            let (zero, end) = (x(1.0), x(bar.value));
            let (left, right) = (zero.min(end), zero.max(end));
            let _ = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#333333\">{}</text>",
                (right - left).max(1.5),
                BAR - 2.0,
                colour(bar.series),
                right + 5.0,
                y + BAR - 3.5,
                escape(&bar.figure)
            );
            y += BAR;
        }
        if bars.is_empty() {
            y += BAR;
        }
        y += 7.0;
    }
    out + "</svg>\n"
}

/// One stacked bar to 100 percent for each group; values are shares of their sum.
pub fn stacked(title: &str, series: &[(usize, String)], groups: &[(String, Vec<Bar>)]) -> String {
    // The legend may need two lines.
    let half = series.len().div_ceil(2);
    let height = 54.0 + groups.len() as f64 * 26.0;
    let mut out = begin(height, title);
    legend(&mut out, &series[..half]);
    out += "<g transform=\"translate(0,18)\">\n";
    legend(&mut out, &series[half..]);
    out += "</g>\n";
    let mut y = 46.0;
    for (name, bars) in groups {
        let sum: f64 = bars.iter().map(|b| b.value).sum();
        let mut x = NAMES;
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 8.0,
            y + 14.0,
            escape(name)
        );
        for bar in bars.iter().filter(|b| b.value > 0.0) {
            let width = bar.value / sum * (WIDTH - NAMES - 12.0);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"20\" fill=\"{}\"><title>{}</title></rect>",
                colour(bar.series),
                escape(&bar.figure)
            );
            if width > 34.0 {
                let _ = writeln!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#ffffff\">{:.0}%</text>",
                    x + width / 2.0,
                    y + 14.0,
                    bar.value / sum * 100.0
                );
            }
            x += width;
        }
        y += 26.0;
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters() {
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }

    /// The widths of all bars in drawing order, the white background left out.
    fn widths(svg: &str) -> Vec<f64> {
        let rects = svg.split("<rect ").skip(2).filter(|r| !r.contains("width=\"11\""));
        rects.filter_map(|r| r.split("width=\"").nth(1)?.split('"').next()?.parse().ok()).collect()
    }

    #[test]
    fn ten_times_more_is_one_step() {
        let bar = |value| Bar { series: 0, value, figure: String::new() };
        let groups = [("a".to_owned(), vec![bar(10.0), bar(100.0), bar(1.0)])];
        let svg = logarithmic("t", &[(0, "s".to_owned())], &groups);
        let w = widths(&svg);
        assert!((w[1] / w[0] - 2.0).abs() < 0.01 && w[2] < 2.0, "{w:?}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn shares_fill_the_bar() {
        let bar = |series, value| Bar { series, value, figure: String::new() };
        let groups = [("a".to_owned(), vec![bar(0, 1.0), bar(1, 3.0), bar(2, 0.0)])];
        let series: Vec<_> = (0..3).map(|n| (n, n.to_string())).collect();
        let w = widths(&stacked("t", &series, &groups));
        assert_eq!(w.len(), 2);
        assert!((w[1] / w[0] - 3.0).abs() < 0.01, "{w:?}");
    }
}
