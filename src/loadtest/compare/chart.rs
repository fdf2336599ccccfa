//! Charts as SVG: bars for a table, lines for a plot.

use std::fmt::Write;

use super::super::progress::{grouped, short};
use super::table::{Figure, Outcome, Sample, Series};

/// Colours that are told apart by people who do not see all colours, too.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 20.0;
/// Where bars begin, and how far the longest one goes.
const LEFT: f64 = 260.0;
const RIGHT: f64 = WIDTH - 110.0;
const BAR: f64 = 14.0;
/// Height of a plot.
const HEIGHT: f64 = 420.0;

/// One group of bars for each row with this figure; lengths are logarithmic, since they differ by hundreds. `None` without rows.
pub fn bars(outcome: &Outcome, figure: Figure) -> Option<String> {
    let rows: Vec<_> = outcome.rows.iter().filter(|row| row.figure == figure).collect();
    let values = rows.iter().flat_map(|row| &row.samples).filter_map(|sample| sample.median);
    let scale = Scale::new(values, LEFT, RIGHT)?;
    let mut body = legend(&outcome.contestants);
    let mut y = 80.0;
    for row in rows {
        let height = row.samples.iter().filter(|sample| sample.median.is_some()).count() as f64 * BAR;
        let middle = y + height / 2.0 + 4.0;
        let _ = writeln!(body, r#"<text x="{}" y="{middle}" text-anchor="end">{}</text>"#, LEFT - 10.0, escaped(&row.title));
        for (sample, colour) in row.samples.iter().zip(COLOURS.iter().cycle()) {
            let Some(value) = sample.median else { continue };
            body += &bar(scale.place(value), y, colour, &short(value));
            y += BAR;
        }
        y += 12.0;
    }
    Some(page(figure.title(), "logarithmic", y + MARGIN, &body))
}

/// One line for each contestant; both axes are logarithmic.
pub fn lines(outcome: &Outcome, series: &Series) -> Option<String> {
    let sizes = Scale::new(series.points.iter().map(|(size, _)| *size as f64), 90.0, WIDTH - 40.0)?;
    let values = series.points.iter().flat_map(|(_, samples)| samples).filter_map(|sample| sample.median);
    let costs = Scale::new(values, HEIGHT - 50.0, 90.0)?;
    let mut body = legend(&outcome.contestants);
    for (size, _) in &series.points {
        let x = sizes.place(*size as f64);
        let label = grouped(*size);
        let _ = writeln!(body, r##"<path d="M{x:.1} 90V{}" stroke="#ddd"/>"##, HEIGHT - 50.0);
        let _ = writeln!(body, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{label}</text>"#, HEIGHT - 30.0);
    }
    for value in costs.ticks() {
        let y = costs.place(value);
        let _ = writeln!(body, r##"<path d="M90 {y:.1}H{}" stroke="#ddd"/>"##, WIDTH - 40.0);
        let _ = writeln!(body, r#"<text x="82" y="{:.1}" text-anchor="end">{}</text>"#, y + 4.0, short(value));
    }
    for (index, colour) in (0..outcome.contestants.len()).zip(COLOURS.iter().cycle()) {
        body += &line(series, index, colour, &sizes, &costs);
    }
    Some(page(&series.title, series.figure.title(), HEIGHT, &body))
}

fn line(series: &Series, contestant: usize, colour: &str, sizes: &Scale, costs: &Scale) -> String {
    let point = |(size, samples): &(u64, Vec<Sample>)| Some((*size as f64, samples.get(contestant)?.median?));
    let points: Vec<_> = series.points.iter().filter_map(point).collect();
    let places: Vec<_> = points.iter().map(|(size, cost)| (sizes.place(*size), costs.place(*cost))).collect();
    let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let mut text = format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n", path.join(" "));
    for ((x, y), (_, cost)) in places.iter().zip(&points) {
        let title = short(*cost);
        let _ = writeln!(text, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"><title>{title}</title></circle>"#);
    }
    text
}

fn bar(end: f64, y: f64, colour: &str, label: &str) -> String {
    let width = (end - LEFT).max(1.0);
    format!(
        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>\n<text x=\"{:.1}\" y=\"{}\">{label}</text>\n",
        BAR - 2.0,
        LEFT + width + 5.0,
        y + BAR - 4.0,
    )
}

fn legend(names: &[String]) -> String {
    let mut text = String::new();
    let mut x = MARGIN;
    for (name, colour) in names.iter().zip(COLOURS.iter().cycle()) {
        let _ = writeln!(text, r#"<rect x="{x}" y="50" width="12" height="12" fill="{colour}"/>"#);
        let _ = writeln!(text, r#"<text x="{}" y="60">{}</text>"#, x + 17.0, escaped(name));
        x += 40.0 + name.chars().count() as f64 * 7.0;
    }
    text
}

fn page(title: &str, note: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"30\" font-size=\"16\">{} <tspan font-size=\"12\" fill=\"#555\">{}</tspan></text>\n{body}</svg>\n",
        escaped(title),
        escaped(note),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// From values to places, logarithmically.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// From the power of ten below the least value to that above the greatest; zeros have no logarithm and are left out.
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let logarithms: Vec<_> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
        let low = logarithms.iter().copied().reduce(f64::min)?.floor();
        let high = logarithms.iter().copied().reduce(f64::max)?.ceil().max(low + 1.0);
        Some(Self { low, high, from, to })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.max(1e-12).log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Powers of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests_support::outcome;
    use super::*;

    #[test]
    fn longer_bars_are_larger_values_and_what_is_not_there_has_none() {
        let svg = bars(&outcome(), Figure::Cpu).unwrap();
        let widths: Vec<f64> = svg
            .lines()
            .filter_map(|line| {
                line.strip_prefix(&format!("<rect x=\"{LEFT}\""))?.split("width=\"").nth(1)?.split('"').next()?.parse().ok()
            })
            .collect();
        assert_eq!(widths.len(), 3);
        assert!(widths[0] < widths[2] && widths[2] < widths[1], "{widths:?}");
        assert!(bars(&outcome(), Figure::Memory).is_none());
    }

    #[test]
    fn a_flat_cost_is_a_flat_line() {
        let outcome = outcome();
        let svg = lines(&outcome, &outcome.series[0]).unwrap();
        let points: Vec<_> =
            svg.lines().filter_map(|line| line.strip_prefix("<polyline points=\"")?.split('"').next()).collect();
        let heights = |points: &str| {
            points.split(' ').filter_map(|point| point.split_once(',')).map(|(_, y)| y.to_owned()).collect::<Vec<_>>()
        };
        let (ours, theirs) = (heights(points[0]), heights(points[1]));
        assert_eq!(ours[0], ours[1]);
        assert!(theirs[0].parse::<f64>().unwrap() > theirs[1].parse::<f64>().unwrap(), "higher cost, higher up");
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
