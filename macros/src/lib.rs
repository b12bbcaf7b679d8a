//! The attribute of the crate [`keyward`](https://docs.rs/keyward), which exports it.
//!
//! | file          | what it is                                                     |
//! |---------------|----------------------------------------------------------------|
//! | `args.rs`     | what stands in the attribute's parentheses                     |
//! | `function.rs` | what it stands before                                          |
//! | `template.rs` | the grammar of a lock's name                                   |
//! | `scope.rs`    | what a name may be made of, and the expression that makes it   |
//! | `expand.rs`   | what the function becomes                                      |
#![forbid(unsafe_code)]

mod args;
mod expand;
mod function;
#[cfg(test)]
mod fuzzed;
mod scope;
mod template;

use proc_macro::TokenStream;

#[doc = include_str!("synchronized.md")]
#[proc_macro_attribute]
pub fn synchronized(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args.into(), item.into()).into()
}
