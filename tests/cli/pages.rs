//! Help, completions and manual pages; and that none of them, nor any message, shows a password.

use std::process::Output;

use crate::place::{Place, command};

const COMMANDS: [&str; 7] = ["run", "try", "wait", "inspect", "doctor", "completions", "man"];

fn run(args: &[&str]) -> Output {
    command(&[], args).output().unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let page = printed(&["completions", shell]);
        for command in COMMANDS {
            assert!(page.contains(command), "{shell}: no {command}");
        }
        assert!(page.contains("on-lost"), "{shell}");
    }
}

#[test]
fn pages_name_every_command_and_code() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH keyward 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("keyward\\-{command}(1)")), "no {command}");
        let own = printed(&["man", command]);
        assert!(own.contains(&format!(".TH keyward-{command} 1")), "{own}");
    }
    for text in [page, printed(&["--help"]), printed(&["run", "--help"]), printed(&["man", "run"])]
    {
        for code in ["64", "69", "75", "76", "126", "127", "128+n"] {
            assert!(text.contains(code), "no {code} in:\n{text}");
        }
    }
}

#[test]
fn help_and_version_are_no_failures() {
    for args in
        [&["--help"][..], &["-h"], &["--version"], &["help"], &["help", "run"], &["run", "-h"]]
    {
        assert!(!printed(args).is_empty());
    }
}

#[test]
fn no_password_is_shown() {
    const SECRET: &str = "s3cr3t";
    let url = format!("mysql://app:{SECRET}@127.0.0.1:1/locks");
    let odd = format!("mysql://app:{SECRET}@127.0.0.1:1/locks?nope=1");
    let program = ["--", "true"];
    let cases: [&[&str]; 16] = [
        &["--help"],
        &["run", "--help"],
        &["doctor", "-h"],
        &["help", "doctor"],
        &["run"],
        &["doctor"],
        &["try", "a"],
        &["wait", "a", "-v"],
        &["inspect", "a"],
        &["run", "a"],
        // In the wrong places.
        &[&url],
        &["doctor", &url],
        &["run", "a", &url],
        &["run", "--ulr", &url],
        &["completions", &url],
        &["run", "--timeout", &url],
    ];
    for in_environment in [&url, &odd] {
        for args in cases {
            let args: Vec<_> = match args {
                ["run", "a"] => ["run", "a"].into_iter().chain(program).collect(),
                args => args.to_vec(),
            };
            let output = command(&[], &args).env("KEYWARD_URL", in_environment).output().unwrap();
            for text in [&output.stdout, &output.stderr] {
                let text = String::from_utf8_lossy(text);
                assert!(!text.contains(SECRET), "{args:?}: {text}");
            }
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{args:?}");
        }
    }
    for wrong in [format!("--ulr={url}"), format!("--timeout={url}"), format!("--url={odd}")] {
        let output = run(&["try", &wrong, "a"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(64) && !text.contains(SECRET), "{text}");
    }
}

#[test]
fn no_password_in_the_wrong_place_is_shown() {
    let place = Place::new();
    let lease = place.hold("mysql");
    drop(lease);
    let urls = [
        "mysql://app:s3cr3t@db/locks",
        "mysql:app:s3cr3t@db",
        "mysql://app:s3\"cr3t\\x@db/locks",
        "mysql://db/locks?user=app&password=s3cr3t",
        "?password=s3cr3t",
        "password=s3cr3t&x=y",
        "Server=db;Uid=app;Pwd=s3cr3t;",
        "--ulr=mysql://db/locks?Password=s3cr3t",
    ];
    for url in urls {
        let prefix = format!("--prefix={url}");
        for args in [
            &["man", url][..],
            &["completions", url],
            &["run", "a", "--", url],
            &["run", url, "--", "true"],
            &["run", "-v", url, "--", "/nonexistent/program"],
            &["run", "a", url, "--", "true"],
            &["inspect", url],
            &["inspect", &prefix, "a"],
            &["try", url],
            &["try", "-v", &prefix, "a"],
            &["wait", "--timeout", "1s", url],
            &["doctor", url],
            &["doctor", "--url", url],
            &["try", "--url", url, "a"],
            &["try", "--timeout", url, "a"],
            &[url],
        ] {
            let output = place.output(args);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains("s3") && !said.contains("cr3t"), "{args:?}: {said}");
        }
    }
    // And not in the store, where others could read it: such a name is refused.
    for entry in std::fs::read_dir(place.path("locks")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().contains("cr3t"), "{name:?}");
    }
    let output = place.output(&["try", urls[0]]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(64) && said.contains("a password"), "{said}");
}

#[test]
fn a_name_that_begins_with_a_hyphen() {
    let place = Place::new();
    for args in [&["try", "-x"][..], &["run", "-x", "--", "true"], &["inspect", "--x"]] {
        let output = place.output(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
        assert!(said.contains("--prefix=-") && !said.contains("'-- -"), "{args:?}: {said}");
    }
    // A hint at what was meant is not in its way.
    let said = place.output(&["run", "--no-wiat", "a", "--", "true"]).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("'--no-wait'") && !said.contains("--prefix"), "{said}");
    let print = ["run", "--prefix=-", "x", "--", "sh", "-c", "echo $KEYWARD_NAME"];
    assert_eq!(place.output(&print).stdout, b"-x\n");
}

#[test]
fn no_control_character_reaches_the_terminal() {
    let place = Place::new();
    let odd = "/no/\u{1b}[31mred\u{9b}0m\u{7f}\rprogram";
    for args in [
        &["run", "a", "--", odd][..],
        &["run", "a", odd],
        &["man", odd],
        &["inspect", odd],
        &["try", "-v", odd],
        &["try", "--url", odd, "a"],
        &["try", "--url", "file:///proc/%1b%5b31m", "a"],
        &["doctor", "--url", "file:///proc/%1b%5b31m"],
        &[odd],
    ] {
        let output = place.output(args);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{args:?}: {said:?}");
        assert!(!said.is_empty() || args[0] == "try", "{args:?}");
    }
    let said = place.output(&["run", "a", "--", "/no\nkeyward: program"]).stderr;
    assert_eq!(String::from_utf8(said).unwrap().lines().count(), 1, "a line was forged");
}
