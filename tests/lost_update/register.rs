//! The fence of the register, at its read and at its write.

use tokio::runtime::Builder;

use crate::{
    lost_update::{checker::Row, register::Register},
    server::{Kind, Server},
};

#[test]
fn what_is_older_than_a_read_is_refused() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start(Kind::mariadb());
        Register::create(&server, "register").await;
        let [mut old, mut new] = [(); 2].map(|()| Register::new(&server.url(), "register"));
        let (start, row) = (Row { value: 0, writer: 0 }, |writer| Row { value: 1, writer });
        assert_eq!(old.read(Some(5)).await, Ok(Some(start)));
        assert_eq!(new.read(Some(6)).await, Ok(Some(start)));
        // Nothing newer has been written. Done here, it would be written over by one who has not read it.
        assert_eq!(old.write(row(1), Some(5)).await, Ok(false));
        assert_eq!(old.read(Some(5)).await, Ok(None));
        assert_eq!(new.write(row(2), Some(6)).await, Ok(true));
        assert_eq!(old.write(row(1), Some(5)).await, Ok(false));
        // Without the fence it is done.
        assert_eq!(old.write(row(3), None).await, Ok(true));
        drop((old, new));
        assert_eq!(Register::left(&server, "register").await, row(3));
    });
}
