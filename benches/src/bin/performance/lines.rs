//! Lines over a logarithmic scale, with their names on the left in the order in which they are given.

use plotters::{
    prelude::{Circle, Color, PathElement, RGBColor},
    style::text_anchor::HPos,
};

use crate::{
    picture::{
        Area, Body, COLOURS, Drawn, FAINT, INK, Kind, LABELS, LINE, bold, rule, text, write,
    },
    scale::{Scale, grouped},
};

#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) across: Axis,
    pub(crate) up: Axis,
    pub(crate) lines: Vec<Line>,
}

/// What a direction means.
#[derive(Debug)]
pub(crate) struct Axis {
    /// What stands beside it.
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) scale: Scale,
    /// Those that get a rule; without any, the scale's own.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    fn ticks(&self) -> Vec<f64> {
        if self.ticks.is_empty() { self.scale.ticks() } else { self.ticks.clone() }
    }

    fn words(&self, tick: f64) -> String {
        grouped(&tick.to_string()) + self.unit
    }
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
    pub(crate) points: Vec<(f64, f64)>,
}

const HEIGHT: u32 = 250;
/// Beside the frame, for the numbers of the scale that goes up, and for half of the last one across.
const LEFT: u32 = 70;
const RIGHT: u32 = 40;

/// Of each line or group of dots: grey is the floor, and the others have one each.
pub(crate) fn colours(kinds: impl Iterator<Item = Kind>) -> impl Iterator<Item = RGBColor> {
    let mut peers = COLOURS[1..].iter().copied().cycle();
    kinds.map(move |kind| match kind {
        Kind::Ours => COLOURS[0],
        Kind::Floor => Kind::Floor.colour(),
        Kind::Peer => peers.next().unwrap_or(INK),
    })
}

impl Body for Lines {
    fn height(&self) -> u32 {
        HEIGHT + 2 * LINE
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let (width, _) = area.dim_in_pixel();
        let (left, right) = ((LABELS + LEFT) as i32, (width - RIGHT) as i32);
        let (top, bottom) = (8, HEIGHT as i32);
        let x = |value| {
            left + (self.across.scale.place(value) * f64::from(right - left)).round() as i32
        };
        let y =
            |value| bottom - (self.up.scale.place(value) * f64::from(bottom - top)).round() as i32;
        for tick in self.across.ticks() {
            rule(area, (x(tick), top), (x(tick), bottom))?;
            let words = self.across.words(tick);
            write(area, words, (x(tick), bottom + 11), text(11.0, FAINT, HPos::Center))?;
        }
        for tick in self.up.ticks() {
            rule(area, (left, y(tick)), (right, y(tick)))?;
            write(area, self.up.words(tick), (left - 6, y(tick)), text(11.0, FAINT, HPos::Right))?;
        }
        let title = ((left + right) / 2, bottom + 11 + LINE as i32);
        write(area, self.across.title, title, text(11.0, FAINT, HPos::Center))?;
        write(area, self.up.title, (0, top + 4), text(11.0, FAINT, HPos::Left))?;
        for (place, (line, colour)) in
            self.lines.iter().zip(colours(self.lines.iter().map(|line| line.kind))).enumerate()
        {
            let stroke = colour.stroke_width(if line.kind == Kind::Ours { 3 } else { 2 });
            let points: Vec<_> = line.points.iter().map(|(a, b)| (x(*a), y(*b))).collect();
            area.draw(&PathElement::new(points.clone(), stroke))?;
            for point in points {
                area.draw(&Circle::new(point, 3, colour.filled()))?;
            }
            let middle = top + 28 + (place as u32 * (LINE + 4)) as i32;
            area.draw(&PathElement::new([(0, middle), (18, middle)], colour.stroke_width(3)))?;
            let style = text(12.0, INK, HPos::Left);
            let style = if line.kind == Kind::Ours { bold(&style) } else { style };
            write(area, line.label, (26, middle), style)?;
        }
        Ok(())
    }
}
