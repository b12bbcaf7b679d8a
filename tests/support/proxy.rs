//! A network that fails, between a client and a server: over loopback, for one server.
//!
//! It has a thread and a runtime of its own, so that it goes on while a test blocks. What a call
//! changes holds for every byte that is sent after the call.

#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// What is behind the network.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Port(u16),
    Socket(PathBuf),
}

/// What becomes of the bytes of one direction, and of the end of their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// They arrive.
    Pass,
    /// They arrive when the network heals.
    Hold,
    /// They never arrive.
    Swallow,
}

#[derive(Clone, Debug)]
struct State {
    to_server: Flow,
    to_client: Flow,
    delay: Duration,
    refuse: bool,
    /// How often all connections have been reset.
    resets: u64,
    /// How often those that were open have been told from those that came later.
    marks: u64,
    /// Connections from before this mark are cut off.
    cut: u64,
}

impl State {
    const HEALTHY: Self = Self {
        to_server: Flow::Pass,
        to_client: Flow::Pass,
        delay: Duration::ZERO,
        refuse: false,
        resets: 0,
        marks: 0,
        cut: 0,
    };

    fn is_open(&self) -> bool {
        self.to_server == Flow::Pass && self.to_client == Flow::Pass
    }
}

/// The network; its connections end when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    state: Option<watch::Sender<State>>,
    listens: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(target: Target) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State::HEALTHY);
        let listens = Arc::new(AtomicBool::new(true));
        let network = Network { target, state: watched, listens: Arc::clone(&listens) };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(network.run(address, listener));
        });
        Self { port: address.port(), state: Some(state), listens, thread: Some(thread) }
    }

    /// Where clients connect to, on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A cable is cut: nothing arrives on either side, not even that a side has closed. Connections
    /// that are open stay so and are of no use any more; new ones are established when it heals.
    pub(crate) fn silence(&self) {
        self.flows(Flow::Swallow, Flow::Swallow);
    }

    /// Tells the connections that are open from those that come later.
    pub(crate) fn mark(&self) -> u64 {
        self.change(|state| state.marks += 1);
        self.state.as_ref().unwrap().borrow().marks
    }

    /// As [`silence`](Self::silence), for ever, of the connections from before that mark; others go on.
    pub(crate) fn silence_older(&self, mark: u64) {
        self.change(|state| state.cut = mark);
    }

    /// Only what the clients say is lost.
    pub(crate) fn silence_to_server(&self) {
        self.flows(Flow::Swallow, Flow::Pass);
    }

    /// Only what the server says is lost: it hears the clients, and does as they say.
    pub(crate) fn silence_to_client(&self) {
        self.flows(Flow::Pass, Flow::Swallow);
    }

    /// Nothing arrives until the network heals, then everything does.
    pub(crate) fn stall(&self) {
        self.flows(Flow::Hold, Flow::Hold);
    }

    pub(crate) fn stall_to_server(&self) {
        self.flows(Flow::Hold, Flow::Pass);
    }

    pub(crate) fn stall_to_client(&self) {
        self.flows(Flow::Pass, Flow::Hold);
    }

    fn flows(&self, to_server: Flow, to_client: Flow) {
        self.change(|state| (state.to_server, state.to_client) = (to_server, to_client));
    }

    /// From now on, every packet takes this much longer, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// All connections that are open end with an error, on both sides.
    pub(crate) fn reset(&self) {
        self.change(|state| state.resets += 1);
    }

    /// New connections are refused; those that are open go on.
    pub(crate) fn refuse(&self) {
        self.change(|state| state.refuse = true);
        self.until_listens(false);
    }

    /// Everything arrives again, at once.
    pub(crate) fn heal(&self) {
        self.change(|state| {
            *state = {
                let State { resets, marks, cut, .. } = *state;
                State { resets, marks, cut, ..State::HEALTHY }
            }
        });
        self.until_listens(true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.as_ref().unwrap().send_modify(change);
    }

    fn until_listens(&self, listens: bool) {
        while self.listens.load(Ordering::Acquire) != listens {
            assert!(!self.thread.as_ref().unwrap().is_finished(), "the network is gone");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state = None;
        drop(self.thread.take().unwrap().join());
    }
}

/// The thread's side; everything in it ends when the state has no sender any more.
struct Network {
    target: Target,
    state: watch::Receiver<State>,
    listens: Arc<AtomicBool>,
}

impl Network {
    async fn run(mut self, address: SocketAddr, listener: std::net::TcpListener) {
        let mut listener = Some(TcpListener::from_std(listener).unwrap());
        loop {
            let Some(open) = &listener else {
                if self.state.wait_for(|state| !state.refuse).await.is_err() {
                    return;
                }
                listener = Some(TcpListener::bind(address).await.unwrap());
                self.listens.store(true, Ordering::Release);
                continue;
            };
            let client = tokio::select! {
                client = open.accept() => client.unwrap().0,
                refuse = self.state.wait_for(|state| state.refuse) => {
                    if refuse.is_err() {
                        return;
                    }
                    listener = None;
                    self.listens.store(false, Ordering::Release);
                    continue;
                }
            };
            let (target, state) = (self.target.clone(), self.state.clone());
            // An error is that of a connection, and its client has been told.
            tokio::spawn(async move { drop(connection(client, target, state).await) });
        }
    }
}

async fn connection(
    client: TcpStream,
    target: Target,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    // For the client the connection is there, but the server has not heard of it.
    if state.wait_for(State::is_open).await.is_err() {
        return Ok(());
    }
    match target {
        Target::Port(port) => match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(server) => {
                server.set_nodelay(true)?;
                join(client, server, state).await
            }
            Err(_) => client.reset(),
        },
        Target::Socket(path) => match UnixStream::connect(path).await {
            Ok(server) => join(client, server, state).await,
            Err(_) => client.reset(),
        },
    }
}

/// Until both sides have closed, or the connection is reset.
async fn join<S>(
    mut client: TcpStream,
    mut server: S,
    mut state: watch::Receiver<State>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Reset,
{
    let (pumps, resets, born) = (state.clone(), state.borrow().resets, state.borrow().marks);
    {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = tokio::io::split(&mut server);
        let there = pump(&mut from_client, &mut to_server, pumps.clone(), born, |s| s.to_server);
        let back = pump(&mut from_server, &mut to_client, pumps, born, |s| s.to_client);
        tokio::select! {
            _ = async { tokio::join!(there, back) } => return Ok(()),
            gone = state.wait_for(|state| state.resets != resets) => drop(gone),
        }
    }
    client.reset()?;
    server.reset()
}

/// One direction, until its end has been passed on.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut state: watch::Receiver<State>,
    born: u64,
    flow: fn(&State) -> Flow,
) {
    let flow = |state: &State| if state.cut <= born { flow(state) } else { Flow::Swallow };
    let mut buffer = vec![0; 1 << 16];
    loop {
        // A side that is gone has ended, however it went.
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let delay = state.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let flow = match state.wait_for(|state| flow(state) != Flow::Hold).await {
            Ok(state) => flow(&state),
            Err(_) => return,
        };
        match flow {
            Flow::Pass if read == 0 => return drop(to.shutdown().await),
            Flow::Pass if to.write_all(&buffer[..read]).await.is_err() => return,
            // The other side is to believe that this one is still there.
            Flow::Swallow if read == 0 => return std::future::pending().await,
            _ => {}
        }
    }
}

trait Reset {
    /// Ends a connection as an error, not as an end.
    fn reset(self) -> io::Result<()>;
}

impl Reset for TcpStream {
    fn reset(self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

impl Reset for UnixStream {
    /// Which these cannot express.
    fn reset(self) -> io::Result<()> {
        Ok(())
    }
}
