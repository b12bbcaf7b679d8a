//! What the function becomes: the code that a careful person would write around its body.
//!
//! 1. The body is not entered without the lock. Every way not to get it is an `Err` that `?` returns,
//!    and what a wait resolves to is of the one type that says that it is held.
//! 2. `locks` and `registry` are borrowed, in a block of their own, so that nothing of them is borrowed
//!    while the body runs.
//! 3. Whatever the body has made is gone when the lock is released: it is a block, or a future, that
//!    ends before the guard or lease does.
//! 4. What we name is what we mean. Variables are hygienic, which a pattern is not where an item has its
//!    name, so they also have names that nobody else gives; items are named by their whole path, traits
//!    included; and a method is called by its path where one of a trait in scope could come before it.
//! 5. Nothing of ours counts as written by the user: no lint speaks of code that nobody sees. What is of
//!    the user keeps its place and its lints.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, Expr, Result, Type, spanned::Spanned};

use crate::{
    args::{Args, Store, Wait},
    function::Function,
    scope::{Name, Scope},
};

/// The function with its locks, or errors before what it was.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    try_expand(args, item.clone()).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        // The function is there, or whatever calls it would be an error as well; that nothing uses
        // what its locks would have used is no news.
        let is_function = syn::parse2::<Function>(item.clone()).is_ok();
        let allow = is_function.then(|| quote!(#[allow(unused)]));
        quote!(#error #allow #item)
    })
}

fn try_expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: Function = syn::parse2(item)?;
    let args: Args = syn::parse2(args)?;
    let scope = Scope::new(&function.signature)?;
    let render = |template| scope.render(&args.prefix, template);
    let names = args.templates.iter().map(render).collect::<Result<Vec<_>>>()?;
    let body = match &args.store {
        Store::Registry(registry) => in_registry(&function, &args, &names, registry)?,
        Store::Locks(locks) => in_locks(&function, &args, &names, Some(locks))?,
        Store::Installed => in_locks(&function, &args, &names, None)?,
    };
    // A lock that is only tried in a registry awaits nothing.
    let is_awaited = !matches!((&args.store, &args.wait), (Store::Registry(_), Wait::No));
    let unused_async = (!is_awaited).then(|| quote!(#[allow(clippy::unused_async)]));
    let function = function.with_body(&body);
    Ok(quote!(#unused_async #function))
}

/// Ours, where `span` is.
fn ours(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

/// A `?` that is reported where the return type is.
fn question_mark(function: &Function, why: &str) -> Result<TokenStream> {
    if function.output().is_none() {
        let message = format!("{why}, so the function must return a `Result` that takes the error");
        return Err(Error::new(function.signature.ident.span(), message));
    }
    Ok(quote_spanned!(ours(function.output_span())=> ?))
}

/// A variable of ours (4).
fn variable(name: &str) -> Ident {
    Ident::new(&format!("__keyward_{name}"), Span::mixed_site())
}

/// This crate, where it is used.
fn keyward(args: &Args) -> TokenStream {
    match &args.keyward {
        Some(path) => path.to_token_stream(),
        None => quote_spanned!(Span::mixed_site()=> ::keyward),
    }
}

/// Binds `variable` to a borrow of `expression`, which is of that type or something that leads to it.
///
/// In two steps: the type must not be expected of the expression itself, whose branches may be references.
/// What is of the wrong type is reported where it stands.
fn borrow(expression: &Expr, variable: &Ident, ty: &TokenStream) -> TokenStream {
    let site = Span::mixed_site();
    let given = Ident::new("__keyward_given", ours(expression.span()));
    let reference = quote_spanned!(ours(expression.span())=> &);
    quote_spanned!(site=>
        let #given = #reference #expression;
        let #variable: &#ty = #given;
    )
}

/// The body, with `before` before it.
fn block(function: &Function, mut before: TokenStream) -> TokenStream {
    before.extend(function.body.clone());
    let mut block = Group::new(Delimiter::Brace, before);
    block.set_span(ours(function.span));
    block.into_token_stream()
}

fn in_locks(
    function: &Function,
    args: &Args,
    names: &[Name],
    given: Option<&Expr>,
) -> Result<TokenStream> {
    let site = Span::mixed_site();
    let try_ = question_mark(function, "a lock in a store may not be had")?;
    let keyward = keyward(args);
    let names = names.iter().map(|Name { tokens, .. }| {
        let from = quote_spanned!(site=>
            <#keyward::LockName as ::core::convert::From<_>>::from
        );
        quote_spanned!(site=> #from(#tokens))
    });
    let named = variable("names");
    let (names, first, verb, lease) = match args.templates.len() {
        1 => (quote_spanned!(site=> #(#names)*), named.to_token_stream(), "lock_named", "Lease"),
        _ => {
            let first = quote_spanned!(site=> #named[0]);
            (quote_spanned!(site=> [#(#names),*]), first, "lock_all", "Leases")
        }
    };
    let (verb, lease_type) = (Ident::new(verb, site), Ident::new(lease, site));
    let (acquire, locks) = (variable("acquire"), variable("locks"));
    let (lease, work, outcome) = (variable("lease"), variable("work"), variable("outcome"));
    let locks_type = quote_spanned!(site=> #keyward::Locks);
    let borrowed = match given {
        Some(given) => borrow(given, &locks, &locks_type),
        None => {
            let error = variable("error");
            quote_spanned!(site=>
                let #locks: &#locks_type =
                    &#locks_type::installed().map_err(|#error| #error.with_name(&#first)) #try_;
            )
        }
    };
    let shared = args.is_shared.then(|| quote_spanned!(site=> .shared()));
    let limit = match limit(&args.wait) {
        Some(limit) => Some(quote_spanned!(site=> .timeout(#limit))),
        None if matches!(args.wait, Wait::No) => Some(quote_spanned!(site=> .blocking(false))),
        None => None,
    };
    let body = block(function, early_return(function));
    Ok(quote_spanned!(site=>
        let #lease = {
            let #named = #names;
            let #acquire = {
                #borrowed
                #locks.#verb(#named) #shared #limit
            };
            #acquire.await #try_
        };
        let #work = async move #body;
        let #outcome = #keyward::#lease_type::run(&#lease, #work).await #try_;
        #lease.release_after(#outcome).await
    ))
}

/// Never run: it tells what the block returns before anything in it has to be inferred from that.
fn early_return(function: &Function) -> TokenStream {
    match function.output() {
        None | Some(Type::Infer(_)) => TokenStream::new(),
        Some(output) => {
            let never = variable("never");
            quote_spanned!(Span::mixed_site()=>
                if let ::core::option::Option::Some(#never) = ::core::option::Option::None::<#output> {
                    return #never;
                }
            )
        }
    }
}

fn limit(wait: &Wait) -> Option<TokenStream> {
    match wait {
        Wait::Forever | Wait::No => None,
        Wait::Millis(millis) => Some(quote_spanned!(Span::mixed_site()=>
            ::core::time::Duration::from_millis(#millis)
        )),
        Wait::For(limit) => Some(limit.into_token_stream()),
    }
}

fn in_registry(
    function: &Function,
    args: &Args,
    names: &[Name],
    given: &Expr,
) -> Result<TokenStream> {
    let site = Span::mixed_site();
    let keyward = keyward(args);
    let (registry, guard, held) = (variable("registry"), variable("guard"), variable("held"));
    let keys: Vec<_> = (1..=names.len()).map(|number| variable(&format!("name{number}"))).collect();
    let names = names.iter().map(|Name { tokens, is_literal }| match is_literal {
        true => tokens.clone(),
        false => quote_spanned!(site=> &#tokens),
    });
    let taken = if keys.len() > 1 {
        quote_spanned!(site=> #registry.lock_all([#(#keys),*]).await)
    } else {
        let verb = match (&args.wait, args.is_shared) {
            (Wait::No, false) => "try_lock_named",
            (Wait::No, true) => "try_read_named",
            (_, false) => "lock_named",
            (_, true) => "read_named",
        };
        let verb = Ident::new(verb, site);
        let asked = quote_spanned!(site=> #registry.#verb(#(#keys)*));
        match (&args.wait, limit(&args.wait)) {
            (Wait::No, _) => {
                let try_ = question_mark(function, "`blocking = false` may not get the lock")?;
                quote_spanned!(site=> #asked #try_)
            }
            (_, Some(limit)) => {
                let try_ =
                    question_mark(function, "with `timeout` the lock may not be had in time")?;
                quote_spanned!(site=> #asked.timeout(#limit).await #try_)
            }
            (_, None) => quote_spanned!(site=> #asked.await),
        }
    };
    let borrowed = borrow(given, &registry, &quote_spanned!(site=> #keyward::LockRegistry<_, _>));
    let body = block(function, TokenStream::new());
    Ok(quote_spanned!(site=>
        let #held = {
            #(let #keys: &::core::primitive::str = #names;)*
            #borrowed
            let #guard = #taken;
            #guard
        };
        #body
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing else can tell: where these tests run, this crate is found as `::keyward`.
    #[test]
    fn with_a_path_nothing_is_said_of_the_usual_one() {
        let function = quote!(
            async fn f(l: &L, id: u32) -> Result<(), E> {}
        );
        for args in [
            quote!("{id}", locks = l),
            quote!("{id}"),
            quote!("{id}", "b", shared, timeout = "5s"),
            quote!("{id}", "b", registry = l),
            quote!("{id}", registry = l, blocking = false),
        ] {
            let usual = expand(args.clone(), function.clone()).to_string();
            assert!(usual.contains(":: keyward ::"), "{usual}");
            let elsewhere =
                expand(quote!(#args, crate = other::path), function.clone()).to_string();
            assert!(!elsewhere.contains("keyward ::"), "{elsewhere}");
            assert_eq!(usual.replace(":: keyward ::", "other :: path ::"), elsewhere);
        }
    }
}
