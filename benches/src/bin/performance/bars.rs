//! Bar charts, one below the other, as an SVG that needs nothing else.
//!
//! Without a font library nobody here knows how wide a text is: labels end, and numbers begin, where the
//! bars do, and the room beside them is sized for the longest by eye. Nothing but the charts decides the
//! bytes.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Everything that is drawn.
pub(crate) struct Picture {
    pub(crate) title: &'static str,
    pub(crate) subtitle: &'static str,
    pub(crate) charts: Vec<Chart>,
    pub(crate) footer: String,
}

/// Bars from the top down, on a logarithmic scale.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    /// What follows a number.
    pub(crate) unit: &'static str,
    pub(crate) bars: Vec<Bar>,
    /// The labels of those who could not be measured.
    pub(crate) missing: Vec<&'static str>,
    /// How and when it was measured.
    pub(crate) source: String,
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
    /// Above 0.
    pub(crate) value: f64,
}

/// Whose bar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// What all of them rest on.
    Floor,
    Peer,
}

const WIDTH: u32 = 860;
const MARGIN: u32 = 20;
/// Beside the bars: labels on the left, numbers on the right.
const LABELS: u32 = 270;
const NUMBERS: u32 = 90;
const HEADER: u32 = 74;
const FOOTER: u32 = 30;
const ROW: u32 = 21;
/// Of one line above or below the bars.
const LINE: u32 = 18;

const PAPER: RGBColor = RGBColor(251, 251, 249);
const INK: RGBColor = RGBColor(31, 35, 40);
const FAINT: RGBColor = RGBColor(99, 107, 117);
const GRID: RGBColor = RGBColor(224, 226, 229);

impl Kind {
    const fn colour(self) -> RGBColor {
        match self {
            Self::Ours => RGBColor(9, 105, 180),
            Self::Floor => RGBColor(150, 156, 165),
            Self::Peer => RGBColor(214, 158, 92),
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A text's style; the size is the SVG's font size.
fn text(size: f64, colour: RGBColor, across: HPos) -> TextStyle<'static> {
    // The backend divides by this, a guess at how a font's size and its height go together.
    let font = ("Helvetica, Arial, sans-serif", size * 1.24).into_font();
    font.color(&colour).pos(Pos::new(across, VPos::Center))
}

fn bold(style: &TextStyle<'static>) -> TextStyle<'static> {
    TextStyle { font: style.font.clone().style(FontStyle::Bold), ..style.clone() }
}

impl Picture {
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let heights: Vec<u32> = self.charts.iter().map(Chart::height).collect();
        let size = (WIDTH, HEADER + heights.iter().sum::<u32>() + FOOTER);
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&PAPER)?;
        let line = |words: &str, y: u32, style: TextStyle<'static>| {
            root.draw(&Text::new(words.to_owned(), (MARGIN as i32, y as i32), style))
        };
        line(self.title, 26, bold(&text(19.0, INK, HPos::Left)))?;
        line(self.subtitle, 47, text(12.5, FAINT, HPos::Left))?;
        line(&self.footer, size.1 - FOOTER / 2, text(11.0, FAINT, HPos::Left))?;
        let mut top = HEADER;
        for (chart, height) in self.charts.iter().zip(heights) {
            let area = root.clone().shrink((MARGIN, top), (WIDTH - 2 * MARGIN, height));
            chart.draw(&area)?;
            top += height;
        }
        root.present()?;
        drop(root);
        Ok(svg)
    }
}

impl Chart {
    /// Title and meaning above the bars, the scale and the source below them, and air.
    fn height(&self) -> u32 {
        let lines = if self.missing.is_empty() { 5 } else { 6 };
        lines * LINE + self.rows() * ROW
    }

    fn rows(&self) -> u32 {
        self.bars.len() as u32
    }

    /// From the power of ten below all bars to the longest one.
    fn scale(&self) -> (f64, f64) {
        let least = self.bars.iter().map(|bar| bar.value).fold(f64::INFINITY, f64::min);
        let most = self.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        // A bar that is just above a power would hardly be seen.
        (10_f64.powf((least / 1.25).log10().floor()), most)
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let (width, _) = area.dim_in_pixel();
        let (head, bars) = (2 * LINE, self.rows() * ROW);
        let line = |words: &str, (x, y): (u32, u32), style: TextStyle<'static>| {
            area.draw(&Text::new(words.to_owned(), (x as i32, y as i32), style))
        };
        line(self.title, (0, 6), bold(&text(14.0, INK, HPos::Left)))?;
        line(self.meaning, (0, 24), text(12.0, FAINT, HPos::Left))?;
        self.draw_bars(&area.clone().shrink((LABELS, head), (width - LABELS - NUMBERS, bars)))?;
        // The scale's own line is between.
        let below = head + bars + 28;
        line(&self.source, (LABELS, below), text(11.0, FAINT, HPos::Left))?;
        if !self.missing.is_empty() {
            let words = format!("not measured in this run: {}", self.missing.join(", "));
            line(&words, (LABELS, below + LINE), text(11.0, FAINT, HPos::Left))?;
        }
        Ok(())
    }

    /// The bars in an area, and beside and below it what they are called.
    fn draw_bars(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let ((least, most), rows) = (self.scale(), f64::from(self.rows()));
        let mut chart =
            ChartBuilder::on(area).build_cartesian_2d((least..most).log_scale(), rows..0.0)?;
        for power in powers(least, most) {
            chart.draw_series([PathElement::new([(power, 0.0), (power, rows)], GRID)])?;
            let words = grouped(&power.to_string()) + self.unit;
            let words = Text::new(words, (0, 10), text(11.0, FAINT, HPos::Center));
            chart.draw_series([EmptyElement::at((power, rows)) + words])?;
        }
        for (place, bar) in self.bars.iter().enumerate() {
            let [top, middle, bottom] = [0.12, 0.5, 0.88].map(|part| place as f64 + part);
            let corners = [(least, top), (bar.value, bottom)];
            chart.draw_series([Rectangle::new(corners, bar.kind.colour().filled())])?;
            let style = |across| {
                let style = text(12.5, INK, across);
                if bar.kind == Kind::Ours { bold(&style) } else { style }
            };
            let label = Text::new(bar.label.to_owned(), (-8, 0), style(HPos::Right));
            chart.draw_series([EmptyElement::at((least, middle)) + label])?;
            let number = number(bar.value) + self.unit;
            // A scale's line does not go through a number.
            let room = [(3, -7), (6 + 9 * number.chars().count() as i32, 7)];
            let number = EmptyElement::at((bar.value, middle))
                + Rectangle::new(room, PAPER.filled())
                + Text::new(number, (6, 0), style(HPos::Left));
            chart.draw_series([number])?;
        }
        Ok(())
    }
}

/// The powers of ten from the first on.
fn powers(least: f64, most: f64) -> impl Iterator<Item = f64> {
    let first = least.log10().round() as i32;
    (first..).map(|power| 10_f64.powi(power)).take_while(move |power| *power <= most)
}

/// With three digits; more would say something of the moment only.
fn number(value: f64) -> String {
    let decimals = match value {
        small if small < 9.995 => 2,
        small if small < 99.95 => 1,
        _ => 0,
    };
    // What three digits of a great one leave.
    let step = 10_f64.powf(value.log10().floor() - 2.0);
    let value = if step > 1.0 { (value / step).round() * step } else { value };
    grouped(&format!("{value:.decimals$}"))
}

/// Thousands are apart.
fn grouped(number: &str) -> String {
    let whole = number.split('.').next().unwrap_or(number).len();
    let mut text = String::new();
    for (place, digit) in number.chars().enumerate() {
        if place > 0 && place < whole && (whole - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Bar, Chart, Kind, grouped, number, powers};

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        let written = [0.514, 1.0, 9.996, 11.44, 99.96, 156.4, 999.7, 15_962.4, 1_234_567.0];
        let texts = ["0.51", "1.00", "10.0", "11.4", "100", "156", "1,000", "16,000", "1,230,000"];
        assert_eq!(written.map(number), texts);
        assert_eq!(grouped("0.0001"), "0.0001");
    }

    #[test]
    fn the_scale_starts_at_a_power_of_ten_below_all_bars() {
        let scale = |values: [f64; 2]| {
            let bars = values.map(|value| Bar { label: "", kind: Kind::Peer, value }).into();
            let (title, meaning, unit, source) = ("", "", "", String::new());
            Chart { title, meaning, unit, bars, missing: Vec::new(), source }.scale()
        };
        assert_eq!(scale([6.5, 0.51]), (0.1, 6.5));
        assert_eq!(scale([20.0, 32_000.0]), (10.0, 32_000.0));
        assert_eq!(scale([1.01, 5.0]), (0.1, 5.0));
        assert_eq!(powers(0.1, 120.0).collect::<Vec<_>>(), [0.1, 1.0, 10.0, 100.0]);
    }
}
