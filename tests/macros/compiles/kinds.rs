//! Every argument before every kind of function.
#![deny(warnings)]
#![allow(dead_code, unsafe_code, unused_variables, reason = "it is for the compiler to see")]

use std::{fmt::Display, future::Future, pin::Pin, sync::Arc, time::Duration};

use keyward::{Elapsed, Error, LockRegistry, Locks, TryLockError, synchronized};

macro_rules! for_each_kind {
    ($module:ident, $at:ident, [$($arguments:tt)*], $error:ty) => {
        mod $module {
            use super::*;

            #[synchronized("{id}", $($arguments)*)]
            pub(super) async fn free(id: u32, $at: &At) -> Result<u32, $error> {
                Ok(id)
            }

            #[synchronized("{id}-{f_name}", $($arguments)*)]
            async fn generic<T, const N: usize>(id: T, $at: &At, many: [T; N]) -> Result<T, $error>
            where
                T: Display + Clone,
            {
                let Some(first) = many.first() else { return Ok(id) };
                Ok(first.clone())
            }

            #[synchronized("{id}", $($arguments)*)]
            async fn lifetimes<'a, 'b: 'a>(id: &'b str, $at: &'a At) -> Result<&'a str, $error> {
                tokio::task::yield_now().await;
                Ok(&id[..$at.zero])
            }

            #[synchronized("{id}", $($arguments)*)]
            async fn elided($at: &At, id: u32) -> Result<&str, $error> {
                if id == 0 {
                    return Ok("");
                }
                Ok(&$at.name)
            }

            #[synchronized("{id}", $($arguments)*)]
            async fn opaque(id: impl Display, $at: &At) -> Result<impl Iterator<Item = u8>, $error> {
                std::hint::black_box(&$at.name);
                if id.to_string().is_empty() {
                    return Ok(0..0);
                }
                Ok(0..3)
            }

            #[synchronized("{a}-{c}-{d}-{e}", $($arguments)*)]
            async fn patterns(
                (a, mut b): (u8, u32),
                [c, ..]: [u8; 3],
                Pair { left: d, e, .. }: Pair,
                mut f: String,
                _: u8,
                $at: &At,
            ) -> Result<String, $error> {
                b += 1;
                f.push_str(&b.to_string());
                Ok(f)
            }

            #[synchronized("{id}", $($arguments)*)]
            async unsafe fn dangerous(id: u32, $at: &At) -> Result<u32, $error> {
                Ok(id)
            }

            /// Documented.
            #[inline]
            #[must_use = "for some reason"]
            #[cfg(all())]
            #[synchronized("{id}", $($arguments)*)]
            #[allow(clippy::needless_pass_by_value)]
            async fn attributes(#[allow(unused)] id: u32, $at: &At) -> Result<u32, $error> {
                #![allow(unused_variables)]
                let unused = 1;
                Ok(1)
            }

            #[synchronized("{r#type}", $($arguments)*)]
            async fn r#try(r#type: u32, $at: &At) -> Result<u32, $error> {
                Ok(r#type)
            }

            #[derive(Default)]
            struct Service {
                id: u32,
                name: String,
            }

            impl Service {
                #[synchronized("{self.id}-{id}", $($arguments)*)]
                async fn by_ref(&self, id: u32, $at: &At) -> Result<&str, $error> {
                    std::hint::black_box(id);
                    Ok(&self.name)
                }

                #[synchronized("{self.id}", $($arguments)*)]
                async fn by_mut(&mut self, $at: &At) -> Result<&mut String, $error> {
                    self.id += 1;
                    self.name.push('x');
                    Ok(&mut self.name)
                }

                #[synchronized("{self.id}", $($arguments)*)]
                async fn by_value(mut self, $at: &At) -> Result<Self, $error> {
                    self.id += 1;
                    Ok(self)
                }

                #[synchronized("{self.id}", $($arguments)*)]
                async fn by_arc(self: Arc<Self>, $at: &At) -> Result<Arc<Self>, $error> {
                    Ok(self)
                }

                #[synchronized("{id}", $($arguments)*)]
                async fn without(id: u32, $at: &At) -> Result<Self, $error> {
                    Ok(Self { id, ..Self::default() })
                }
            }

            trait Operation {
                async fn run(&self, $at: &At) -> Result<u32, $error>;

                #[synchronized("{f_name}", $($arguments)*)]
                async fn twice(&self, $at: &At) -> Result<u32, $error> {
                    Ok(self.run($at).await? + self.run($at).await?)
                }
            }

            impl Operation for Service {
                #[synchronized("{self.id}", $($arguments)*)]
                async fn run(&self, $at: &At) -> Result<u32, $error> {
                    Ok(self.id)
                }
            }

            fn is_send(service: Service, $at: At) -> impl Future<Output = Result<u32, $error>> + Send {
                async move {
                    free(1, &$at).await?;
                    patterns((1, 2), [1; 3], Pair::default(), String::new(), 0, &$at).await?;
                    service.by_ref(1, &$at).await?;
                    Arc::new(service).by_arc(&$at).await?;
                    r#try(1, &$at).await
                }
            }

            fn boxed($at: &At) -> Pin<Box<dyn Future<Output = Result<u32, $error>> + Send + '_>> {
                Box::pin(free(1, $at))
            }
        }
    };
}

struct At {
    locks: Locks,
    shared: Arc<Locks>,
    registry: LockRegistry,
    limit: Duration,
    name: String,
    zero: usize,
}

#[derive(Default)]
struct Pair {
    left: u32,
    e: u32,
    right: u32,
}

for_each_kind!(locks, at, [locks = at.locks], Error);
for_each_kind!(
    arc,
    at,
    [locks = at.shared, prefix = "p-"],
    Box<dyn std::error::Error + Send + Sync>
);
for_each_kind!(tried, at, ["second", locks = at.locks, blocking = false], Error);
for_each_kind!(waited, at, [locks = at.locks, blocking = true, timeout = "5s", shared], Error);
for_each_kind!(
    limited,
    at,
    ["second", locks = &at.locks, timeout = at.limit, shared, prefix = "p-",],
    Error
);
for_each_kind!(installed, at, [], Error);
for_each_kind!(registry, at, [registry = at.registry, prefix = "p-"], std::convert::Infallible);
for_each_kind!(registry_several, at, ["second", registry = &at.registry], std::convert::Infallible);
for_each_kind!(registry_read, at, [registry = at.registry, shared], std::convert::Infallible);
for_each_kind!(registry_tried, at, [registry = at.registry, blocking = false], TryLockError);
for_each_kind!(
    registry_tried_read,
    at,
    [registry = at.registry, blocking = false, shared],
    TryLockError
);
for_each_kind!(registry_limited, at, [registry = at.registry, timeout = "1h"], Elapsed);
for_each_kind!(
    registry_limited_read,
    at,
    [registry = at.registry, shared, timeout = at.limit],
    Elapsed
);

/// A function that macros have written: its argument is not the caller's, and is found.
macro_rules! operation {
    ($name:ident, $id:ident) => {
        #[synchronized("{id}-{hidden}-{f_name}", registry = NAMES)]
        async fn $name($id: u32, hidden: u32) -> u32 {
            $id + hidden
        }
    };
}

static NAMES: std::sync::LazyLock<LockRegistry> = std::sync::LazyLock::new(LockRegistry::new);

operation!(written, id);

/// Attributes that rewrite the function, before and behind ours.
#[tracing::instrument(skip_all, fields(id))]
#[synchronized("{id}", locks = locks)]
async fn instrumented(locks: &Locks, id: u32) -> Result<u32, Error> {
    Ok(id)
}

#[synchronized("{id}", locks = locks)]
#[tracing::instrument(skip(locks), err)]
async fn instrumented_behind(locks: &Locks, id: u32) -> Result<u32, Error> {
    Ok(id)
}
