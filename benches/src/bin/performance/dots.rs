//! A row for each workload, and a dot in it for each contestant.

use plotters::{
    prelude::{Circle, Color, PathElement},
    style::text_anchor::HPos,
};

use crate::{
    lines::colours,
    picture::{Area, Body, Drawn, FAINT, INK, Kind, LABELS, LINE, bold, rule, text, write},
    scale::{Scale, grouped},
};

#[derive(Debug)]
pub(crate) struct Dots {
    pub(crate) unit: &'static str,
    pub(crate) rows: Vec<Row>,
    /// In the order of the values of a row.
    pub(crate) contestants: Vec<(&'static str, Kind)>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) label: &'static str,
    /// None for who has no such thing.
    pub(crate) values: Vec<Option<f64>>,
}

const ROW: u32 = 22;
/// Of the names above.
const COLUMNS: u32 = 3;
const RIGHT: u32 = 40;

impl Dots {
    fn legend(&self) -> u32 {
        (self.contestants.len() as u32).div_ceil(COLUMNS) * LINE + LINE
    }
}

impl Body for Dots {
    fn height(&self) -> u32 {
        self.legend() + self.rows.len() as u32 * ROW + LINE
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let (width, _) = area.dim_in_pixel();
        let kinds = self.contestants.iter().map(|(_, kind)| *kind);
        let colours: Vec<_> = colours(kinds).collect();
        for (place, ((label, kind), colour)) in self.contestants.iter().zip(&colours).enumerate() {
            let (column, line) = (place as u32 % COLUMNS, place as u32 / COLUMNS);
            let at = ((6 + column * (width / COLUMNS)) as i32, (line * LINE + 10) as i32);
            area.draw(&Circle::new(at, 5, colour.filled()))?;
            let style = text(12.0, INK, HPos::Left);
            let style = if *kind == Kind::Ours { bold(&style) } else { style };
            write(area, *label, (at.0 + 12, at.1), style)?;
        }
        let values = self.rows.iter().flat_map(|row| row.values.iter().copied().flatten());
        let scale = Scale::of_points(values);
        let (left, right) = (LABELS as i32, (width - RIGHT) as i32);
        let x = |value| left + (scale.place(value) * f64::from(right - left)).round() as i32;
        let top = self.legend() as i32;
        let bottom = top + (self.rows.len() as u32 * ROW) as i32;
        for tick in scale.ticks() {
            rule(area, (x(tick), top), (x(tick), bottom))?;
            // What all are compared with.
            if tick == 1.0 {
                area.draw(&PathElement::new([(x(tick), top), (x(tick), bottom)], FAINT))?;
            }
            let words = grouped(&tick.to_string()) + self.unit;
            write(area, words, (x(tick), bottom + 10), text(11.0, FAINT, HPos::Center))?;
        }
        for (place, row) in self.rows.iter().enumerate() {
            let middle = top + (place as u32 * ROW + ROW / 2) as i32;
            rule(area, (left, middle), (right, middle))?;
            write(area, row.label, (left - 8, middle), text(12.0, INK, HPos::Right))?;
            // Ours last, so that none hides it.
            let mut dots: Vec<_> = row.values.iter().zip(&self.contestants).zip(&colours).collect();
            dots.sort_by_key(|((_, (_, kind)), _)| *kind == Kind::Ours);
            for ((value, (_, kind)), colour) in dots {
                if let Some(value) = value {
                    let size = if *kind == Kind::Ours { 6 } else { 4 };
                    area.draw(&Circle::new((x(*value), middle), size, colour.filled()))?;
                }
            }
        }
        Ok(())
    }
}
