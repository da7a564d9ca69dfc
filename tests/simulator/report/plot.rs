//! One figure of several who are compared: a bar for each, and a line from the smallest to the largest value.

use std::fmt::Write as _;

use super::page::escaped;
use crate::simulator::finding::Figure;

/// Of a bar with its gap, in pixels.
const HEIGHT: usize = 24;
/// Where bars begin, how long the longest is, and how wide all is.
const LEFT: f64 = 260.0;
const LONGEST: f64 = 300.0;
const WIDTH: f64 = 760.0;

/// An SVG of these figures, which are of one thing.
pub(super) fn plot(figures: &[&Figure]) -> String {
    let most = figures.iter().map(|figure| figure.spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| LEFT + value.max(0.0) / most * LONGEST;
    let height = figures.len() * HEIGHT + 4;
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">");
    for (nth, figure) in figures.iter().enumerate() {
        let (top, spread) = (nth * HEIGHT + 4, figure.spread);
        let (middle, text) = (top + HEIGHT / 2 - 2, top + HEIGHT / 2 + 2);
        let (end, least, far) = (scale(spread.median), scale(spread.least), scale(spread.most));
        let (of, shown) = (escaped(&figure.of), escaped(&spread.show(figure.unit)));
        write!(
            svg,
            "<text x=\"{}\" y=\"{text}\" class=\"of\">{of}</text>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"/>\
             <line x1=\"{least:.1}\" x2=\"{far:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{shown}</text>",
            LEFT - 8.0,
            end - LEFT,
            HEIGHT - 6,
            far + 8.0
        )
        .expect("a write to memory");
    }
    svg.push_str("</svg>");
    svg
}
