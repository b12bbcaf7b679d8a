//! A picture: panels one below the other, as an SVG that needs nothing else.
//!
//! Without a font library nobody here knows how wide a text is: labels end, and numbers begin, where the
//! bars do, and the room beside them is sized for the longest by eye. Nothing but the panels decides the
//! bytes.

use std::{error::Error, fmt};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Everything that is drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) title: &'static str,
    pub(crate) subtitle: &'static str,
    pub(crate) panels: Vec<Panel>,
    pub(crate) footer: String,
}

/// One of several, with what has to be said of it.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) body: Box<dyn Body>,
    /// The labels of those who could not be measured.
    pub(crate) missing: Vec<&'static str>,
    /// How and when it was measured.
    pub(crate) source: String,
}

/// Bars, lines or dots, with their scales.
pub(crate) trait Body: fmt::Debug {
    fn height(&self) -> u32;

    fn draw(&self, area: &Area<'_>) -> Drawn;
}

/// Whose bar, line or dot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// What all of them rest on.
    Floor,
    Peer,
}

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), Box<dyn Error>>;

const WIDTH: u32 = 860;
const MARGIN: u32 = 20;
/// Beside what is drawn: labels on the left, numbers on the right.
pub(crate) const LABELS: u32 = 270;
pub(crate) const NUMBERS: u32 = 90;
const HEADER: u32 = 74;
const FOOTER: u32 = 30;
/// Of one line of text.
pub(crate) const LINE: u32 = 18;

pub(crate) const PAPER: RGBColor = RGBColor(251, 251, 249);
pub(crate) const INK: RGBColor = RGBColor(31, 35, 40);
pub(crate) const FAINT: RGBColor = RGBColor(99, 107, 117);
pub(crate) const GRID: RGBColor = RGBColor(224, 226, 229);

impl Kind {
    pub(crate) const fn colour(self) -> RGBColor {
        match self {
            Self::Ours => RGBColor(9, 105, 180),
            Self::Floor => RGBColor(150, 156, 165),
            Self::Peer => RGBColor(214, 158, 92),
        }
    }
}

/// Colours of lines and dots, where peers have to be told from each other. The first is ours.
pub(crate) const COLOURS: [RGBColor; 9] = [
    RGBColor(9, 105, 180),
    RGBColor(214, 122, 42),
    RGBColor(46, 139, 87),
    RGBColor(148, 82, 168),
    RGBColor(196, 60, 76),
    RGBColor(140, 104, 60),
    RGBColor(226, 120, 180),
    RGBColor(120, 130, 20),
    RGBColor(60, 180, 190),
];

/// A text's style; the size is the SVG's font size.
pub(crate) fn text(size: f64, colour: RGBColor, across: HPos) -> TextStyle<'static> {
    // The backend divides by this, a guess at how a font's size and its height go together.
    let font = ("Helvetica, Arial, sans-serif", size * 1.24).into_font();
    font.color(&colour).pos(Pos::new(across, VPos::Center))
}

pub(crate) fn bold(style: &TextStyle<'static>) -> TextStyle<'static> {
    TextStyle { font: style.font.clone().style(FontStyle::Bold), ..style.clone() }
}

/// Words at a place.
pub(crate) fn write(
    area: &Area<'_>,
    words: impl Into<String>,
    place: (i32, i32),
    style: TextStyle<'static>,
) -> Drawn {
    area.draw(&Text::new(words.into(), place, style))?;
    Ok(())
}

/// A line between two places, of a scale or a frame.
pub(crate) fn rule(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Drawn {
    area.draw(&PathElement::new([from, to], GRID))?;
    Ok(())
}

impl Picture {
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let heights: Vec<u32> = self.panels.iter().map(Panel::height).collect();
        let size = (WIDTH, HEADER + heights.iter().sum::<u32>() + FOOTER);
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&PAPER)?;
        let left = MARGIN as i32;
        write(&root, self.title, (left, 26), bold(&text(19.0, INK, HPos::Left)))?;
        write(&root, self.subtitle, (left, 47), text(12.5, FAINT, HPos::Left))?;
        let bottom = (left, (size.1 - FOOTER / 2) as i32);
        write(&root, &*self.footer, bottom, text(11.0, FAINT, HPos::Left))?;
        let mut top = HEADER;
        for (panel, height) in self.panels.iter().zip(heights) {
            let area = root.clone().shrink((MARGIN, top), (WIDTH - 2 * MARGIN, height));
            panel.draw(&area)?;
            top += height;
        }
        root.present()?;
        drop(root);
        Ok(svg)
    }
}

impl Panel {
    /// Title and meaning above, the source below, and air.
    fn height(&self) -> u32 {
        let lines = if self.missing.is_empty() { 4 } else { 5 };
        lines * LINE + self.body.height()
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let (width, _) = area.dim_in_pixel();
        let (head, body) = (2 * LINE, self.body.height());
        write(area, self.title, (0, 6), bold(&text(14.0, INK, HPos::Left)))?;
        write(area, self.meaning, (0, 24), text(12.0, FAINT, HPos::Left))?;
        self.body.draw(&area.clone().shrink((0, head), (width, body)))?;
        let mut below = (LABELS as i32, (head + body + 10) as i32);
        write(area, &*self.source, below, text(11.0, FAINT, HPos::Left))?;
        if !self.missing.is_empty() {
            below.1 += LINE as i32;
            let words = format!("not measured in this run: {}", self.missing.join(", "));
            write(area, words, below, text(11.0, FAINT, HPos::Left))?;
        }
        Ok(())
    }
}
