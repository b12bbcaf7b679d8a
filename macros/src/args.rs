//! What stands in the attribute's parentheses.
//!
//! Only what can be known from the words: whether a name exists, and of what type an expression is, the
//! compiler says.

use proc_macro2::Span;
use syn::{
    Expr, ExprLit, Ident, Lit, LitStr, Result, Token,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

/// In the order in which the documentation has them.
const KNOWN: &str = "`locks`, `registry`, `prefix`, `blocking`, `timeout`, `shared`";

/// The arguments, which do not contradict each other.
pub(crate) struct Args {
    /// At least one.
    pub(crate) templates: Vec<LitStr>,
    pub(crate) store: Store,
    pub(crate) prefix: String,
    pub(crate) wait: Wait,
    pub(crate) is_shared: bool,
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
        if !input.peek(Ident) {
            let message = format!(
                "expected the template of a lock's name, which is a string literal, or one of {KNOWN}"
            );
            return Err(input.error(message));
        }
        let name: Ident = input.parse()?;
        match name.to_string().as_str() {
            "locks" => set(&mut self.locks, name, || value(input)),
            "registry" => set(&mut self.registry, name, || value(input)),
            "prefix" => set(&mut self.prefix, name, || prefix(&value(input)?)),
            "blocking" => set(&mut self.blocking, name, || blocking(&value(input)?)),
            "timeout" => set(&mut self.timeout, name, || timeout(value(input)?)),
            "shared" => set(&mut self.shared, name, || {
                let message = "`shared` stands alone: it is there or not";
                if input.peek(Token![=]) { Err(input.error(message)) } else { Ok(()) }
            }),
            other => {
                let message = format!("there is no argument `{other}`; there are {KNOWN}");
                Err(syn::Error::new(name.span(), message))
            }
        }
    }

    fn check(self) -> Result<Args> {
        let Self { templates, locks, registry, prefix, blocking, timeout, shared } = self;
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
        Ok(Args { templates, store, prefix, wait, is_shared: shared.is_some() })
    }
}

fn set<T>(
    place: &mut Option<(Ident, T)>,
    name: Ident,
    value: impl FnOnce() -> Result<T>,
) -> Result<()> {
    if place.is_some() {
        return Err(syn::Error::new(name.span(), format!("`{name}` is said twice")));
    }
    let value = value()?;
    *place = Some((name, value));
    Ok(())
}

fn value(input: ParseStream<'_>) -> Result<Expr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn prefix(value: &Expr) -> Result<String> {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value else {
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
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(blocking), .. }) => Ok(blocking.value),
        _ => Err(syn::Error::new(
            value.span(),
            "`blocking` is `true` or `false`; how long to wait is said by `timeout`",
        )),
    }
}

fn timeout(value: Expr) -> Result<Wait> {
    match value {
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
        other => Ok(Wait::For(other)),
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
