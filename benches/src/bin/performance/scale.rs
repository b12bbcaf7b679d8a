//! Where a value stands between the least and the most that are drawn, and how numbers are written.

/// How values are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Linear,
    Logarithmic,
}

/// A stretch of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    kind: Kind,
    least: f64,
    most: f64,
}

impl Scale {
    /// For bars: from 0, or from the power of ten below all of them, to the longest.
    pub(crate) fn of_bars(kind: Kind, values: impl Iterator<Item = f64> + Clone) -> Self {
        let (least, most) = ends(values);
        // A bar that is just above a power would hardly be seen.
        let below = 10_f64.powf((least / 1.25).log10().floor());
        Self { kind, least: if kind == Kind::Linear { 0.0 } else { below }, most }
    }

    /// For points: a logarithmic one from the least to the most, and a little beyond either.
    pub(crate) fn of_points(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (least, most) = ends(values);
        let beyond = (most / least).powf(0.03).max(1.05);
        Self { kind: Kind::Logarithmic, least: least / beyond, most: most * beyond }
    }

    /// Both ends as they are said.
    pub(crate) const fn linear(least: f64, most: f64) -> Self {
        Self { kind: Kind::Linear, least, most }
    }

    /// From 0 at the least to 1 at the most.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let [value, least, most] = match self.kind {
            Kind::Linear => [value, self.least, self.most],
            Kind::Logarithmic => [value, self.least, self.most].map(f64::ln),
        };
        (value - least) / (most - least)
    }

    /// Round values between the ends, not too many.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let (least, most) = (self.least, self.most);
        let within = |tick: &f64| *tick >= least * 0.999_999 && *tick <= most * 1.000_001;
        match self.kind {
            Kind::Logarithmic => {
                let powers = (least.log10().floor() as i32..).map(|power| 10_f64.powi(power));
                let powers: Vec<f64> = powers.take_while(|power| *power <= most).collect();
                let whole: Vec<f64> = powers.iter().copied().filter(within).collect();
                // With less than two decades there is room for more.
                if whole.len() > 2 {
                    return whole;
                }
                let parts =
                    powers.iter().flat_map(|power| [1.0, 2.0, 5.0].map(|part| part * power));
                parts.filter(within).collect()
            }
            Kind::Linear => {
                let rough = (most - least) / 5.0;
                let power = 10_f64.powf(rough.log10().floor());
                let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough);
                let step = power * round.unwrap_or(10.0);
                let first = (least / step).ceil() as i64;
                let ticks = (first..).map(|number| number as f64 * step);
                ticks.take_while(|tick| *tick <= most).collect()
            }
        }
    }
}

fn ends(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
}

/// With three digits; more would say something of the moment only.
pub(crate) fn number(value: f64) -> String {
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
pub(crate) fn grouped(number: &str) -> String {
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
    use super::{Kind, Scale, grouped, number};

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        let written = [0.514, 1.0, 9.996, 11.44, 99.96, 156.4, 999.7, 15_962.4, 1_234_567.0];
        let texts = ["0.51", "1.00", "10.0", "11.4", "100", "156", "1,000", "16,000", "1,230,000"];
        assert_eq!(written.map(number), texts);
        assert_eq!(grouped("0.0001"), "0.0001");
    }

    #[test]
    fn bars_start_at_a_power_of_ten_below_all_or_at_nothing() {
        let ends = |kind, values: [f64; 2]| {
            let scale = Scale::of_bars(kind, values.into_iter());
            (scale.least, scale.most)
        };
        assert_eq!(ends(Kind::Logarithmic, [6.5, 0.51]), (0.1, 6.5));
        assert_eq!(ends(Kind::Logarithmic, [20.0, 32_000.0]), (10.0, 32_000.0));
        assert_eq!(ends(Kind::Logarithmic, [1.01, 5.0]), (0.1, 5.0));
        assert_eq!(ends(Kind::Linear, [110.0, 250.0]), (0.0, 250.0));
    }

    #[test]
    fn values_are_placed_by_the_kind_of_scale() {
        let powers = Scale { kind: Kind::Logarithmic, least: 1.0, most: 100.0 };
        assert_eq!(
            [1.0, 10.0, 100.0].map(|value| (powers.place(value) * 1e6).round()),
            [0.0, 5e5, 1e6]
        );
        assert_eq!(Scale::linear(0.0, 50.0).place(10.0), 0.2);
    }

    #[test]
    fn ticks_are_round_and_between_the_ends() {
        let of_bars = |kind, values: [f64; 2]| Scale::of_bars(kind, values.into_iter()).ticks();
        assert_eq!(of_bars(Kind::Logarithmic, [0.51, 120.0]), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(of_bars(Kind::Linear, [9.0, 254.0]), [0.0, 100.0, 200.0]);
        assert_eq!(Scale::linear(0.0, 100.0).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let points = Scale::of_points([1.0, 1000.0].into_iter());
        assert_eq!(points.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        let points = Scale::of_points([8.0, 60.0].into_iter());
        assert_eq!(points.ticks(), [10.0, 20.0, 50.0]);
    }
}
