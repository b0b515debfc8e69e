//! Charts as inline SVG. Each has a title and a description, for those who hear the page.
#![forbid(unsafe_code)]

use super::html::escaped;

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 128.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// Values over time, oldest first; nothing where nothing is known.
pub struct Series<'a> {
    pub title: &'a str,
    pub points: &'a [(f64, Option<f64>)],
    pub show: fn(f64) -> String,
    /// The least that the axis goes up to, and for shares, the most.
    pub least_top: f64,
    /// Where the axis begins; shares near 100 are not told apart on one from 0.
    pub from_zero: bool,
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
pub fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|top| *top >= value * 0.999_999)
        .unwrap_or(value)
}

fn clock(seconds: f64) -> String {
    let minutes = (seconds / 60.0).rem_euclid(1_440.0) as i64;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The runs of known values between gaps.
fn runs(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (time, value) in points {
        match value {
            Some(value) => runs.last_mut().expect("there is always one").push((*time, *value)),
            None => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// A line over the time, with what it came to last; nothing where fewer than two values are known.
pub fn line(series: &Series) -> Option<String> {
    let runs = runs(series.points);
    let known: Vec<(f64, f64)> = runs.iter().flatten().copied().collect();
    if known.len() < 2 {
        return None;
    }
    let (first, last) = (known[0].0, known[known.len() - 1].0);
    let most = known.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max);
    let least = known.iter().map(|(_, value)| *value).fold(f64::MAX, f64::min);
    let top = if series.from_zero { round_up(most.max(series.least_top)) } else { series.least_top };
    let bottom = if series.from_zero { 0.0 } else { (least - (top - least).max(1.0) * 0.2).floor().max(0.0) };
    let x = |time: f64| LEFT + (time - first) / (last - first).max(1.0) * (WIDTH - LEFT - RIGHT);
    let y =
        |value: f64| TOP + (top - value) / (top - bottom).max(f64::MIN_POSITIVE) * (HEIGHT - TOP - BOTTOM);
    let base = HEIGHT - BOTTOM;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title><desc>{} to {} UTC: from {} to {}, at last {}.</desc>",
        escaped(series.title),
        clock(first),
        clock(last),
        escaped(&(series.show)(least)),
        escaped(&(series.show)(most)),
        escaped(&(series.show)(known[known.len() - 1].1))
    );
    for level in [top, (top + bottom) / 2.0, bottom] {
        svg.push_str(&format!(
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            y(level),
            y(level),
            LEFT - 6.0,
            y(level) + 4.0,
            escaped(&(series.show)(level))
        ));
    }
    for run in &runs {
        let path: Vec<String> =
            run.iter().map(|(time, value)| format!("{:.1} {:.1}", x(*time), y(*value))).collect();
        let (from, to) = (x(run[0].0), x(run[run.len() - 1].0));
        if run.len() == 1 {
            svg.push_str(&format!(
                "<circle class=\"dot\" cx=\"{from:.1}\" cy=\"{:.1}\" r=\"2\"/>",
                y(run[0].1)
            ));
            continue;
        }
        let path = path.join(" L");
        svg.push_str(&format!("<path class=\"area\" d=\"M{from:.1} {base} L{path} L{to:.1} {base} Z\"/>"));
        svg.push_str(&format!("<path class=\"line\" d=\"M{path}\"/>"));
    }
    svg.push_str(&format!(
        "<text x=\"{LEFT}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} UTC</text></svg>",
        HEIGHT - 6.0,
        clock(first),
        WIDTH - RIGHT,
        HEIGHT - 6.0,
        clock(last)
    ));
    Some(svg)
}

const ROW: f64 = 24.0;
const LABEL: f64 = 150.0;

/// Bars from the left, one below the other.
pub fn bars(title: &str, values: &[(String, f64)]) -> String {
    let most = values.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let height = ROW * values.len() as f64;
    let told: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value:.0}")).collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>{}</title><desc>{}</desc>",
        escaped(title),
        escaped(&told.join(", "))
    );
    for (at, (name, value)) in values.iter().enumerate() {
        let middle = ROW * at as f64 + ROW / 2.0;
        let length = (value / most * (WIDTH - LABEL - 44.0)).max(2.0);
        svg.push_str(&format!(
            "<text class=\"v\" x=\"0\" y=\"{:.1}\">{}</text><rect class=\"bar\" x=\"{LABEL}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"12\" rx=\"2\"/><text class=\"v\" x=\"{:.1}\" y=\"{:.1}\">{value:.0}</text>",
            middle + 4.0,
            escaped(&super::html::cut(name, 24)),
            middle - 6.0,
            LABEL + length + 6.0,
            middle + 4.0
        ));
    }
    svg.push_str("</svg>");
    svg
}

/// A share of a whole, below what names it; the figure itself stands beside it.
pub fn meter(percent: f64) -> String {
    format!(
        "<svg class=\"meter\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" width=\"100\" height=\"6\"/><rect class=\"bar\" width=\"{:.1}\" height=\"6\"/></svg>",
        percent.clamp(0.0, 100.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_figure() {
        assert_eq!((round_up(0.0), round_up(0.3), round_up(7.0)), (1.0, 0.5, 10.0));
        assert_eq!((round_up(100.0), round_up(101.0), round_up(f64::NAN)), (100.0, 200.0, 1.0));
    }

    fn series<'a>(title: &'a str, points: &'a [(f64, Option<f64>)]) -> Series<'a> {
        Series { title, points, show: |value| format!("{value:.0}"), least_top: 1.0, from_zero: true }
    }

    #[test]
    fn a_gap_parts_the_line_and_too_little_draws_none() {
        let points =
            [(0.0, Some(1.0)), (60.0, Some(3.0)), (120.0, None), (180.0, Some(2.0)), (240.0, Some(2.0))];
        let svg = line(&series("Load & <more>", &points)).expect("there are values");
        assert_eq!(svg.matches("class=\"line\"").count(), 2);
        assert!(svg.contains("<title>Load &amp; &lt;more&gt;</title>") && svg.contains("00:00 to 00:04 UTC"));
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(line(&series("one", &points[..1])).is_none());
        let flat = [(5.0, Some(0.0)), (5.0, Some(0.0))];
        assert!(!line(&series("flat", &flat)).expect("two values").contains("NaN"));
    }

    #[test]
    fn bars_are_told_as_well_as_drawn() {
        let svg = bars("Waits", &[("Lock: \"x\"".into(), 4.0), ("CPU".into(), 0.0)]);
        assert!(svg.contains("<desc>Lock: &quot;x&quot; 4, CPU 0</desc>"), "{svg}");
        assert!(meter(250.0).contains("width=\"100.0\""));
    }
}
