//! Bars from the top down, each with its label and its number.

use plotters::{
    prelude::{Color, Rectangle},
    style::text_anchor::HPos,
};

use crate::{
    picture::{
        Area, Body, Drawn, FAINT, INK, Kind, LABELS, LINE, NUMBERS, PAPER, bold, rule, text, write,
    },
    scale::{self, Scale, grouped, number},
};

#[derive(Debug)]
pub(crate) struct Bars {
    pub(crate) scale: scale::Kind,
    /// What follows a number.
    pub(crate) unit: &'static str,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
    /// Above 0.
    pub(crate) value: f64,
}

const ROW: u32 = 21;

impl Bars {
    fn rows(&self) -> u32 {
        self.bars.len() as u32
    }
}

impl Body for Bars {
    fn height(&self) -> u32 {
        self.rows() * ROW + LINE
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let scale = Scale::of_bars(self.scale, self.bars.iter().map(|bar| bar.value));
        let (width, _) = area.dim_in_pixel();
        let room = f64::from(width - LABELS - NUMBERS);
        let across = |value| LABELS as i32 + (scale.place(value) * room).round() as i32;
        let bottom = (self.rows() * ROW) as i32;
        for tick in scale.ticks() {
            rule(area, (across(tick), 0), (across(tick), bottom))?;
            let words = grouped(&tick.to_string()) + self.unit;
            write(area, words, (across(tick), bottom + 10), text(11.0, FAINT, HPos::Center))?;
        }
        for (place, bar) in self.bars.iter().enumerate() {
            let top = place as i32 * ROW as i32;
            let (middle, end) = (top + ROW as i32 / 2, across(bar.value));
            let corners = [(LABELS as i32, top + 3), (end, top + ROW as i32 - 3)];
            area.draw(&Rectangle::new(corners, bar.kind.colour().filled()))?;
            let style = |across| {
                let style = text(12.5, INK, across);
                if bar.kind == Kind::Ours { bold(&style) } else { style }
            };
            write(area, bar.label, (LABELS as i32 - 8, middle), style(HPos::Right))?;
            let number = number(bar.value) + self.unit;
            // A scale's line does not go through a number.
            let right = end + 6 + 9 * number.chars().count() as i32;
            let corners = [(end + 3, middle - 7), (right, middle + 7)];
            area.draw(&Rectangle::new(corners, PAPER.filled()))?;
            write(area, number, (end + 6, middle), style(HPos::Left))?;
        }
        Ok(())
    }
}
