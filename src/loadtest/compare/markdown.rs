//! Results as Markdown: a table for each figure.

use std::fmt::Write;

use super::super::progress::{grouped, short};
use super::table::{Figure, Outcome, Row, Sample};

/// Each cell is a median, and how many times that of the first contestant it is.
pub fn markdown(outcome: &Outcome) -> String {
    let mut text = String::new();
    for figure in Figure::ALL {
        let rows: Vec<_> = outcome.rows.iter().filter(|row| row.figure == figure).collect();
        if !rows.is_empty() {
            text += &table(figure.title(), &outcome.contestants, &rows);
        }
    }
    for series in &outcome.series {
        let row = |(size, samples): &(u64, Vec<Sample>)| (grouped(*size), samples.clone());
        let rows: Vec<_> = series.points.iter().map(row).collect();
        text += &head(&format!("{}: {}", series.title, series.figure.title()), &outcome.contestants);
        rows.iter().for_each(|(size, samples)| text += &line(size, samples));
        text.push('\n');
    }
    for line in outcome.absences.iter().chain(&outcome.faults) {
        let _ = writeln!(text, "- {line}");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn table(title: &str, contestants: &[String], rows: &[&Row]) -> String {
    let lines: String = rows.iter().map(|row| line(&row.title, &row.samples)).collect();
    head(title, contestants) + &lines + "\n"
}

fn head(title: &str, contestants: &[String]) -> String {
    format!("| {title} | {} |\n|---|{}\n", contestants.join(" | "), "---:|".repeat(contestants.len()))
}

fn line(title: &str, samples: &[Sample]) -> String {
    let first = samples.first().and_then(|sample| sample.median);
    let cells: Vec<_> = samples.iter().enumerate().map(|(index, sample)| cell(sample, first.filter(|_| index > 0))).collect();
    format!("| {title} | {} |\n", cells.join(" | "))
}

fn cell(sample: &Sample, first: Option<f64>) -> String {
    let Some(median) = sample.median else { return "–".into() };
    match first {
        Some(first) if first > 0.0 => format!("{} (× {})", short(median), short(median / first)),
        _ => short(median),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests_support::outcome;
    use super::*;

    #[test]
    fn each_figure_has_its_table_with_ratios_to_the_first() {
        let text = markdown(&outcome());
        let wanted = "\
            | CPU of the broker, µs each | ours | theirs |\n|---|---:|---:|\n\
            | pairs | 0.400 | 11.2 (× 28.0) |\n| fan-out | 2 | – |\n\n\
            | A second | ours | theirs |\n|---|---:|---:|\n\
            | pairs | 1.50 M | 30.0 k (× 0.020) |\n\n\
            | by size: CPU of the broker, µs each | ours | theirs |\n|---|---:|---:|\n\
            | 10 | 1 | 4 (× 4) |\n| 1,000 | 1 | 8 (× 8) |\n\n\
            - fan-out, theirs: it knows no fans\n- pairs, theirs: 3 lost\n";
        assert_eq!(text, wanted);
    }
}
