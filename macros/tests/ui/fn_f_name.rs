use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{id}", locks = locks)]
async fn f((id, f_name): (u32, u32), locks: &Locks) -> Result<u32, Error> {
    Ok(id + f_name)
}

fn main() {}
