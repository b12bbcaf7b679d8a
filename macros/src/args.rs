//! What stands in the attribute's parentheses.
//!
//! Only what can be known from the words: whether a name exists, and of what type an expression is, the
//! compiler says. What the caller of a macro has written comes in groups that have no braces, which are
//! looked into where a literal is wanted.

use proc_macro2::Span;
use syn::{
    Expr, ExprLit, Ident, Lit, LitStr, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

/// In the order in which the documentation has them.
const KNOWN: &str = "`locks`, `registry`, `prefix`, `timeout`, `blocking`, `shared`, `crate`";

/// The arguments, which do not contradict each other.
pub(crate) struct Args {
    /// At least one.
    pub(crate) templates: Vec<LitStr>,
    pub(crate) store: Store,
    pub(crate) prefix: String,
    pub(crate) wait: Wait,
    pub(crate) is_shared: bool,
    /// Where this crate is, if it is not `::keyward`.
    pub(crate) keyward: Option<Path>,
}

/// Where the locks are.
pub(crate) enum Store {
    /// The default of the process.
    Installed,
    Locks(Expr),
    Registry(Expr),
}

/// How long to wait.
pub(crate) enum Wait {
    Forever,
    No,
    Millis(u64),
    For(Expr),
}

/// The arguments as they come, each at most once.
#[derive(Default)]
struct Given {
    templates: Vec<LitStr>,
    locks: Option<(Ident, Expr)>,
    registry: Option<(Ident, Expr)>,
    prefix: Option<(Ident, String)>,
    blocking: Option<(Ident, bool)>,
    timeout: Option<(Ident, Wait)>,
    shared: Option<(Ident, ())>,
    keyward: Option<(Ident, Path)>,
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut given = Given::default();
        while !input.is_empty() {
            given.take(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        given.check()
    }
}

impl Given {
    fn take(&mut self, input: ParseStream<'_>) -> Result<()> {
        if input.peek(LitStr) {
            self.templates.push(input.parse()?);
            return Ok(());
        }
        if !input.peek(Ident) && !input.peek(Token![crate]) {
            let message = format!(
                "expected the template of a lock's name, which is a string literal, or one of {KNOWN}"
            );
            return Err(input.error(message));
        }
        let name = input.call(Ident::parse_any)?;
        match name.to_string().as_str() {
            "locks" => set(&mut self.locks, name, |name| value(name, input)),
            "registry" => set(&mut self.registry, name, |name| value(name, input)),
            "prefix" => set(&mut self.prefix, name, |name| prefix(&value(name, input)?)),
            "blocking" => set(&mut self.blocking, name, |name| blocking(&value(name, input)?)),
            "timeout" => set(&mut self.timeout, name, |name| timeout(value(name, input)?)),
            "shared" => set(&mut self.shared, name, |_| {
                let message = "`shared` stands alone: it is there or not";
                if input.peek(Token![=]) { Err(input.error(message)) } else { Ok(()) }
            }),
            "crate" => set(&mut self.keyward, name, |name| path(&value(name, input)?)),
            other if input.peek(Token![=]) => {
                let message = format!(
                    "there is no argument `{other}`; there are templates of names, which stand alone, \
                    and {KNOWN}"
                );
                Err(syn::Error::new(name.span(), message))
            }
            other => {
                let message = format!(
                    "`{other}` is neither a template nor one of {KNOWN}; a template is a string \
                    literal, and values go into it by name, as `{{id}}`"
                );
                Err(syn::Error::new(name.span(), message))
            }
        }
    }

    fn check(self) -> Result<Args> {
        let Self { templates, locks, registry, prefix, blocking, timeout, shared, keyward } = self;
        if templates.is_empty() {
            let message = "which lock? say its name first, as in `#[synchronized(\"vol-{id}\")]`";
            return Err(syn::Error::new(Span::call_site(), message));
        }
        let wait = match (blocking, timeout) {
            (Some((_, false)), Some((name, _))) => {
                let message = "`timeout` says how long to wait, and `blocking = false` not to wait";
                return Err(syn::Error::new(name.span(), message));
            }
            (Some((_, false)), None) => Wait::No,
            (_, Some((_, wait))) => wait,
            (_, None) => Wait::Forever,
        };
        let store = match (locks, registry) {
            (Some(_), Some((name, _))) => {
                let message = "the locks are in `locks` or in `registry`, not in both";
                return Err(syn::Error::new(name.span(), message));
            }
            (Some((_, locks)), None) => Store::Locks(locks),
            (None, Some((_, registry))) => Store::Registry(registry),
            (None, None) => Store::Installed,
        };
        if matches!(store, Store::Registry(_)) && templates.len() > 1 {
            let cannot = match (&shared, &wait) {
                (Some(_), _) => Some("in shared mode"),
                (None, Wait::Forever) => None,
                (None, Wait::No) => Some("without waiting"),
                (None, Wait::Millis(_) | Wait::For(_)) => Some("with a time limit"),
            };
            if let Some(how) = cannot {
                let message = format!(
                    "a registry takes several names only exclusively and \
                    however long it takes, not {how}; with `locks` they can be had {how}"
                );
                return Err(syn::Error::new(templates[1].span(), message));
            }
        }
        let prefix = prefix.map(|(_, prefix)| prefix).unwrap_or_default();
        let keyward = keyward.map(|(_, path)| path);
        Ok(Args { templates, store, prefix, wait, is_shared: shared.is_some(), keyward })
    }
}

fn set<T>(
    place: &mut Option<(Ident, T)>,
    name: Ident,
    value: impl FnOnce(&Ident) -> Result<T>,
) -> Result<()> {
    if place.is_some() {
        return Err(syn::Error::new(name.span(), format!("`{name}` is said twice")));
    }
    let value = value(&name)?;
    *place = Some((name, value));
    Ok(())
}

/// What is missing at the end has no place of its own: that is the name's.
fn value(name: &Ident, input: ParseStream<'_>) -> Result<Expr> {
    let equals: Option<Token![=]> = input.parse()?;
    if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{name}` needs a value: `{name} = …`");
        return Err(syn::Error::new(name.span(), message));
    }
    input.parse()
}

/// The expression itself, which a macro may have had from its caller.
fn peeled(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}

fn prefix(value: &Expr) -> Result<String> {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = peeled(value) else {
        return Err(syn::Error::new(value.span(), "`prefix` is text: a string literal"));
    };
    let prefix = text.value();
    if prefix.contains(['{', '}']) {
        let message = "`prefix` is put before the names as it is; placeholders stand in the names";
        return Err(syn::Error::new(text.span(), message));
    }
    Ok(prefix)
}

fn blocking(value: &Expr) -> Result<bool> {
    match peeled(value) {
        Expr::Lit(ExprLit { lit: Lit::Bool(blocking), .. }) => Ok(blocking.value),
        _ => Err(syn::Error::new(
            value.span(),
            "`blocking` is `true` or `false`; how long to wait is said by `timeout`",
        )),
    }
}

fn timeout(value: Expr) -> Result<Wait> {
    match peeled(&value) {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            millis(&text.value()).map(Wait::Millis).ok_or_else(|| {
                let message =
                    "`timeout` is a whole number and its unit, ms, s, m or h, like \"5s\"";
                syn::Error::new(text.span(), message)
            })
        }
        Expr::Lit(ExprLit { lit: Lit::Int(_) | Lit::Float(_), .. }) => Err(syn::Error::new(
            value.span(),
            "`timeout` needs a unit, as in \"5s\" or \"250ms\", or is a `Duration`",
        )),
        _ => Ok(Wait::For(value)),
    }
}

fn path(value: &Expr) -> Result<Path> {
    match peeled(value) {
        Expr::Path(path) if path.attrs.is_empty() && path.qself.is_none() => Ok(path.path.clone()),
        _ => {
            let message = "`crate` is the path by which keyward is found here, as in \
                `crate = other::keyward`";
            Err(syn::Error::new(value.span(), message))
        }
    }
}

/// As the options of a URL: a whole number and `ms`, `s`, `m` or `h`.
fn millis(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!((millis("1000ms"), millis("1s")), (Some(1_000), Some(1_000)));
        assert_eq!((millis("2m"), millis("2h")), (Some(120_000), Some(7_200_000)));
        for bad in ["", "5", "s", "1.5s", "-1s", "1 s", "1d", "99999999999999999999s", "5e300h"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_order_is_free_and_a_comma_may_end_it() {
        let args: Args =
            syn::parse_str("shared, \"a\", locks = self.locks, \"b\", timeout = \"5s\",").unwrap();
        assert_eq!(args.templates.len(), 2);
        assert!(args.is_shared && matches!(args.wait, Wait::Millis(5_000)));
        assert!(matches!(args.store, Store::Locks(_)));
    }
}
