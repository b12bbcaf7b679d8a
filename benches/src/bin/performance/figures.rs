//! Figures, one a line, each with its goal; and whether counts of instructions have grown.
//!
//! ```text
//! figure R1.time 0.52 T goal <=0.6
//! figure F4.100-processes n/a max/min goal <=1.15
//! ```

/// One that a bench has printed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) id: String,
    /// As it was printed; "n/a" if it was not measured.
    pub(crate) text: String,
    pub(crate) unit: String,
    /// As it was printed; "(none)" if nothing was aimed for.
    pub(crate) goal: String,
    /// Whether the goal is met; none without a number or a goal.
    pub(crate) met: Option<bool>,
}

impl Figure {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// If it is not such a line.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let bad = || format!("not a figure: {line:?}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let &["figure", id, text, unit, "goal", goal] = &words[..] else { return Err(bad()) };
        let value = match text {
            "n/a" => None,
            text => Some(text.parse::<f64>().map_err(|_| bad())?),
        };
        let met = match goal {
            "(none)" => None,
            goal if goal.contains("..") => {
                let (least, most) = goal.split_once("..").ok_or_else(bad)?;
                let [least, most] = [least, most].map(str::parse::<f64>);
                let within = least.map_err(|_| bad())?..=most.map_err(|_| bad())?;
                value.map(|value| within.contains(&value))
            }
            goal => {
                let signs = goal.trim_start_matches(['<', '>', '=']);
                let limit: f64 = signs.parse().map_err(|_| bad())?;
                let met = |value: f64| match goal.strip_suffix(signs) {
                    Some("<=") => value <= limit,
                    Some("<") => value < limit,
                    Some(">=") => value >= limit,
                    Some(">") => value > limit,
                    _ => value == limit,
                };
                value.map(met)
            }
        };
        let [id, text, unit, goal] = [id, text, unit, goal].map(str::to_owned);
        Ok(Self { id, text, unit, goal, met })
    }

    fn value(&self) -> Option<f64> {
        self.text.parse().ok()
    }
}

/// So much more than what is kept is a change of ours, and not of what is around us.
const GROWTH: f64 = 1.03;

/// The figures of a text.
///
/// # Errors
///
/// If a line begins like one and is none.
pub(crate) fn all(text: &str) -> Result<Vec<Figure>, String> {
    text.lines().filter(|line| line.starts_with("figure ")).map(Figure::parse).collect()
}

/// Compares counts with those that are kept: a line for each.
///
/// # Errors
///
/// Those that have grown, are missing, or have never been kept.
pub(crate) fn compare(kept: &str, counted: &str) -> Result<String, String> {
    let (kept, counted) = (all(kept)?, all(counted)?);
    if kept.is_empty() {
        return Err("no figures are kept".to_owned());
    }
    let (mut said, mut bad) = (Vec::new(), Vec::new());
    for old in &kept {
        let new = counted.iter().find(|new| new.id == old.id).and_then(Figure::value);
        let (Some(old_value), Some(new)) = (old.value(), new) else {
            bad.push(format!("{}: not counted", old.id));
            continue;
        };
        let line = format!("{} {new:.2}, kept {old_value:.2}", old.id);
        if new > old_value * GROWTH {
            bad.push(format!("{line}: has grown by {:.1} %", (new / old_value - 1.0) * 100.0));
        } else {
            said.push(line);
        }
    }
    for new in &counted {
        if kept.iter().all(|old| old.id != new.id) {
            bad.push(format!("{}: not kept yet", new.id));
        }
    }
    if bad.is_empty() { Ok(said.join("\n")) } else { Err(bad.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::{Figure, compare};

    fn met(line: &str) -> Option<bool> {
        Figure::parse(line).unwrap().met
    }

    #[test]
    fn goals_are_met_as_they_say() {
        assert_eq!(met("figure R1.time 0.52 T goal <=0.6"), Some(true));
        assert_eq!(met("figure R1.time 0.61 T goal <=0.6"), Some(false));
        assert_eq!(met("figure F1.vs 7.00 x goal >=7"), Some(true));
        assert_eq!(met("figure F1.vs 6.99 x goal >=7"), Some(false));
        assert_eq!(met("figure M7.told -313.47 ms goal <0"), Some(true));
        assert_eq!(met("figure M7.told 0.00 ms goal <0"), Some(false));
        assert_eq!(met("figure R8.leaked 0.00 keys goal 0"), Some(true));
        assert_eq!(met("figure R8.leaked 1.00 keys goal 0"), Some(false));
        assert_eq!(met("figure R8.leaked NaN keys goal 0"), Some(false));
        assert_eq!(met("figure sim.rate 1.50 real:played goal 0.67..1.5"), Some(true));
        assert_eq!(met("figure sim.rate 0.66 real:played goal 0.67..1.5"), Some(false));
        assert_eq!(met("figure sim.rate 1.51 real:played goal 0.67..1.5"), Some(false));
        assert_eq!(met("figure M2.rate 5.00 /s goal (none)"), None);
        assert_eq!(met("figure M2.rate n/a /s goal >=4"), None);
    }

    #[test]
    fn what_is_no_figure_is_refused() {
        for line in [
            "figure R1.time 0.52 T",
            "figure R1.time fast T goal <=1",
            "figure R1.time 1 T goal soon",
            "figure R1.time 1 T goal 1..soon",
            "figure R1.time 1 T goal <=1 or so",
        ] {
            assert!(Figure::parse(line).unwrap_err().contains(line));
        }
    }

    #[test]
    fn counts_may_shrink_and_grow_by_three_percent() {
        let of = |hot: &str, fresh: &str| {
            format!(
                "# date: today\nfigure i {hot} instructions goal <=180\n\
                 figure i.fresh {fresh} instructions goal (none)\n"
            )
        };
        let kept = of("100.00", "200.00");
        assert_eq!(compare(&kept, &of("103.00", "150.00")).unwrap().lines().count(), 2);
        let grown = compare(&kept, &of("103.10", "150.00")).unwrap_err();
        assert_eq!(grown, "i 103.10, kept 100.00: has grown by 3.1 %");
        assert_eq!(compare(&kept, &of("100.00", "n/a")).unwrap_err(), "i.fresh: not counted");
        assert!(compare(&kept, "").unwrap_err().contains("i: not counted"));
        let new = kept.clone() + "figure i.wait 1 instructions goal (none)";
        assert_eq!(compare(&kept, &new).unwrap_err(), "i.wait: not kept yet");
        assert!(compare("", &kept).is_err());
    }
}
