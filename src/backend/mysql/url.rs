//! What a [`MySqlOptions`] may be told by URL: `mysql://user:password@host:3306/database?option=value`.
//!
//! Spellings of tooz and of sqlx stand beside our own where both mean the same. What we do not know is
//! refused, and no error shows a password. What comes before the last `@` may be one, so that `@` ends
//! the login or is an error: `root:12/34@host` would be a host `root`, a port and a database to us.

use std::{path::PathBuf, time::Duration};

use super::{
    layout::Place,
    options::{MySqlOptions, Tls},
};
use crate::{
    contract::Fencing,
    error::Error,
    url::{self, BackendUrl},
};

/// The port that a server has if none is named.
pub(super) const DEFAULT_PORT: u16 = 3306;

/// Options by URL, and the gap of polite locks, which is not the backend's.
pub(super) fn from_url(mut url: BackendUrl) -> Result<(MySqlOptions, Option<Duration>), Error> {
    let mut options = MySqlOptions::new();
    options.generation = url.number("generation")?.map(|number: usize| number as u64);
    let form = "mysql://user:password@host:3306/database?option=value";
    let rest = url.rest().strip_prefix("//");
    let rest = rest.ok_or_else(|| url::bad(format!("a mysql url looks like {form}")))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains('@') || url.may_be_password() {
        return Err(url::bad(
            "an @ comes behind the host of the url: in a user, a password or anything else write \
             %40 for it, %2F for / and %3F for ?",
        ));
    }
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if let Some(login) = login {
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        options.user = url::decode(user)?;
        options.password = password.map(url::decode).transpose()?;
    }
    // The text may be a part of a password with an unencoded `/` or `@`.
    let no_host =
        || url::bad(format!("no host and port to be read from the url; it looks like {form}"));
    let is_path = options.generation.is_some()
        && host.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2f"));
    if host.contains(',') || is_path {
        for host in host.split(',') {
            let host = url::decode(host)?;
            Place::parse(&host).map_err(|_| no_host())?;
            options.servers.push(host);
        }
    } else {
        let (host, port) = host_and_port(host).ok_or_else(no_host)?;
        if !host.is_empty() {
            options.host = url::decode(host)?;
        }
        options.port = port.unwrap_or(options.port);
    }
    options.database = Some(url::decode(path)?).filter(|database| !database.is_empty());
    let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    options.previous = url.option("previous").map(list);
    options.gone = url.option("gone").map(list).unwrap_or_default();
    let shards = url.choice("shards", &[("table", false), ("create-table", true)])?;
    options.create_shards = shards.unwrap_or_default();

    // What tooz and sqlx call it stands beside our own word.
    options.socket = either(&mut url, "socket", "unix_socket").map(PathBuf::from);
    tls_from_url(&mut url, &mut options)?;
    drop(url.option("charset")); // names go as bytes, whatever it is
    if let Some(ttl) = url.seconds("ttl")? {
        options.ttl = ttl;
    }
    options.heartbeat = url.seconds("heartbeat")?;
    if let Some(timeout) = url.seconds("connect_timeout")? {
        options.connect_timeout = timeout;
    }
    let fencing = [
        ("uuid_short", (Fencing::Server, false)),
        ("table", (Fencing::Durable, false)),
        ("create-table", (Fencing::Durable, true)),
        ("off", (Fencing::Off, false)),
    ];
    if let Some((fencing, create)) = url.choice("fencing", &fencing)? {
        (options.fencing, options.create_table) = (fencing, create);
    }
    if let Some(waiters) = url.number("max_waiters")? {
        options.max_waiters = waiters;
    }
    if let Some(locks) = url.number("locks_per_session")? {
        options.locks_per_session = locks;
    }
    let names = url.choice("names", &[("native", false), ("exact", true)])?;
    options.exact_names = names.unwrap_or_default();
    let sentinel = url.choice("sentinel", &[("off", false), ("on", true)])?;
    options.sentinel = sentinel.unwrap_or_default();
    options.leniency.replica = url.choice("replica", &[("allow", true)])?.unwrap_or_default();
    options.leniency.galera = url.choice("galera", &[("single-writer", true)])?.unwrap_or_default();
    let polite = url.duration("polite")?;
    url.finish()?;
    Ok((options, polite))
}

fn either(url: &mut BackendUrl, ours: &'static str, theirs: &'static str) -> Option<String> {
    let theirs = url.option(theirs);
    url.option(ours).or(theirs)
}

/// `host`, `host:port`, `[::1]:port`.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    Some((host, port.map(str::parse).transpose().ok()?))
}

fn tls_from_url(url: &mut BackendUrl, options: &mut MySqlOptions) -> Result<(), Error> {
    let modes = [
        ("disabled", Tls::Off),
        ("preferred", Tls::Preferred),
        ("required", Tls::Required),
        ("verify_ca", Tls::VerifyCa),
        ("verify_identity", Tls::VerifyIdentity),
    ];
    let theirs = url.choice("ssl-mode", &modes)?;
    let mode = url.choice("ssl_mode", &modes)?.or(theirs);
    options.ca = either(url, "ssl_ca", "ssl-ca").map(PathBuf::from);
    let certificate = either(url, "ssl_cert", "ssl-cert");
    let key = either(url, "ssl_key", "ssl-key");
    options.certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => return Err(url::bad("ssl_cert and ssl_key go together")),
    };
    // As PyMySQL takes them for tooz.
    let truth =
        [("true", true), ("1", true), ("yes", true), ("false", false), ("0", false), ("no", false)];
    let checks_host = url.choice("ssl_check_hostname", &truth)?;
    let verifies =
        [("none", Tls::Required), ("optional", Tls::VerifyCa), ("required", Tls::VerifyCa)];
    let verifies = url.choice("ssl_verify_mode", &verifies)?;
    let with_files = options.ca.is_some() || options.certificate.is_some();
    options.tls = match (mode, checks_host, verifies) {
        (Some(mode), None, None) => mode,
        (Some(_), _, _) => return Err(url::bad("ssl_mode says it all: leave the others out")),
        (None, Some(true), _) => Tls::VerifyIdentity,
        (None, _, Some(verifies)) => verifies,
        (None, _, None) if options.ca.is_some() => Tls::VerifyCa,
        (None, _, None) if with_files => Tls::Required,
        (None, _, None) => Tls::Preferred,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::ErrorKind;

    fn parse(url: &str) -> Result<MySqlOptions, Error> {
        let (options, _) = from_url(BackendUrl::parse(url)?)?;
        options.check()?;
        Ok(options)
    }

    #[test]
    fn what_toozs_users_have() {
        let options = parse("mysql://root:stackdb@127.0.0.1/Tooz?charset=utf8").unwrap();
        assert_eq!((&*options.host, options.port, &*options.user), ("127.0.0.1", 3306, "root"));
        assert_eq!(options.password.as_deref(), Some("stackdb"));
        assert_eq!(options.database.as_deref(), Some("Tooz"));
        let options = parse("mysql://u:p%40s@[::1]:3307/d?unix_socket=/run/x").unwrap();
        assert_eq!((&*options.host, options.port), ("::1", 3307));
        assert_eq!(options.socket.as_deref(), Some(Path::new("/run/x")));
        assert_eq!(options.password.as_deref(), Some("p@s"));
    }

    #[test]
    fn times_and_numbers() {
        let options = parse("mysql://h/?ttl=30&heartbeat=5&max_waiters=3&locks_per_session=7");
        let options = options.unwrap();
        assert_eq!(options.ttl, Duration::from_secs(30));
        assert_eq!(options.heartbeat_or_default(), Duration::from_secs(5));
        assert_eq!((options.max_waiters, options.locks_per_session), (3, 7));
        let options = parse("mysql://h/?ttl=3s&heartbeat=250ms").unwrap();
        assert_eq!(options.heartbeat_or_default(), Duration::from_millis(250));
        for bad in [
            "mysql:h",
            "mysql://h:x/",
            "mysql://h/?ttl=2",
            "mysql://h/?ttl=3500ms",
            "mysql://h/?ttl=86401",
            "mysql://h/?heartbeat=200ms",
            "mysql://h/?ttl=6&heartbeat=4",
            "mysql://h/?max_waiters=0",
            "mysql://h/?locks_per_session=x",
            "mysql://h/?ttll=30",
            "mysql://h/?fencing=table",
            "mysql://h/?galera=yes",
            "mysql://h/?ssl_cert=x",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{bad}: {error}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_no_host_and_no_database() {
        for bad in [
            "mysql://root:12/ter2@h/",
            "mysql://root:12?charset=ter2@h/",
            "mysql://root:p@12/ter2@h",
            "mysql://h/a@b",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{bad}");
            assert!(error.to_string().contains("%40") && !error.to_string().contains("ter2"));
        }
        let options = parse("mysql://root:p@ss@h/a%40b?socket=/run/%40x").unwrap();
        assert_eq!(options.password.as_deref(), Some("p@ss"));
        assert_eq!(options.database.as_deref(), Some("a@b"));
    }

    #[test]
    fn several_servers() {
        let several = |url: &str| parse(url).and_then(|options| options.layout());
        let query = "generation=2&previous=a,%2Frun%2Fs&gone=b&fencing=off";
        let layout =
            several(&format!("mysql://u:p@[::1]:33,A,%2frun%2fs/d?{query}")).unwrap().unwrap();
        assert_eq!(layout.generation, 2);
        assert_eq!(
            layout.text(),
            "/run/s,[::1]:33,a:3306;previous=/run/s,a:3306;gone=b:3306",
            "as it stands in the table"
        );
        let layout = several("mysql://a,b/d?generation=1&fencing=create-table&shards=create-table");
        assert_eq!(layout.unwrap().unwrap().text(), "a:3306,b:3306");
        let alone = several("mysql://a/d?generation=3&previous=a,b&fencing=off").unwrap().unwrap();
        assert_eq!(alone.text(), "a:3306;previous=a:3306,b:3306");
        let alone = several("mysql://[::1]/d?generation=3&fencing=off").unwrap().unwrap();
        assert_eq!(alone.text(), "[::1]:3306");
        let alone = several("mysql://h/d?socket=/run/s&generation=1&fencing=off").unwrap().unwrap();
        assert_eq!(alone.text(), "/run/s");
        let alone = several("mysql://%2Frun%2Fs/d?generation=1&fencing=off").unwrap().unwrap();
        assert_eq!(alone.text(), "/run/s");
        assert_eq!(several("mysql://a/d").unwrap(), None);
        assert_eq!(several("mysql://%2Fa/d").unwrap(), None, "as ever");
        for (bad, says) in [
            ("mysql://a,b/d?fencing=off", "generation=1"),
            ("mysql://a/d?previous=b&fencing=off", "generation=1"),
            ("mysql://a/d?shards=create-table", "generation=1"),
            ("mysql://a,b/?generation=1&fencing=off", "name one"),
            ("mysql://a,b/d?generation=1", "fencing=table"),
            ("mysql://a,b/d?generation=0&fencing=off", "from 1"),
            ("mysql://a,b,a:3306/d?generation=1&fencing=off", "twice"),
            ("mysql://a,/d?generation=1&fencing=off", "no host"),
            ("mysql://a,b/d?generation=1&fencing=off&previous=", "path of a socket"),
            ("mysql://a,b/d?generation=1&fencing=off&gone=b", "not gone"),
            ("mysql://a,b/d?generation=1&fencing=off&socket=/run/s", "a socket each"),
        ] {
            let error = several(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{bad}: {error}");
            assert!(error.to_string().contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let options = parse("mysql://root:hunter2@h/").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
        for bad in
            ["mysql://root:hunter2@h:x/", "mysql://root:hun/ter2@h/?ttl=1", "mysql://r:hunter2"]
        {
            if let Err(error) = parse(bad) {
                assert!(!format!("{error:?} {error}").contains("ter2"), "{error:?}");
            }
        }
    }
}
