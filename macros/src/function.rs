//! What the attribute stands before.
//!
//! The body stays what it was, token for token: what is wrong in it the compiler says, and half-written
//! code remains completable in an editor.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, Result, Signature, Token, Type, Visibility, braced,
    parse::{Parse, ParseStream},
    spanned::Spanned,
    visit_mut::{VisitMut, visit_type_mut},
};

/// An `async fn` with a body.
pub(crate) struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    default: Option<Token![default]>,
    pub(crate) signature: Signature,
    /// `#![…]` at the start of the body.
    inner_attributes: Vec<Attribute>,
    pub(crate) body: TokenStream,
    /// Of the body's braces.
    pub(crate) span: Span,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let default = input.parse()?;
        if !is_function(input) {
            return Err(input.error("`synchronized` stands before an `async fn`"));
        }
        let signature: Signature = input.parse()?;
        if signature.asyncness.is_none() {
            let message = "the function must be `async`: it waits for its locks. Below \
                `#[tokio::test]` and `#[tokio::main]` it is not any more: put `#[synchronized]` above \
                them. Nor is it under `#[async_trait]`: lock within the body";
            return Err(Error::new(signature.fn_token.span, message));
        }
        if input.peek(Token![;]) {
            let message =
                "there is no body to hold a lock for: put the attribute where the body is";
            return Err(Error::new(signature.ident.span(), message));
        }
        let content;
        let braces = braced!(content in input);
        let inner_attributes = content.call(Attribute::parse_inner)?;
        let (body, span) = (content.parse()?, braces.span.join());
        Ok(Self { attributes, visibility, default, signature, inner_attributes, body, span })
    }
}

/// Whether `fn` comes, after whatever may stand before it.
fn is_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    while ahead.peek(Token![const])
        || ahead.peek(Token![async])
        || ahead.peek(Token![unsafe])
        || ahead.peek(Token![extern])
        || ahead.peek(syn::LitStr)
    {
        if ahead.parse::<proc_macro2::TokenTree>().is_err() {
            return false;
        }
    }
    ahead.peek(Token![fn])
}

impl Function {
    /// The type that is returned, with `_` for what only the compiler can name. None if it is `()`
    /// because nothing is said.
    pub(crate) fn output(&self) -> Option<Type> {
        let syn::ReturnType::Type(_, output) = &self.signature.output else { return None };
        let mut output = Type::clone(output);
        Nameable.visit_type_mut(&mut output);
        Some(output)
    }

    /// Where an error about what is returned belongs.
    pub(crate) fn output_span(&self) -> Span {
        match &self.signature.output {
            syn::ReturnType::Default => self.signature.ident.span(),
            syn::ReturnType::Type(_, output) => output.span(),
        }
    }

    /// The function with another body.
    pub(crate) fn with_body(&self, statements: &TokenStream) -> TokenStream {
        let Self { attributes, visibility, default, signature, inner_attributes, .. } = self;
        let mut body = proc_macro2::Group::new(
            proc_macro2::Delimiter::Brace,
            quote!(#(#inner_attributes)* #statements),
        );
        body.set_span(self.span);
        let body = body.into_token_stream();
        quote!(#(#attributes)* #visibility #default #signature #body)
    }
}

/// `impl Trait` to `_`, and macros, which may be one.
struct Nameable;

impl VisitMut for Nameable {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if matches!(ty, Type::ImplTrait(_) | Type::Macro(_)) {
            *ty = syn::parse_quote_spanned!(ty.span()=> _);
        } else {
            visit_type_mut(self, ty);
        }
    }
}
