use keyward::{Error, synchronized};

#[tokio::main(flavor = "current_thread")]
#[synchronized("vol")]
async fn main() -> Result<(), Error> {
    Ok(())
}
