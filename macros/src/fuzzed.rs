//! What a fuzzer runs, and what the tests run on the inputs that a fuzzer has found; `fuzz/` has the
//! fuzzer. It is in no build of a user's.
//!
//! * **Z1** No input makes the attribute panic: it expands, or says what is wrong.
//! * **Z2** The grammar of `template.rs` is taken, all of it and nothing else: a second reading of it,
//!   below, comes to the same parts.
//! * **Z3** What is rendered is what the template says: its text, its places and their formats.

use std::{iter::Peekable, str::Chars};

use proc_macro2::{Span, TokenStream};
use syn::{Expr, ExprLit, File, Lit, LitStr, Macro, parse::Parser, punctuated::Punctuated};

use crate::{
    expand::expand,
    scope::Scope,
    template::{Piece, Placeholder, Step, parse},
};

/// What the attribute stands before.
const FUNCTIONS: [&str; 3] = [
    "async fn f_42(&self, volume: V, r#type: u8, pair: (u8, u8)) -> Result<(), Error> { Ok(()) }",
    "pub async fn r#try<T, const N: usize>(id: T) { id.work().await }",
    "async fn f(self, (a, b): (T, U)) -> Result<T, E> where T: X;",
];

/// A template, the attribute's arguments, or what it stands before; the first byte says which.
pub(crate) fn attribute(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(rest) else { return };
    match first % 3 {
        0 => template(text),
        1 => {
            let Some(args) = tokens(text) else { return };
            for function in FUNCTIONS {
                let expanded = expand(args.clone(), function.parse().unwrap());
                // A signature without a body is an item only in what the compiler says about it.
                let is_item = syn::parse2::<File>(expanded.clone()).is_ok();
                assert!(is_item || function.ends_with(';'), "{text}: {expanded}");
            }
        }
        _ => {
            let Some(item) = tokens(text) else { return };
            for args in
                ["\"a-{f_name}\"", "\"{x}\", \"b\", timeout = \"5s\"", "\"a\", registry = r"]
            {
                drop(expand(args.parse().unwrap(), item.clone()));
            }
        }
    }
}

/// The compiler gives us no deeper ones, nor would `syn` have room for them.
fn tokens(text: &str) -> Option<TokenStream> {
    let open = text.matches(['(', '[', '{', '<', '!', '-', '&', '*', '|']).count();
    if open > 64 { None } else { text.parse().ok() }
}

fn template(text: &str) {
    let parsed = parse(text);
    let expected = read(text);
    let shown: Option<Vec<_>> =
        parsed.as_ref().ok().map(|pieces| pieces.iter().map(show).collect());
    assert_eq!(shown, expected, "{text:?}: {parsed:?}");

    let function = syn::parse_str::<syn::TraitItemFn>(FUNCTIONS[0]).unwrap();
    let scope = Scope::new(&function.sig).unwrap();
    let literal = LitStr::new(text, Span::call_site());
    let (Some(pieces), Ok(name)) = (expected, scope.render("p{", &literal)) else { return };
    let mut format = "p{{".to_owned();
    let mut places = 0;
    for piece in pieces {
        match piece {
            Part::Text(text) => format += &text.replace('{', "{{").replace('}', "}}"),
            Part::Place(path, spec) if path == "f_name" && spec.is_empty() => format += "f_42",
            Part::Place(_, spec) => {
                places += 1;
                format += &format!("{{{spec}}}");
            }
        }
    }
    let rendered = if name.is_literal {
        let Ok(literal) = syn::parse2::<LitStr>(name.tokens) else {
            panic!("{text:?}: no literal")
        };
        literal.value().replace('{', "{{").replace('}', "}}")
    } else {
        let call = syn::parse2::<Macro>(name.tokens).unwrap();
        let args =
            Punctuated::<Expr, syn::Token![,]>::parse_terminated.parse2(call.tokens).unwrap();
        assert_eq!(args.len(), places + 1, "{text:?}");
        let Some(Expr::Lit(ExprLit { lit: Lit::Str(literal), .. })) = args.first() else {
            panic!("{text:?}: no format");
        };
        literal.value()
    };
    assert_eq!(rendered, format, "{text:?}");
}

/// A piece of a template, as the second reading has it.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The path without `r#`, and the format with its colon.
    Place(String, String),
}

fn show(piece: &Piece) -> Part {
    match piece {
        Piece::Text(text) => Part::Text(text.clone()),
        Piece::Placeholder(Placeholder { root, path, spec }) => {
            let steps = path.iter().map(|step| match step {
                Step::Field(name) => format!(".{name}"),
                Step::Index(index) => format!(".{index}"),
                Step::Call(name) => format!(".{name}()"),
            });
            Part::Place(root.clone() + &steps.collect::<String>(), spec.clone())
        }
    }
}

/// The grammar at the head of `template.rs`, letter by letter.
fn read(template: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.next_if_eq(&c).is_some() => text.push(c),
            '}' => return None,
            '{' => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(place(&mut chars)?);
            }
            c => text.push(c),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    (!parts.is_empty()).then_some(parts)
}

fn place(chars: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let mut path = word(chars)?;
    loop {
        match chars.next()? {
            '}' => return Some(Part::Place(path, String::new())),
            ':' => return Some(Part::Place(path, format(chars)?)),
            '.' => {
                path.push('.');
                path += &match digits(chars) {
                    index if index.is_empty() => word(chars)?,
                    // As the compiler writes them.
                    index => index.parse::<u32>().ok()?.to_string(),
                };
                let is_index = path.ends_with(|c: char| c.is_ascii_digit())
                    && path.rsplit('.').next().is_some_and(|step| step.parse::<u32>().is_ok());
                if !is_index && chars.next_if_eq(&'(').is_some() {
                    chars.next_if_eq(&')')?;
                    path += "()";
                }
            }
            _ => return None,
        }
    }
}

fn word(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|&c| c.is_alphanumeric() || c == '_') {
        word.push(c);
    }
    if word == "r" && chars.next_if_eq(&'#').is_some() {
        word.clear();
        while let Some(c) = chars.next_if(|&c| c.is_alphanumeric() || c == '_') {
            word.push(c);
        }
    }
    word.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some(word)
}

fn digits(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut digits = String::new();
    while let Some(c) = chars.next_if(char::is_ascii_digit) {
        digits.push(c);
    }
    digits
}

/// `[[fill] align] [sign] ["#"] ["0"] [width] ["." precision] [kind]`, and the brace behind it.
fn format(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let whole: String = chars.clone().collect();
    let is_align = |c: &char| matches!(c, '<' | '^' | '>');
    let mut ahead = chars.clone();
    let fill = ahead.next()?;
    if ahead.peek().is_some_and(is_align) && fill != '}' {
        chars.nth(1);
    } else {
        chars.next_if(is_align);
    }
    chars.next_if(|c| matches!(c, '+' | '-'));
    chars.next_if_eq(&'#');
    digits(chars);
    if chars.next_if_eq(&'.').is_some() && digits(chars).is_empty() {
        return None;
    }
    let mut kind = String::new();
    while let Some(c) = chars.next_if(|&c| c != '}') {
        kind.push(c);
    }
    chars.next()?;
    let kinds = ["", "?", "x?", "X?", "x", "X", "o", "b", "e", "E", "p"];
    let left: String = chars.clone().collect();
    let spec = &whole[..whole.len() - left.len() - 1];
    kinds.contains(&kind.as_str()).then(|| format!(":{spec}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What fuzzers have found once is tried in each run.
    #[test]
    fn corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/attribute");
        let entries = fs::read_dir(folder).expect("the repository has a corpus");
        let inputs = entries.map(|entry| {
            super::attribute(&fs::read(entry.unwrap().path()).unwrap());
        });
        assert!(inputs.count() > 3, "no corpus");
    }
}
