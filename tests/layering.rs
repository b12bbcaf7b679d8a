//! The house rules that a compiler does not check, read off the sources: imports point down only,
//! each primitive has one door, `unsafe` has its rooms, and files stay small enough to read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The floor of each module; DESIGN.md draws the house. A file may import from its own module and from
/// lower floors. A backend is a module of its own, and the list of backends another, above it all.
const FLOORS: [(&str, u8); 30] = [
    ("name", 0),
    ("token", 0),
    ("boxed", 0),
    ("hash", 0),
    ("inputs", 0),
    ("metrics", 0),
    ("sync", 0),
    ("error", 1),
    ("observe", 1),
    ("url", 2),
    ("watch", 2),
    ("deadline", 2),
    ("runtime", 2),
    ("registry", 2),
    ("contract", 3),
    ("erased", 4),
    ("backend/memory", 4),
    ("backend/file", 4),
    ("backend/mysql", 4),
    ("backend/fuzzed", 9),
    ("handover", 5),
    ("lease", 6),
    ("run", 7),
    ("acquire", 7),
    ("locks", 8),
    ("blocking", 9),
    ("tower", 9),
    ("installed", 9),
    ("backend", 9),
    ("conformance", 9),
];

/// The modules that models run: their primitives come through `src/sync/`.
const MODELLED: [&str; 7] =
    ["registry", "handover", "watch", "lease", "acquire", "backend/memory", "sync"];

/// The command stands on top of the house, outside of it; `crate` means something else there.
const COMMAND: &str = "bin/keyward";

/// Where `unsafe` may stand, and why, is in DESIGN.md.
const UNSAFE_ROOMS: [&str; 2] = ["registry", "backend/file/ofd"];

/// What contains a room, and nothing but modules that forbid it.
const AROUND_ROOMS: [&str; 3] = ["lib", "backend", "backend/file"];

const MAX_LINES: usize = 500;

fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.insert(path.strip_prefix(&root).unwrap().to_owned(), text);
            }
        }
    }
    assert!(files.len() > 10, "the sources were not found");
    files
}

/// The module that a file belongs to: its first folder, or itself; of backends, and of the command,
/// also the second.
fn module(file: &Path) -> String {
    let path = file.to_string_lossy().replace("/mod.rs", "").replace(".rs", "");
    let deep = if path.starts_with("backend/") || path.starts_with("bin/") { 2 } else { 1 };
    path.split('/').take(deep).collect::<Vec<_>>().join("/")
}

/// The module that is imported: `crate::backend::file::…` is `backend/file`.
fn imported(path: &str) -> String {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let first = word(path);
    match path.strip_prefix("backend::").map(word) {
        Some(second) if second.is_empty() => first,
        Some(second) => format!("{first}/{second}"),
        None => first,
    }
}

/// Lines of code, without comments and docs.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

#[test]
fn imports_point_down() {
    let floors = BTreeMap::from(FLOORS);
    for (file, text) in sources() {
        let this = module(&file);
        if this == "lib" {
            continue; // the list of everything
        }
        if this == COMMAND {
            continue; // a crate of its own: of the library it sees what everybody sees
        }
        let floor = *floors.get(this.as_str()).unwrap_or_else(|| panic!("no floor for {this}"));
        // What an exported macro names, its user imports.
        for line in code(&text).filter(|line| !line.contains("$crate::")) {
            for part in line.split("crate::").skip(1) {
                let other = imported(part);
                if let Some(below) = floors.get(other.as_str()) {
                    let allowed = other == this || *below < floor;
                    assert!(allowed, "{}: {line}: {other} is not below {this}", file.display());
                } else {
                    assert!(other.is_empty(), "{}: {line}: no floor for {other}", file.display());
                }
            }
        }
    }
}

#[test]
fn shared_primitives_come_through_one_door() {
    for (file, text) in sources() {
        // The stall watch is no lock path: it exists in debug builds only, and not in models. Nor is
        // the memory backend's list of stores, which lives as long as the process, unlike a model.
        let door = file.starts_with("sync")
            || ["registry/stall.rs", "registry/blocking.rs", "backend/memory/mod.rs"]
                .iter()
                .any(|door| file == Path::new(door));
        if door || !MODELLED.contains(&module(&file).as_str()) {
            continue;
        }
        for line in code(&text) {
            // Who locks a mutex of std's says what is to become of a poisoned one.
            for banned in [
                "sync::atomic",
                "std::cell::UnsafeCell",
                "std::sync::Mutex",
                "PoisonError",
                "loom::",
                "shuttle::",
                "tokio::sync",
                "tokio_util::",
                "tokio::time::sleep",
                "Instant::now",
            ] {
                let found = line.contains(banned) && !line.contains("crate::sync");
                assert!(
                    !found,
                    "{}: {line}: use crate::sync, so that models see it",
                    file.display()
                );
            }
        }
    }
}

/// The compiler sees to it, wherever a file or one that it belongs to says so.
#[test]
fn unsafe_has_its_rooms() {
    let sources = sources();
    let forbids = |module: &str| {
        [format!("{module}.rs"), format!("{module}/mod.rs")].iter().any(|file| {
            let text = sources.get(Path::new(file));
            text.is_some_and(|text| text.lines().any(|line| line == "#![forbid(unsafe_code)]"))
        })
    };
    for file in sources.keys() {
        let path = file.to_string_lossy().replace("/mod.rs", "").replace(".rs", "");
        let modules: Vec<&str> =
            path.match_indices('/').map(|(at, _)| &path[..at]).chain([&*path]).collect();
        let is_room = modules.iter().any(|module| UNSAFE_ROOMS.contains(module));
        let is_forbidden = modules.iter().any(|module| forbids(module))
            // A crate of its own.
            || path.starts_with(COMMAND) && forbids("bin/keyward/main");
        let is_around = AROUND_ROOMS.contains(&&*path);
        assert!(is_room || is_around || is_forbidden, "{path} does not forbid unsafe code");
    }
}

#[test]
fn files_are_short_and_have_a_head() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines", file.display());
        assert!(text.starts_with("//!"), "{} has no head comment", file.display());
    }
}

/// A guide's text without code and comments.
fn prose(text: &str) -> String {
    let text: String = text.split("```").step_by(2).collect();
    let comments = text.split("<!--").map(|part| part.split_once("-->").map_or(part, |(_, it)| it));
    comments.collect()
}

/// `[label]: target`, one a line.
fn link_targets(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect()
}

/// Links of the guides lead somewhere on a repository's page, by their own last lines, and in the API's
/// documentation, by `src/guides.md`.
#[test]
fn links_of_guides_lead_somewhere_in_both_places() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/guides.md")).unwrap();
    let in_rustdoc = link_targets(&text);
    let mut links = 0;
    for folder in [root.join("docs"), root.join("docs/coming-from")] {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = prose(&fs::read_to_string(&path).unwrap());
            let on_pages = link_targets(&text);
            for (label, target) in &on_pages {
                assert!(folder.join(target).exists(), "{}: {label}: {target}", path.display());
            }
            for part in text.split("][").skip(1) {
                let label = part.split_once(']').map_or(part, |(label, _)| label);
                assert!(on_pages.contains_key(label), "{}: {label}: no target", path.display());
                assert!(in_rustdoc.contains_key(label), "{label} is missing in src/guides.md");
                links += 1;
            }
            assert!(!text.contains("](crate::"), "{}: a link for rustdoc only", path.display());
        }
    }
    assert!(links > 30, "the guides were not found");
}
