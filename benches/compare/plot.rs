//! How times grow, as a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What is drawn: a name, and for each of several sizes how many milliseconds it took.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// In pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 80.0;
const COLORS: [&str; 2] = ["#b5482a", "#3a6ea5"];

/// Writes `docs/<name>.svg`. Both scales are logarithmic, with lines at the powers of ten: what is linear rises as these lines'
/// diagonal does.
pub fn write(name: &str, lines: &[Line<'_>]) {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (across, up) = (Scale::of(points().map(|point| point.0)), Scale::of(points().map(|point| point.1)));
    let x = |value: f64| MARGIN + across.place(value) * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - up.place(value) * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let (left, right, top, bottom) = (MARGIN, WIDTH - MARGIN, MARGIN, HEIGHT - MARGIN);
    for value in across.powers() {
        let at = x(value);
        let _ = writeln!(svg, "<path d=\"M{at:.0} {top}V{bottom}\" stroke=\"#ddd\"/>");
        let under = bottom + 18.0;
        let _ = writeln!(svg, "<text x=\"{at:.0}\" y=\"{under}\" text-anchor=\"middle\">{value}</text>");
    }
    for value in up.powers() {
        let at = y(value);
        let _ = writeln!(svg, "<path d=\"M{left} {at:.0}H{right}\" stroke=\"#ddd\"/>");
        let beside = left - 8.0;
        let _ = writeln!(svg, "<text x=\"{beside}\" y=\"{at:.0}\" text-anchor=\"end\">{value} ms</text>");
    }
    for (at, ((name, points), color)) in lines.iter().zip(COLORS).enumerate() {
        let places: Vec<String> =
            points.iter().map(|(size, time)| format!("{:.1},{:.1}", x(*size), y(*time))).collect();
        let places = places.join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{places}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
        );
        let line = 24.0 + 18.0 * at as f64;
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"{line}\" fill=\"{color}\">{name}</text>");
    }
    svg.push_str("</svg>\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{name}.svg"));
    fs::write(&path, svg).expect("docs can be written to");
}

/// From a power of ten to another, by logarithm.
struct Scale {
    from: i32,
    to: i32,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let logarithms: Vec<f64> = values.map(f64::log10).collect();
        let least = logarithms.iter().copied().fold(f64::INFINITY, f64::min).floor();
        let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
        Self { from: least as i32, to: (most as i32).max(least as i32 + 1) }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from)
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10f64.powi(power))
    }
}
