use keyward::synchronized;

#[synchronized("vol-{id}")]
struct Volume {
    id: u32,
}

fn main() {}
