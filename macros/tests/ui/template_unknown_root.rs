use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{volume.id}-{f_name}", locks = locks)]
async fn f<T>(id: u32, locks: &Locks, _: T) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
