//! What a [`MySqlBackend`] may be told by hand; by URL, see `url.rs`.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions,
    mysql::{MySqlConnectOptions, MySqlSslMode},
};

use super::{
    MySqlBackend,
    layout::{Layout, Place},
    server::Leniency,
    wire::Address,
};
use crate::{
    contract::Fencing,
    error::{Error, ErrorKind},
    url,
};

/// Whether the connection is encrypted, and what the server's certificate has to be. Everything but
/// `Off` and `Preferred` needs the feature `mysql-tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tls {
    /// Not encrypted.
    Off,
    /// Encrypted if both sides can, whatever the certificate.
    Preferred,
    /// Encrypted, whatever the certificate.
    Required,
    /// Encrypted, with a certificate of an authority that we trust.
    VerifyCa,
    /// And issued for the host that we connect to.
    VerifyIdentity,
}

/// What a [`MySqlBackend`] may be told; the table in the [module's docs](super) has the defaults.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// use std::time::Duration;
/// use keyward::{Fencing, Locks, mysql::MySqlOptions};
///
/// let backend = MySqlOptions::new()
///     .host("db.internal")
///     .user("cinder")
///     .password("secret")
///     .ttl(Duration::from_secs(15))
///     .fencing(Fencing::Durable)
///     .database("cinder")
///     .connect()
///     .await?;
/// let locks = Locks::builder().prefix("cinder-").backend(backend);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until they are connected with"]
pub struct MySqlOptions {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) socket: Option<PathBuf>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) tls: Tls,
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) connect_timeout: Duration,
    pub(super) heartbeat: Option<Duration>,
    pub(super) ttl: Duration,
    pub(super) fencing: Fencing,
    pub(super) create_table: bool,
    pub(super) max_waiters: usize,
    pub(super) locks_per_session: usize,
    pub(super) exact_names: bool,
    pub(super) sentinel: bool,
    pub(super) leniency: Leniency,
    pub(super) servers: Vec<String>,
    pub(super) generation: Option<u64>,
    pub(super) previous: Option<Vec<String>>,
    pub(super) gone: Vec<String>,
    pub(super) create_shards: bool,
}

impl Default for MySqlOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl MySqlOptions {
    /// The defaults: root without a password on 127.0.0.1, port 3306, and those of the table.
    pub fn new() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 3306,
            socket: None,
            user: "root".to_owned(),
            password: None,
            database: None,
            tls: Tls::Preferred,
            ca: None,
            certificate: None,
            connect_timeout: Duration::from_secs(5),
            heartbeat: None,
            ttl: Duration::from_secs(30),
            fencing: Fencing::Server,
            create_table: false,
            max_waiters: 8,
            locks_per_session: 64,
            exact_names: false,
            sentinel: false,
            leniency: Leniency::default(),
            servers: Vec::new(),
            generation: None,
            previous: None,
            gone: Vec::new(),
            create_shards: false,
        }
    }

    /// The server's host name or address.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Its port.
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Its unix socket, instead of a host and a port.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Who we are. Locking needs no privilege.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The password, which no error and no `Debug` shows.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The database, which matters for [`Fencing::Durable`] only: names are the whole server's.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Whether the connection is encrypted.
    pub const fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// A file with the authorities that we trust, instead of the system's.
    pub fn tls_authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Files with a certificate of our own, and its key.
    pub fn tls_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// How long to try to connect: at first, and when a connection is lost while somebody waits.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server keeps a lock for us without hearing of us: whole seconds, 3 s to a day.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How often the server is asked whether our locks are ours: 250 ms to half of the ttl.
    pub const fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Where fencing tokens come from: [`Fencing::Server`], [`Fencing::Durable`] or [`Fencing::Off`].
    pub const fn fencing(mut self, fencing: Fencing) -> Self {
        self.fencing = fencing;
        self
    }

    /// Whether the table of [`Fencing::Durable`] is made if it is missing.
    pub const fn create_table(mut self, create: bool) -> Self {
        self.create_table = create;
        self
    }

    /// How many names may be waited for by a session of their own; beyond that, waiting is polling. So it
    /// is once there are three sessions for each of them beside those that would do for what is held.
    pub const fn max_waiters(mut self, sessions: usize) -> Self {
        self.max_waiters = sessions;
        self
    }

    /// How many locks one session may hold: what is lost at once if it is killed.
    pub const fn locks_per_session(mut self, locks: usize) -> Self {
        self.locks_per_session = locks;
        self
    }

    /// Sends every name verbatim, as Python services do; see
    /// [`LockName::exact`](crate::LockName::exact).
    pub const fn exact_names(mut self, exact: bool) -> Self {
        self.exact_names = exact;
        self
    }

    /// Whether one more session does nothing but notice at once that the server is gone.
    pub const fn sentinel(mut self, sentinel: bool) -> Self {
        self.sentinel = sentinel;
        self
    }

    /// Locks on a read-only server, which is refused otherwise: a replica excludes nobody on its
    /// primary.
    pub const fn allow_replica(mut self, allow: bool) -> Self {
        self.leniency.replica = allow;
        self
    }

    /// Locks on a Galera node, which is refused otherwise: each node grants a name by itself, so that
    /// all programs have to use the same one.
    pub const fn allow_galera(mut self, allow: bool) -> Self {
        self.leniency.galera = allow;
        self
    }

    /// Several servers, among which names are shared out; each is `host`, `host:port`, `[::1]:port`, or the
    /// path of a socket. In place of [`host`](Self::host) and [`socket`](Self::socket), and with a
    /// [`generation`](Self::generation); see [the module's docs](super#several-servers).
    pub fn servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// Which layout of several servers this is: counted up by one whenever something of it changes.
    pub const fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// The servers of the generation before, for the one in which they change.
    pub fn previous<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.previous = Some(servers.into_iter().map(Into::into).collect());
        self
    }

    /// Servers of earlier generations that will never be back: nobody locks on them, and they need not be told
    /// of this generation. If one of them lives all the same, names that are locked there have two holders.
    pub fn gone<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.gone = servers.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the table of generations is made where it is missing.
    pub const fn create_shards(mut self, create: bool) -> Self {
        self.create_shards = create;
        self
    }

    /// Connects, and makes sure that the server's locks can be relied on.
    ///
    /// To be called within the Tokio runtime that is to keep the sessions: leases are lost when it ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing open.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](ErrorKind::InvalidUrl) for options out of range and for an unknown database,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) for a wrong password,
    /// [`ResourceLimit`](ErrorKind::ResourceLimit) if the server has no connection left,
    /// [`Unsupported`](ErrorKind::Unsupported) for a server that cannot exclude, and
    /// [`Unavailable`](ErrorKind::Unavailable) if there is none.
    pub async fn connect(self) -> Result<MySqlBackend, Error> {
        MySqlBackend::open(self).await.map_err(|e| e.with_backend("mysql"))
    }

    /// The layout of several servers, if these are such.
    pub(super) fn layout(&self) -> Result<Option<Layout>, Error> {
        let Some(generation) = self.generation else {
            let is_alone = self.servers.is_empty()
                && self.previous.is_none()
                && self.gone.is_empty()
                && !self.create_shards;
            if is_alone {
                return Ok(None);
            }
            return Err(url::bad(
                "several servers have a generation: the first one is generation=1",
            ));
        };
        if self.database.is_none() {
            return Err(url::bad(
                "the generation of several servers is kept in a database: name one",
            ));
        }
        if self.fencing == Fencing::Server {
            return Err(url::bad(
                "tokens by uuid_short do not grow from one server to another: with several servers say \
                 fencing=table, fencing=create-table or fencing=off",
            ));
        }
        let places = |servers: &[String]| servers.iter().map(|text| Place::parse(text)).collect();
        let members = match (&*self.servers, &self.socket) {
            ([], Some(socket)) => vec![Place::parse(&socket.display().to_string())?],
            ([], None) if self.host.contains(':') => {
                vec![Place::parse(&format!("[{}]:{}", self.host, self.port))?]
            }
            ([], None) => vec![Place::parse(&format!("{}:{}", self.host, self.port))?],
            (_, Some(_)) => {
                return Err(url::bad("several servers have a socket each: name them so"));
            }
            (servers, None) => places(servers)?,
        };
        let previous = self.previous.as_deref().map(places).transpose()?;
        Layout::new(generation, members, previous, places(&self.gone)?).map(Some)
    }

    pub(super) fn heartbeat_or_default(&self) -> Duration {
        self.heartbeat.unwrap_or(self.ttl / 6)
    }

    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), Error> {
        let bad = |what: &'static str| Err(url::bad(what));
        let day = Duration::from_secs(24 * 3600);
        if self.ttl.subsec_nanos() != 0 || self.ttl < Duration::from_secs(3) || self.ttl > day {
            return bad("the ttl is whole seconds, from 3 s to a day");
        }
        let heartbeat = self.heartbeat_or_default();
        if heartbeat < Duration::from_millis(250) || heartbeat > self.ttl / 2 {
            return bad("the heartbeat is from 250 ms to half of the ttl");
        }
        if self.max_waiters == 0 || self.locks_per_session == 0 || self.locks_per_session > 1024 {
            return bad("there is at least one waiter, and from 1 to 1024 locks for each session");
        }
        if self.connect_timeout.is_zero() {
            return bad("connecting takes some time");
        }
        match self.fencing {
            Fencing::Server | Fencing::Off => {}
            Fencing::Durable if self.database.is_some() => {}
            Fencing::Durable => return bad("durable tokens are kept in a database: name one"),
            _ => return bad("tokens come from the server, from a table, or not at all"),
        }
        let needs_tls = !matches!(self.tls, Tls::Off | Tls::Preferred) || self.ca.is_some();
        if needs_tls && !cfg!(feature = "mysql-tls") {
            let message = "enable the feature \"mysql-tls\" of the crate keyward for encryption";
            return Err(Error::new(ErrorKind::FeatureDisabled).with_message(message));
        }
        Ok(())
    }

    pub(super) fn is_local(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.is_loopback();
        self.socket.is_some()
            || self.host == "localhost"
            || self.host.parse().is_ok_and(is_loopback)
    }

    /// Whether what is sent may be read on the way.
    pub(super) fn may_be_plain(&self) -> bool {
        !self.is_local()
            && (self.tls == Tls::Off || self.tls == Tls::Preferred && !cfg!(feature = "mysql-tls"))
    }

    /// As the driver wants it.
    pub(super) fn address(&self) -> Address {
        let mut driver = MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .statement_cache_capacity(4)
            // Nothing that costs a round trip: names go as hexadecimal digits.
            .set_names(false)
            .timezone(None)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            // A wait would be logged as a slow statement.
            .disable_statement_logging()
            .ssl_mode(match self.tls {
                Tls::Off => MySqlSslMode::Disabled,
                Tls::Preferred => MySqlSslMode::Preferred,
                Tls::Required => MySqlSslMode::Required,
                Tls::VerifyCa => MySqlSslMode::VerifyCa,
                Tls::VerifyIdentity => MySqlSslMode::VerifyIdentity,
            });
        let place: Arc<str> = match &self.socket {
            Some(socket) => {
                driver = driver.socket(socket);
                socket.display().to_string().into()
            }
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port).into(),
            None => format!("{}:{}", self.host, self.port).into(),
        };
        if let Some(password) = &self.password {
            driver = driver.password(password);
        }
        if let Some(database) = &self.database {
            driver = driver.database(database);
        }
        if let Some(ca) = &self.ca {
            driver = driver.ssl_ca(ca);
        }
        if let Some((certificate, key)) = &self.certificate {
            driver = driver.ssl_client_cert(certificate).ssl_client_key(key);
        }
        Address { driver, place, connect_timeout: self.connect_timeout }
    }
}

/// Without the password.
impl fmt::Debug for MySqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("servers", &self.servers)
            .field("generation", &self.generation)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("ttl", &self.ttl)
            .field("fencing", &self.fencing)
            .finish_non_exhaustive()
    }
}
