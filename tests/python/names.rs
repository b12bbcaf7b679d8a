//! `#[keyward::synchronized]` and Cinder's `@coordination.synchronized` with the same templates and
//! arguments ask for the same names, in the same order.
//!
//! The names are those that are held: ours by the lock files that a body finds, Cinder's by what its own
//! module asks a coordinator for (`names.py`).

use std::{
    fs,
    process::{Command, Stdio},
};

use keyward::{Error, Locks, synchronized};

use crate::peer::{python, source};

struct Type {
    name: &'static str,
}

struct Volume {
    id: &'static str,
    host: &'static str,
    size: u64,
    volume_type: Type,
}

struct Connector {
    host: &'static str,
}

struct Service {
    driver: &'static str,
    directory: tempfile::TempDir,
    locks: Locks,
}

impl Service {
    async fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("file://{}?names=tooz", directory.path().display());
        let locks = Locks::connect(url).await.unwrap();
        Self { driver: "LVM", directory, locks }
    }

    /// The names whose lock files are there, which are those that have been locked.
    fn locked(&self) -> Vec<String> {
        let files = fs::read_dir(self.directory.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("cinder-")).collect();
        names.sort_unstable();
        names
    }
}

/// What is called is one function for each case, with the arguments that `names.py` has. A template is
/// the same for both, but where Rust's grammar has another word for what Python's says.
macro_rules! cases {
    ($all:ident: $($f_name:ident: $($ours:literal $(as $cinders:literal)?),+;)+) => {
        impl Service {
            $(
                #[synchronized($($ours),+, locks = self.locks, prefix = "cinder-")]
                #[allow(
                    unused_variables,
                    clippy::too_many_arguments,
                    reason = "not every template names all of them"
                )]
                async fn $f_name(
                    &self,
                    volume: &Volume,
                    connector: &Connector,
                    pair: (u32, &str),
                    number: u32,
                    text: &str,
                    below: i32,
                    real: f64,
                    flag: bool,
                ) -> Result<Vec<String>, Error> {
                    Ok(self.locked())
                }
            )+
        }

        /// The line for `names.py` and what ours has locked, for each case.
        async fn $all() -> Vec<(String, Vec<String>)> {
            let volume = Volume {
                id: "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11",
                host: "node-1@lvm",
                size: 8,
                volume_type: Type { name: "ssd" },
            };
            let connector = Connector { host: "compute-01" };
            let mut all = Vec::new();
            $({
                let service = Service::new().await;
                let call = service.$f_name(&volume, &connector, (7, "x"), 42, "default", -5, 1.0, true);
                let names = call.await.unwrap();
                let templates = [stringify!($f_name), $(cases!(@ $ours $($cinders)?)),+];
                all.push((templates.join("\t"), names));
            })+
            all
        }
    };
    (@ $ours:literal) => { $ours };
    (@ $ours:literal $cinders:literal) => { $cinders };
}

cases! {
    all:
    // Those that Cinder's tree has.
    delete_volume: "{volume.id}-{f_name}";
    delete_snapshot: "{volume.id}-delete_snapshot";
    extend: "{text}";
    attachment_update: "{f_name}-{volume.id}-{connector.host}" as "{f_name}-{volume.id}-{connector[host]}";
    lin: "LIN";
    // Several: sorted, each once.
    several: "{volume.id}-b", "{volume.id}-a", "{volume.id}-b";
    order: "b", "B", "a", "-", "{text}", "_{f_name}";
    same: "{volume.size}", "8";
    // Each part of the grammar.
    literal_braces: "{{{volume.id}}}-{{}}";
    deep: "{volume.volume_type.name}-{self.driver}";
    tuple: "{pair.0}-{pair.1}" as "{pair[0]}-{pair[1]}";
    specs: "{volume.id:.8}-{number:05}-{text:>10}|{number:<4}|{text:*^11}|{number:+}|{number:#x}";
    numbers: "{number:x}-{number:08b}-{number:o}-{volume.size:3}";
    adjacent: "{number}{number}{f_name}{text}";
    spec_of_the_name: "{f_name:_>20}-{f_name:.4}";
    host: "{volume.host}";
    spaces: " {text} : {number} ";
}

// Those that the attribute's documentation says are other names.
cases! {
    all_that_differ:
    text_quoted: "{text:?}" as "{text!r}";
    text_zeros: "{text:010}";
    number_zeros: "{number:<05}";
    number_exponent: "{number:e}";
    number_below_zero: "{below:b}|{below:x}";
    truth: "{flag}";
    whole: "{real}";
}

/// What ours are and what Cinder's are, in the order of the cases.
const DIFFERENT: [(&str, &str); 7] = [
    ("\"default\"", "'default'"),
    ("default   ", "default000"),
    ("00042", "42000"),
    ("4.2e1", "4.200000e+01"),
    ("11111111111111111111111111111011|fffffffb", "-101|-5"),
    ("true", "True"),
    ("1", "1.0"),
];

/// What Cinder asks for, for each line.
fn cinders(cases: &[(String, Vec<String>)]) -> Vec<String> {
    use std::io::Write;

    let mut check = Command::new(python());
    check.arg(source("peer.py")).arg("check").arg(source("cinder.txt"));
    let missing = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(missing.is_empty(), "{missing}`pip install --no-deps -r tests/python/cinder.txt`");
    let mut cinder = Command::new(python())
        .arg(source("names.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = cinder.stdin.take().unwrap();
    for (line, _) in cases {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let output = cinder.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = answers.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

#[tokio::test]
async fn ours_are_those_of_cinder() {
    let all = all().await;
    assert!(all.len() > 15);
    for ((line, ours), cinders) in all.iter().zip(cinders(&all)) {
        assert_eq!(ours.join("\t"), cinders, "{line:?}");
        assert!(!ours.is_empty(), "{line:?}");
    }
}

#[tokio::test]
async fn but_for_those_that_are_known_to_differ() {
    let all = all_that_differ().await;
    assert_eq!(all.len(), DIFFERENT.len());
    for (((line, ours), cinders), (our, cinder)) in all.iter().zip(cinders(&all)).zip(DIFFERENT) {
        assert_eq!(ours.join("\t"), format!("cinder-{our}"), "{line:?}");
        assert_eq!(cinders, format!("cinder-{cinder}"), "{line:?}");
    }
}
