//! Line plots as SVG text, for the report's page.

use std::fmt::Write as _;

/// Size of a plot and its margins, in pixels.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;
/// Colours of the series, in turn (told apart by people who do not see all colours).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#b8a900"];
/// Most grid lines of one axis.
const GRID_MAX: usize = 8;

/// How a value becomes a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// Powers of ten.
    Log,
}

/// Points of one colour.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot with two axes.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x_name: &'a str,
    pub(super) x_scale: Scale,
    pub(super) y_scale: Scale,
    pub(super) series: &'a [Series],
    /// Words at places of the x axis; empty: numbers.
    pub(super) x_marks: &'a [(f64, &'a str)],
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        let (low, high) = match scale {
            Scale::Linear => (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Log => (low.clamp(1e-6, 1e12), high.clamp(1e-6, 1e12)),
        };
        let (low, high) = match scale {
            Scale::Log if high <= low => (low / 2.0, low * 2.0),
            _ => (low, high),
        };
        Self { scale, low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        self.from + share * (self.to - self.from)
    }

    /// Values of grid lines.
    fn grid(&self) -> Vec<f64> {
        let step = 10_f64.powf((self.high / 4.0).max(1e-9).log10().floor());
        let values: Vec<f64> = match self.scale {
            Scale::Linear => (0..=40_u32).map(|index| f64::from(index) * step).collect(),
            Scale::Log => (-6..=12).flat_map(|power: i32| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power))).collect(),
        };
        let inside: Vec<f64> = values.into_iter().filter(|value| (self.low..=self.high).contains(value)).collect();
        let every = inside.len().div_ceil(GRID_MAX).max(1);
        inside.into_iter().step_by(every).collect()
    }
}

impl Plot<'_> {
    pub(super) fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let x = Axis::new(self.x_scale, points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::new(self.y_scale, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut out = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">"#);
        let _ = write!(out, r#"<text x="{LEFT}" y="15" class="t">{}</text>"#, escape(self.title));
        for value in y.grid() {
            let at = y.place(value);
            let _ = write!(out, r#"<path d="M{LEFT} {at:.1}H{:.1}" class="g"/>"#, WIDTH - RIGHT);
            let _ = write!(
                out,
                r#"<text x="{:.1}" y="{:.1}" class="n" text-anchor="end">{}</text>"#,
                LEFT - 5.0,
                at + 3.5,
                short(value)
            );
        }
        let marks: Vec<(f64, String)> = match self.x_marks {
            [] => x.grid().into_iter().map(|value| (value, short(value))).collect(),
            marks => marks.iter().map(|(value, words)| (*value, (*words).to_owned())).collect(),
        };
        for (value, words) in marks.iter().filter(|(value, _)| (x.low..=x.high).contains(value)) {
            let at = x.place(*value);
            let _ = write!(out, r#"<path d="M{at:.1} {TOP}V{:.1}" class="g"/>"#, HEIGHT - BOTTOM);
            let _ = write!(
                out,
                r#"<text x="{at:.1}" y="{:.1}" class="n" text-anchor="middle">{words}</text>"#,
                HEIGHT - BOTTOM + 14.0
            );
        }
        let name = escape(self.x_name);
        let _ =
            write!(out, r#"<text x="{:.1}" y="{:.1}" class="n" text-anchor="end">{name}</text>"#, WIDTH - RIGHT, HEIGHT - 5.0);
        for (index, series) in self.series.iter().enumerate() {
            out.push_str(&line(series, index, &x, &y));
        }
        out.push_str("</svg>");
        out
    }
}

fn line(series: &Series, index: usize, x: &Axis, y: &Axis) -> String {
    let mut out = format!(r#"<path fill="none" stroke="{}" stroke-width="1.6" d=""#, colour(index));
    for (number, (at, value)) in series.points.iter().enumerate() {
        let _ = write!(out, "{}{:.1} {:.1}", if number == 0 { 'M' } else { 'L' }, x.place(*at), y.place(*value));
    }
    out.push_str(r#""/>"#);
    out
}

/// The colour of series number `index`.
pub(super) fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// A number with few digits.
fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", value / 1e6),
        _ if value >= 1e3 => format!("{}k", value / 1e3),
        _ => format!("{}", (value * 1e4).round() / 1e4),
    }
}

/// Text that is safe inside HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_grid_lie_inside() {
        let axis = Axis::new(Scale::Log, [0.1, 2.5, 80.0].into_iter(), 0.0, 100.0);
        assert!((axis.place(0.1) - 0.0).abs() < 1e-9 && (axis.place(80.0) - 100.0).abs() < 1e-9);
        assert!(axis.grid().len() <= GRID_MAX && axis.grid().iter().all(|value| (0.1..=80.0).contains(value)));
        let flat = Axis::new(Scale::Log, std::iter::once(3.0), 0.0, 100.0);
        assert!((flat.place(3.0) - 50.0).abs() < 1e-9);
        let none = Axis::new(Scale::Linear, std::iter::empty(), 0.0, 100.0);
        assert!(none.place(0.5).is_finite());
    }

    #[test]
    fn a_plot_has_a_line_for_each_series_and_no_raw_text() {
        let series = [1.0, 2.0].map(|height| Series { name: String::new(), points: vec![(0.0, 0.0), (1.0, height)] });
        let (x_scale, y_scale) = (Scale::Linear, Scale::Linear);
        let svg = Plot { title: "<a&b>", x_name: "s", x_scale, y_scale, series: &series, x_marks: &[] }.to_svg();
        assert_eq!(svg.matches("stroke=").count(), 2);
        assert!(svg.contains("&lt;a&amp;b&gt;") && !svg.contains("NaN"));
    }
}
