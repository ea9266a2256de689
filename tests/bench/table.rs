//! What was measured in two ways, round by round, as a table for people: medians, ranges, ratios.

use std::fmt::Write as _;

/// All figures.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    section: String,
    name: String,
    /// By each of the two ways, a figure a round.
    ways: [Vec<f64>; 2],
}

impl Table {
    /// Keeps one figure of one way.
    pub(crate) fn add(&mut self, section: &str, name: &str, way: usize, figure: f64) {
        let at = self.0.iter().position(|row| row.section == section && row.name == name);
        let at = at.unwrap_or_else(|| {
            self.0.push(Row {
                section: section.into(),
                name: name.into(),
                ways: Default::default(),
            });
            self.0.len() - 1
        });
        self.0[at].ways[way].push(figure);
    }

    /// Keeps the median and the 99th percentile of one way's times in microseconds, of what `whose` says they are.
    pub(crate) fn add_times(&mut self, section: &str, whose: &str, way: usize, mut times: Vec<f64>) {
        times.sort_by(f64::total_cmp);
        self.add(section, &format!("{whose}time, median, µs"), way, quantile(&times, 0.5));
        self.add(section, &format!("{whose}time, 99 %, µs"), way, quantile(&times, 0.99));
    }

    /// The table, under the names of both ways.
    pub(crate) fn text(mut self, ways: [&str; 2]) -> String {
        let mut text = String::new();
        let mut section = "";
        self.0
            .iter_mut()
            .flat_map(|row| &mut row.ways)
            .for_each(|figures| figures.sort_by(f64::total_cmp));
        for row in &self.0 {
            if row.section != section {
                section = &row.section;
                let _ = writeln!(text, "\n{section:<46} {:>26} {:>26}     ratio", ways[0], ways[1]);
            }
            let [one, other] = [&row.ways[0], &row.ways[1]];
            let ratio = quantile(other, 0.5) / quantile(one, 0.5);
            let ratio = if (0.01..100.0).contains(&ratio) {
                format!("{ratio:.2}")
            } else {
                "–".into() // one of both is nothing
            };
            let _ = writeln!(
                text,
                "  {:<44} {:>26} {:>26} {ratio:>9}",
                row.name,
                range(one),
                range(other)
            );
        }
        text
    }
}

/// The figure below which this share of them is, of sorted ones.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn range(sorted: &[f64]) -> String {
    let figure = |share| {
        let figure = quantile(sorted, share);
        let decimals = if figure.abs() < 10.0 {
            2
        } else if figure.abs() < 100.0 {
            1
        } else {
            0
        };
        format!("{figure:.decimals$}")
    };
    format!("{} ({} – {})", figure(0.5), figure(0.0), figure(1.0))
}
