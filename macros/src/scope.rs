//! What a template may name: the function's arguments, as its patterns bind them, `self`, constant
//! parameters, and `f_name`.
//!
//! A name is put into the expansion as the binding has it, so that it is that binding also where
//! macros have written the function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{
    Error, FnArg, GenericParam, Index, LitStr, PatIdent, Result, Signature,
    ext::IdentExt,
    visit_mut::{VisitMut, visit_pat_ident_mut},
};

use crate::template::{Piece, Placeholder, Step, parse};

/// The word for the function's own name.
const F_NAME: &str = "f_name";

pub(crate) struct Scope {
    f_name: String,
    /// By the names that templates use, without `r#`.
    bindings: Vec<(String, Ident)>,
    types: Vec<String>,
}

/// The expression for a name, and whether it is a `String` or a literal.
pub(crate) struct Name {
    pub(crate) tokens: TokenStream,
    pub(crate) is_literal: bool,
}

impl Scope {
    pub(crate) fn new(signature: &Signature) -> Result<Self> {
        let mut bindings = Bindings(Vec::new());
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    bindings.push(&Ident::new("self", receiver.self_token.span));
                }
                FnArg::Typed(argument) => bindings.visit_pat_mut(&mut argument.pat.clone()),
            }
        }
        let mut types = Vec::new();
        for parameter in &signature.generics.params {
            match parameter {
                GenericParam::Const(parameter) => bindings.push(&parameter.ident),
                GenericParam::Type(parameter) => types.push(parameter.ident.unraw().to_string()),
                GenericParam::Lifetime(_) => {}
            }
        }
        let Bindings(bindings) = bindings;
        if let Some((_, parameter)) = bindings.iter().find(|(name, _)| name == F_NAME) {
            let message = "`f_name` is the function's name in a lock's name: call the parameter \
                something else";
            return Err(Error::new(parameter.span(), message));
        }
        Ok(Self { f_name: signature.ident.unraw().to_string(), bindings, types })
    }

    /// An expression that renders the template behind the prefix.
    pub(crate) fn render(&self, prefix: &str, template: &LitStr) -> Result<Name> {
        let pieces = parse(&template.value()).map_err(|e| Error::new(template.span(), e))?;
        let (mut text, mut is_literal) = (prefix.to_owned(), true);
        let (mut format, mut arguments) = (escape(prefix), Vec::new());
        for piece in pieces {
            let placeholder = match piece {
                Piece::Text(literal) => {
                    text.push_str(&literal);
                    format.push_str(&escape(&literal));
                    continue;
                }
                Piece::Placeholder(placeholder) => placeholder,
            };
            if placeholder.root == F_NAME && placeholder.spec.is_empty() {
                self.only_itself(&placeholder, template)?;
                text.push_str(&self.f_name);
                format.push_str(&escape(&self.f_name));
                continue;
            }
            is_literal = false;
            format.push('{');
            format.push_str(&placeholder.spec);
            format.push('}');
            arguments.push(self.argument(&placeholder, template)?);
        }
        let span = at(template);
        if is_literal {
            return Ok(Name { tokens: LitStr::new(&text, span).into_token_stream(), is_literal });
        }
        let format = LitStr::new(&format, span);
        let tokens = quote_spanned!(span=> ::std::format!(#format, #(#arguments),*));
        Ok(Name { tokens, is_literal })
    }

    fn argument(&self, placeholder: &Placeholder, template: &LitStr) -> Result<TokenStream> {
        if placeholder.root == F_NAME {
            self.only_itself(placeholder, template)?;
            return Ok(LitStr::new(&self.f_name, at(template)).into_token_stream());
        }
        let root = self.bindings.iter().find(|(name, _)| *name == placeholder.root);
        let Some((_, root)) = root else {
            return Err(Error::new(template.span(), self.unknown(&placeholder.root)));
        };
        let mut root = root.clone();
        root.set_span(root.span().located_at(template.span()));
        let mut tokens = root.into_token_stream();
        for step in &placeholder.path {
            let span = template.span();
            tokens = match step {
                Step::Field(name) => {
                    let name = member(name, template)?;
                    quote_spanned!(span=> #tokens.#name)
                }
                Step::Call(name) => {
                    let name = member(name, template)?;
                    quote_spanned!(span=> #tokens.#name())
                }
                Step::Index(index) => {
                    let index = Index { index: *index, span };
                    quote_spanned!(span=> #tokens.#index)
                }
            };
        }
        Ok(tokens)
    }

    fn only_itself(&self, placeholder: &Placeholder, template: &LitStr) -> Result<()> {
        if placeholder.path.is_empty() {
            return Ok(());
        }
        let message = format!("`{{f_name}}` is text, here `{}`: it has no fields", self.f_name);
        Err(Error::new(template.span(), message))
    }

    fn unknown(&self, root: &str) -> String {
        let names: Vec<_> = self.bindings.iter().map(|(name, _)| format!("`{{{name}}}`")).collect();
        let known = [&*names, &["`{f_name}`".to_owned()]].concat().join(", ");
        if self.types.iter().any(|name| name == root) {
            return format!("`{{{root}}}` is a type, not a value; there are {known}");
        }
        if root == "self" {
            return format!("the function has no `self`; there are {known}");
        }
        format!("the function has no parameter `{root}`; there are {known}")
    }
}

/// Where the template is, and not written by the user as far as lints are concerned.
fn at(template: &LitStr) -> Span {
    Span::mixed_site().located_at(template.span())
}

/// The name of a field or method, which may be a keyword in Rust though not where it comes from.
fn member(name: &str, template: &LitStr) -> Result<Ident> {
    if matches!(name, "self" | "Self" | "super" | "crate" | "_") {
        let message = format!("`{name}` is no name of a field or a method");
        return Err(Error::new(template.span(), message));
    }
    let mut ident = syn::parse_str::<Ident>(name)
        .or_else(|_| syn::parse_str::<Ident>(&format!("r#{name}")))
        .map_err(|_| Error::new(template.span(), format!("`{name}` is no name in Rust")))?;
    ident.set_span(template.span());
    Ok(ident)
}

fn escape(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

struct Bindings(Vec<(String, Ident)>);

impl Bindings {
    fn push(&mut self, ident: &Ident) {
        let name = ident.unraw().to_string();
        if self.0.iter().all(|(known, _)| *known != name) {
            self.0.push((name, ident.clone()));
        }
    }
}

impl VisitMut for Bindings {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        self.push(&pattern.ident);
        visit_pat_ident_mut(self, pattern);
    }

    // Constants in a pattern bind nothing.
    fn visit_expr_mut(&mut self, _: &mut syn::Expr) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(function: &str) -> Scope {
        Scope::new(&syn::parse_str(function).unwrap()).unwrap()
    }

    fn render(function: &str, template: &str) -> String {
        let template = LitStr::new(template, Span::call_site());
        match scope(function).render("p-", &template) {
            Ok(name) => name.tokens.to_string().replace(' ', ""),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_are_those_that_the_patterns_bind() {
        let function = "async fn f<'a, T, const N: usize>(&self, mut a: T, (b, [c, d @ ..]): X, \
            E { f, g: h, i: K(j), .. }: E, _: L, r#type: M)";
        let names: Vec<_> = scope(function).bindings.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["self", "a", "b", "c", "d", "f", "h", "j", "type", "N"]);
    }

    #[test]
    fn literals_need_no_rendering() {
        assert_eq!(render("async fn resize()", "LIN"), "\"p-LIN\"");
        assert_eq!(render("async fn r#try()", "{{{f_name}}}"), "\"p-{try}\"");
    }

    #[test]
    fn places() {
        let function = "async fn f(&self, volume: &Volume, pair: (u8, u8))";
        let cases = [
            ("{volume.id}", "::std::format!(\"p-{}\",volume.id)"),
            ("{{{volume.id():.8}", "::std::format!(\"p-{{{:.8}\",volume.id())"),
            ("{self.x}-{pair.0:05}", "::std::format!(\"p-{}-{:05}\",self.x,pair.0)"),
            ("{volume.type}", "::std::format!(\"p-{}\",volume.r#type)"),
            ("{f_name:>4}", "::std::format!(\"p-{:>4}\",\"f\")"),
        ];
        for (template, expansion) in cases {
            assert_eq!(render(function, template), expansion, "{template}");
        }
    }

    #[test]
    fn what_is_unknown_is_said_with_what_is_known() {
        let function = "async fn f<T>(volume: T)";
        assert!(render(function, "{vol.id}").ends_with("there are `{volume}`, `{f_name}`"));
        assert!(render(function, "{T}").contains("is a type"));
        assert!(render(function, "{self.id}").contains("no `self`"));
        assert!(render(function, "{f_name.len()}").contains("is text"));
        assert!(render(function, "{volume.crate}").contains("no name of a field"));
        let refused = syn::parse_str::<Signature>("async fn f((f_name, x): (u8, u8))").unwrap();
        assert!(Scope::new(&refused).is_err());
    }
}
