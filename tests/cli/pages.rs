//! Help, completions and manual pages; and that none of them, nor any message, shows a password.

use std::process::Output;

use crate::place::command;

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
