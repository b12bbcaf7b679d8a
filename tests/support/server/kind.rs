//! Which servers there are to test with.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{Server, template};

/// More servers, each the path of a `mysqld` or `mariadbd`, with colons between them.
const MORE: &str = "KEYWARD_TEST_MYSQLD";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    MariaDb,
    MySql,
}

/// A server program.
pub(crate) struct Kind {
    family: Family,
    version: String,
    program: PathBuf,
    template: OnceLock<PathBuf>,
    shared: OnceLock<Server>,
}

impl Kind {
    /// All that are to be tested: the machine's MariaDB, and what `KEYWARD_TEST_MYSQLD` names.
    pub(crate) fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Kind>> = OnceLock::new();
        ALL.get_or_init(|| {
            let more = env::var_os(MORE).unwrap_or_default();
            let more = env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
            let mariadb = find("mariadbd").unwrap_or_else(|| {
                panic!(
                    "these tests start MariaDB servers: \
                     apt-get install mariadb-server-core mariadb-client-core"
                )
            });
            std::iter::once(mariadb).chain(more).map(Self::new).collect()
        })
    }

    /// The machine's MariaDB, for what need not be seen on each of them.
    pub(crate) fn mariadb() -> &'static Self {
        &Self::all()[0]
    }

    fn new(program: PathBuf) -> Self {
        let output = Command::new(&program).args(["--no-defaults", "--version"]).output();
        let output = output.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().skip_while(|&word| word != "Ver").nth(1);
        let version = version.unwrap_or_else(|| panic!("{}: {text}", program.display())).to_owned();
        let family = if text.contains("MariaDB") { Family::MariaDb } else { Family::MySql };
        Self { family, version, program, template: OnceLock::new(), shared: OnceLock::new() }
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.family == Family::MariaDb
    }

    /// As the server says it: `10.11.14-MariaDB-0+deb12u2`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The one for cases that leave a server as it was; it ends with the process.
    pub(crate) fn shared(&self) -> &Server {
        self.shared.get_or_init(|| Server::start(self))
    }

    /// Where the data directories are copied from.
    pub(super) fn template(&self) -> PathBuf {
        self.template.get_or_init(|| template::prepare(self)).clone()
    }

    /// The program, with what has to come first.
    pub(super) fn command(&self) -> Vec<String> {
        let mut command = vec![
            self.program.display().to_string(),
            "--no-defaults".to_owned(),
            format!("--basedir={}", self.basedir().display()),
        ];
        if rustix::process::geteuid().is_root() {
            command.push("--user=root".to_owned());
        }
        command
    }

    /// Where the data is, and that it is small, so that a server starts fast. What a version does not
    /// know, it passes over.
    pub(super) fn data_options(&self, data: &Path) -> impl Iterator<Item = String> {
        let own: &[&str] = match self.family {
            Family::MariaDb => &[
                "--loose-innodb-log-file-size=4M",
                "--loose-innodb-temp-data-file-path=ibtmp1:5M:autoextend",
                "--loose-aria-pagecache-buffer-size=8M",
            ],
            Family::MySql => &[
                "--loose-innodb-redo-log-capacity=8M",
                "--loose-mysqlx=OFF",
                "--loose-secure-file-priv=NULL",
            ],
        };
        let common = ["--innodb-buffer-pool-size=16M", "--key-buffer-size=1M", "--skip-log-bin"];
        let places = [
            format!("--datadir={}", data.display()),
            // Not shared: a server that starts removes the temporary tables of the others.
            format!("--tmpdir={}", data.with_added_extension("tmp").display()),
        ];
        let options = common.into_iter().chain(own.iter().copied()).map(str::to_owned);
        options.chain(places)
    }

    /// The command that fills a data directory and runs the SQL of a file.
    pub(super) fn initialise(&self, data: &Path, sql: &Path) -> Command {
        let mut command = match self.family {
            Family::MariaDb => {
                let mut command = Command::new(self.install_program());
                command.arg("--no-defaults");
                command.arg(format!("--basedir={}", self.basedir().display()));
                // root@localhost without a password, as on MySQL.
                command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
                command.arg(format!("--extra-file={}", sql.display()));
                if rustix::process::geteuid().is_root() {
                    // For the server only: the script would give files of the machine's to a --user.
                    command.arg("--loose-user=root");
                }
                command
            }
            Family::MySql => {
                let parts = self.command();
                let mut command = Command::new(&parts[0]);
                command.args(&parts[1..]).arg("--initialize-insecure");
                command.arg(format!("--init-file={}", sql.display()));
                command
            }
        };
        command.args(self.data_options(data));
        command
    }

    /// Of an unpacked archive: its directory. Of a package: `/usr`.
    fn basedir(&self) -> PathBuf {
        let program = self.program.canonicalize().unwrap();
        program.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
    }

    fn install_program(&self) -> PathBuf {
        let beside = ["scripts", "bin"].map(|dir| self.basedir().join(dir));
        let beside = beside.map(|dir| dir.join("mariadb-install-db")).into_iter();
        let mut found = beside.filter(|path| path.is_file()).chain(find("mariadb-install-db"));
        found.next().unwrap_or_else(|| panic!("{self} has no mariadb-install-db"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::MariaDb => "MariaDB",
            Family::MySql => "MySQL",
        };
        write!(f, "{family} {} ({})", self.version, self.program.display())
    }
}

/// On the path, or where Debian puts it: a user's path has no `sbin`.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let mut found = env::split_paths(&path).chain(debian).map(|dir| dir.join(program));
    found.find(|path| path.is_file())
}
