//! The grammar of a lock's name: literal text and placeholders.
//!
//! ```text
//! template    = { text | "{{" | "}}" | placeholder }
//! placeholder = "{" root { "." step } [ ":" spec ] "}"
//! step        = field | tuple index | method "()"
//! spec        = [[fill] align] [sign] ["#"] ["0"] [width] ["." precision] [kind]     as in std::fmt
//! ```
//!
//! It looks like the argument of `format!` and is not: that takes no fields. What Python's `str.format`
//! takes beyond it has a message of its own each, which says what to write instead.
//!
//! Pure text in, pure text out; what the roots may be, [`scope`](crate::scope) knows.

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

/// `{root.path:spec}`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) root: String,
    pub(crate) path: Vec<Step>,
    /// With its colon, or empty.
    pub(crate) spec: String,
}

/// What stands behind a dot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Index(u32),
    Call(String),
}

/// The parts of a template, or what is wrong with it.
pub(crate) fn parse(template: &str) -> Result<Vec<Piece>, String> {
    if template.is_empty() {
        return Err("the name of a lock cannot be empty".to_owned());
    }
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some(brace) = rest.find(['{', '}']) {
        text.push_str(&rest[..brace]);
        let (this, after) = rest[brace..].split_at(1);
        if let Some(after) = after.strip_prefix(this) {
            text.push_str(this);
            rest = after;
        } else if this == "}" {
            return Err("a `}` without a `{` before it; for a brace in the name write `}}`".into());
        } else {
            let Some(end) = closing(after) else {
                return Err(format!(
                    "`{{{after}` has no `}}` at its end; for a brace in the name write `{{{{`"
                ));
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Placeholder(placeholder(&after[..end])?));
            rest = &after[end + 1..];
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// Where a placeholder ends: at the first `}` that closes no brace within it.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn placeholder(inside: &str) -> Result<Placeholder, String> {
    let whole = format!("`{{{inside}}}`");
    let (path, spec) = inside.split_once(':').map_or((inside, None), |(p, s)| (p, Some(s)));
    if path.is_empty() {
        return Err(format!("{whole} says nothing to put there; name it, as in `{{volume.id}}`"));
    }
    if let Some((before, conversion)) = path.split_once('!') {
        let instead = match conversion {
            "r" | "a" => format!(
                "`{{{before}:?}}`, which has text in double quotes where Python has it in single ones"
            ),
            _ => format!("`{{{before}}}`"),
        };
        return Err(format!("{whole} has one of Python's conversions; write {instead}"));
    }
    if let Some((before, key)) = path.split_once('[') {
        let key = key.trim_end_matches(']').trim_matches(['\'', '"']);
        return Err(format!(
            "{whole} looks an item up as Python does; write a field or a method without arguments, \
             as in `{{{before}.{}}}`",
            if is_word(key) { key } else { "item()" }
        ));
    }
    let mut steps = path.split('.');
    let root = steps.next().unwrap_or_default();
    if root.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "{whole} counts the arguments as Python does; write the parameter's name"
        ));
    }
    let root = word(root).ok_or_else(|| not_a_path(&whole))?;
    let path = steps.map(|text| step(text, &whole)).collect::<Result<_, _>>()?;
    let spec = spec.map(|spec| checked_spec(spec, &whole)).transpose()?.unwrap_or_default();
    Ok(Placeholder { root, path, spec })
}

fn not_a_path(whole: &str) -> String {
    format!(
        "{whole} is more than a place in a lock's name can be: a parameter, fields of it, and methods \
         without arguments, without spaces, as in `{{volume.id}}` or `{{volume.id()}}`"
    )
}

fn step(text: &str, whole: &str) -> Result<Step, String> {
    if let Some(method) = text.strip_suffix("()") {
        return word(method).map(Step::Call).ok_or_else(|| not_a_path(whole));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse().map(Step::Index).map_err(|_| not_a_path(whole));
    }
    word(text).map(Step::Field).ok_or_else(|| not_a_path(whole))
}

/// A name as it is compared: without `r#`.
fn word(text: &str) -> Option<String> {
    let text = text.strip_prefix("r#").unwrap_or(text);
    is_word(text).then(|| text.to_owned())
}

/// As far as can be told without Unicode's tables, which the compiler has and asks after us.
fn is_word(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The kinds that `std::fmt` has.
const KINDS: [&str; 11] = ["", "?", "x?", "X?", "x", "X", "o", "b", "e", "E", "p"];

/// A format spec, with its colon, that says everything itself.
fn checked_spec(spec: &str, whole: &str) -> Result<String, String> {
    let mut rest = spec;
    let mut chars = rest.chars();
    let (first, second) = (chars.next(), chars.next());
    let is_align = |c: Option<char>| matches!(c, Some('<' | '^' | '>'));
    if spec.contains(['{', '}', '$', '*']) && !is_align(second) {
        return Err(format!(
            "the format of {whole} takes its width from elsewhere; write the number"
        ));
    }
    if is_align(second) {
        rest = &rest[first.map_or(0, char::len_utf8) + 1..];
    } else if is_align(first) {
        rest = &rest[1..];
    }
    rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest = rest.strip_prefix('#').unwrap_or(rest);
    rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if let Some(precision) = rest.strip_prefix('.') {
        let after = precision.trim_start_matches(|c: char| c.is_ascii_digit());
        if after.len() == precision.len() {
            return Err(format!("the format of {whole} has a dot and no precision behind it"));
        }
        rest = after;
    }
    if KINDS.contains(&rest) {
        return Ok(format!(":{spec}"));
    }
    let python = match rest {
        "d" | "s" | "n" => "; Rust needs no letter for numbers and text: leave it off",
        "f" | "F" | "g" | "G" => "; Rust writes numbers with a precision alone, as in `:.3`",
        _ => "",
    };
    Err(format!(
        "the format of {whole} ends in `{rest}`, which is none of Rust's{python} (see std::fmt)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn place(root: &str, path: Vec<Step>, spec: &str) -> Piece {
        Piece::Placeholder(Placeholder { root: root.to_owned(), path, spec: spec.to_owned() })
    }

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    #[test]
    fn text_and_braces() {
        assert_eq!(parse("LIN"), Ok(vec![text("LIN")]));
        assert_eq!(parse("a{{b}}c"), Ok(vec![text("a{b}c")]));
        assert_eq!(parse("{{}}"), Ok(vec![text("{}")]));
        assert_eq!(parse("{{{x}}}"), Ok(vec![text("{"), place("x", vec![], ""), text("}")]));
        assert_eq!(parse("é{x}é"), Ok(vec![text("é"), place("x", vec![], ""), text("é")]));
    }

    #[test]
    fn paths() {
        let id = || Step::Call("id".to_owned());
        assert_eq!(parse("{volume.id}"), Ok(vec![place("volume", vec![field("id")], "")]));
        assert_eq!(parse("{volume.id()}"), Ok(vec![place("volume", vec![id()], "")]));
        assert_eq!(parse("{a.id().b}"), Ok(vec![place("a", vec![id(), field("b")], "")]));
        let indices = vec![Step::Index(0), Step::Index(12)];
        assert_eq!(parse("{pair.0.12}"), Ok(vec![place("pair", indices, "")]));
        assert_eq!(parse("{r#type.r#in}"), Ok(vec![place("type", vec![field("in")], "")]));
        assert_eq!(
            parse("{a}{b}-{f_name}"),
            Ok(vec![
                place("a", vec![], ""),
                place("b", vec![], ""),
                text("-"),
                place("f_name", vec![], "")
            ])
        );
    }

    #[test]
    fn specs() {
        for spec in [
            ":", ":.8", ":05", ":?", ":#?", ":#x", ":>8", ":*^12.3", ":é<4", ":+", ":08.3e", ":x?",
            ":$>3", ":#010b",
        ] {
            let parsed = parse(&format!("{{n{spec}}}"));
            assert_eq!(parsed, Ok(vec![place("n", vec![], spec)]), "{spec}");
        }
        for spec in [
            ":d", ":s", ":.3f", ":width$", ":.*", ":{w}", ":5 ", ":.", ":,", "::x", ":é", ":é$",
            ":é*", ":é{w}",
        ] {
            assert!(parse(&format!("{{n{spec}}}")).is_err(), "{spec}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        for (template, says) in [
            ("", "empty"),
            ("{x", "`{{`"),
            ("a{", "`{{`"),
            ("x}", "`}}`"),
            ("{x}}", "`}}`"),
            ("{}", "name it"),
            ("{:05}", "name it"),
            ("{0}", "the parameter's name"),
            ("{0.id}", "the parameter's name"),
            ("{x[key]}", "`{x.key}`"),
            ("{x['key']}", "`{x.key}`"),
            ("{x[0]}", "`{x.item()}`"),
            ("{x!r}", "`{x:?}`"),
            ("{x.y!s}", "`{x.y}`"),
            ("{x!r:>8}", "double quotes"),
            ("{ x }", "without spaces"),
            ("{x.y(1)}", "without arguments"),
            ("{x.}", "`{volume.id}`"),
            ("{x..y}", "`{volume.id}`"),
            ("{x + 1}", "`{volume.id}`"),
            ("{x()}", "`{volume.id}`"),
            ("{x.99999999999}", "`{volume.id}`"),
            ("{x:d}", "leave it off"),
            ("{x:.2f}", "`:.3`"),
            ("{x:{w}}", "write the number"),
            ("{x:w$}", "write the number"),
        ] {
            let error = parse(template).expect_err(template);
            assert!(error.contains(says), "{template}: {error}");
        }
    }
}
