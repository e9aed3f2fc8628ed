//! Panels as SVG, one below the other, on a white ground: readable on a dark page too.

use std::ops::Range;

use headwater_core::{Error, Result};
use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    coord::{
        Shift,
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    },
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{Circle, Rectangle, Text},
    series::LineSeries,
    style::{
        Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    axis::{Axis, short},
    panel::Panel,
};

/// Width of the picture in pixels, as all lengths here.
const WIDTH: u32 = 860;
/// Height of the title and the legend of a panel.
const HEAD: i32 = 58;
/// Height of a panel with lines, its head included.
const LINES: i32 = 360;
/// Height of a bar, and of the room between two groups.
const BAR: i32 = 16;
const BETWEEN: i32 = 16;
/// Height of what is below the bars: marks and unit.
const FOOT: i32 = 64;
/// Width of a letter of the legend, on average.
const LETTER: f64 = 7.2;

const INK: RGBColor = RGBColor(36, 41, 47);
const GRID: RGBColor = RGBColor(216, 222, 228);
const COLOURS: [RGBColor; 6] = [
    RGBColor(9, 105, 218),
    RGBColor(219, 109, 40),
    RGBColor(140, 149, 159),
    RGBColor(26, 127, 55),
    RGBColor(130, 80, 223),
    RGBColor(207, 34, 46),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The picture of `panels`.
///
/// # Errors
/// `Internal` if something cannot be drawn.
pub fn svg(panels: &[Panel]) -> Result<String> {
    let mut text = String::new();
    let height = panels.iter().map(height).sum::<i32>().unsigned_abs();
    let drawn = {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw_all(&root, panels).and_then(|()| root.present())
    };
    drawn.map_err(|e| Error::internal(format!("cannot draw the picture: {e}")))?;
    Ok(text)
}

fn height(panel: &Panel) -> i32 {
    match panel {
        Panel::Bars { groups, .. } => HEAD + FOOT + groups.len() as i32 * group_height(groups),
        Panel::Lines { .. } => LINES,
    }
}

/// A group has room for as many bars as the largest has.
fn group_height(groups: &[(String, Vec<(usize, f64)>)]) -> i32 {
    let most = groups.iter().map(|(_, bars)| bars.len()).max();
    most.unwrap_or(0) as i32 * BAR + BETWEEN
}

fn draw_all(root: &Area<'_>, panels: &[Panel]) -> Drawn {
    root.fill(&WHITE)?;
    let mut rest = root.clone();
    for panel in panels {
        let (area, below) = rest.split_vertically(height(panel));
        draw(&area, panel)?;
        rest = below;
    }
    Ok(())
}

fn draw(area: &Area<'_>, panel: &Panel) -> Drawn {
    let (head, body) = area.split_vertically(HEAD);
    match panel {
        Panel::Bars {
            title,
            unit,
            groups,
            names,
        } => {
            draw_head(&head, title, names)?;
            draw_bars(&body, unit, groups)
        }
        Panel::Lines {
            title,
            x_unit,
            y_unit,
            series,
        } => {
            let names: Vec<_> = series.iter().map(|(name, _)| name.clone()).collect();
            draw_head(&head, title, &names)?;
            draw_lines(&body, x_unit, y_unit, series)
        }
    }
}

/// The title, and below it which colour is whose; names that are empty are left out.
fn draw_head(area: &Area<'_>, title: &str, names: &[String]) -> Drawn {
    area.draw(&Text::new(title.to_owned(), (16, 14), text(17)))?;
    let mut x = 16;
    for (i, name) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
    {
        area.draw(&Rectangle::new([(x, 40), (x + 11, 51)], colour(i).filled()))?;
        area.draw(&Text::new(name.clone(), (x + 17, 39), text(13)))?;
        x += 17 + (name.chars().count() as f64 * LETTER) as i32 + 22;
    }
    Ok(())
}

/// Bars from left to right, the groups from top to bottom.
fn draw_bars(area: &Area<'_>, unit: &str, groups: &[(String, Vec<(usize, f64)>)]) -> Drawn {
    let values = groups
        .iter()
        .flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value));
    let axis = Axis::of(values);
    let start = axis.from;
    // The vertical axis goes up, the groups go down.
    let names = Axis::names(groups.iter().rev().map(|(name, _)| name.as_str()));
    let unit = described(unit, &axis);
    let mut chart = ChartBuilder::on(area)
        // Room for the number behind the longest bar.
        .margin_right(64)
        .margin_left(8)
        .margin_bottom(8)
        .x_label_area_size(FOOT - 16)
        .y_label_area_size(width(groups))
        .build_cartesian_2d(axis, names)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .bold_line_style(GRID)
        .max_light_lines(0)
        .axis_style(GRID)
        .label_style(text(13))
        .axis_desc_style(text(13))
        .x_desc(unit)
        .draw()?;
    let bar = f64::from(BAR) / f64::from(group_height(groups));
    for (number, (_, bars)) in groups.iter().rev().enumerate() {
        let middle = number as f64 + 0.5;
        let top = middle + bars.len() as f64 * bar / 2.0;
        for (i, (engine, value)) in bars.iter().enumerate() {
            let (upper, lower) = (top - i as f64 * bar, top - (i + 1) as f64 * bar);
            let corners = [(start, upper - bar * 0.06), (*value, lower + bar * 0.06)];
            chart.draw_series([Rectangle::new(corners, colour(*engine).filled())])?;
            let style = text(11).pos(Pos::new(HPos::Left, VPos::Center));
            let label = Text::new(
                format!(" {}", short(*value)),
                (*value, (upper + lower) / 2.0),
                style,
            );
            chart.draw_series([label])?;
        }
    }
    Ok(())
}

fn draw_lines(
    area: &Area<'_>,
    x_unit: &str,
    y_unit: &str,
    series: &[(String, Vec<(f64, f64)>)],
) -> Drawn {
    let points = series.iter().flat_map(|(_, points)| points.iter());
    let x = Axis::of(points.clone().map(|(x, _)| *x));
    let y = Axis::of(points.map(|(_, y)| *y));
    let (x_unit, y_unit) = (described(x_unit, &x), described(y_unit, &y));
    let mut chart = ChartBuilder::on(area)
        .margin_right(28)
        .margin_left(8)
        .margin_bottom(8)
        .margin_top(6)
        .x_label_area_size(FOOT - 16)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .max_light_lines(0)
        .axis_style(GRID)
        .label_style(text(13))
        .axis_desc_style(text(13))
        .x_desc(x_unit)
        .y_desc(y_unit)
        .draw()?;
    for (i, (_, points)) in series.iter().enumerate() {
        let line = ShapeStyle::from(colour(i)).stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), line))?;
        let dots = points
            .iter()
            .map(|point| Circle::new(*point, 4, colour(i).filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}

/// What an axis counts, and how.
fn described(unit: &str, axis: &Axis) -> String {
    if axis.logarithmic {
        format!("{unit} (logarithmic)")
    } else {
        unit.to_owned()
    }
}

/// Room for the names of groups beside their bars.
fn width(groups: &[(String, Vec<(usize, f64)>)]) -> u32 {
    let longest = groups.iter().map(|(name, _)| name.chars().count()).max();
    let width = (longest.unwrap_or(0) as f64 * LETTER) as u32 + 20;
    width.clamp(92, WIDTH / 3)
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

fn text(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(&INK)
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        first + (self.place(*value) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        short(*value)
    }

    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|(mark, _)| mark == value);
        mark.map_or_else(|| short(*value), |(_, text)| text.clone())
    }
}
