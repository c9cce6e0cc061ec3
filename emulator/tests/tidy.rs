//! Manners that a machine can check, over the whole repository: how files begin, how long they get, where `unsafe`
//! may stand, which crate may know which, and that the paths which the documentation names exist.
//!
//! Each rule is a function from text to complaints, and each is shown bad text at the end of this file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files that may hold unsafe code, each with why it must. A file that stops needing it leaves this list.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("translator/src/mmu/ram.rs", "guest RAM is a mapping, which compiled code and devices reach too"),
    ("translator/src/mmu/window.rs", "the tables that compiled code reads are mappings"),
    ("translator/src/mmu/window/host.rs", "reserves and maps address space, and handles faults there"),
    ("translator/src/mmu/window/tests.rs", "reads and writes through the window as compiled code does"),
    ("translator/src/code_cache.rs", "code is written through one mapping and run through another"),
    ("translator/src/engine/native.rs", "calls compiled code and is called by it"),
    ("translator/src/fp/tests/native.rs", "asks the host's own x87 and SSE for the right answer"),
    ("translator/src/passthrough/tests.rs", "runs assembled batches beside the interpreter"),
    ("translator/tests/signals.rs", "causes faults, and has handlers of its own for them"),
    ("emulator/src/conform/native.rs", "runs cases on the host's own processor"),
    ("emulator/src/kvm/vcpu.rs", "KVM maps guest RAM by address and shares a page of unions"),
];

/// The folders and files that may name Cranelift: where code is lowered and installed.
const CRANELIFT_PLACES: &[&str] = &["translator/src/lower", "translator/src/code_cache.rs"];

/// Which crates of the workspace a crate may depend on, tests included.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("translator", &[]),
    ("devices", &[]),
    ("firmware", &[]),
    ("test-roms", &[]),
    ("emulator", &["ring86-translator", "ring86-devices", "ring86-firmware", "ring86-test-roms"]),
    ("benches", &["ring86-translator", "ring86-devices", "ring86"]),
];

/// Longest file, in lines, its unit tests not counted.
const LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["base", "util", "utils", "common"];

/// Folders that are made here or fetched, not kept.
const NOT_KEPT: &[&str] = &["target", "guests", ".git"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

/// Every file below `folder` whose name ends in `suffix`, as a path from the repository's root.
fn files(suffix: &str) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, suffix: &str, found: &mut Vec<String>) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).expect("a folder of the repository can be read").map(|e| e.expect("entry")).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if entry.file_type().expect("file type").is_dir() {
                if !(folder == root && NOT_KEPT.contains(&name.as_str())) {
                    walk(root, &path, suffix, found);
                }
            } else if name.ends_with(suffix) {
                let relative = path.strip_prefix(root).expect("below the root");
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    let root = repository();
    let mut found = Vec::new();
    walk(&root, &root, suffix, &mut found);
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Applies one rule to every Rust file and reports all complaints at once.
fn check_rust(rule: impl Fn(&str, &str) -> Vec<String>) {
    let files = files(".rs");
    assert!(files.len() > 10, "the repository's Rust files were not found");
    let complaints: Vec<_> = files.iter().flat_map(|path| rule(path, &read(path))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Rust text with comments and the insides of literals blanked out, line breaks kept.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |from: usize, to: usize, out: &mut String| {
        out.extend(chars[from..to].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
    };
    while i < chars.len() {
        let rest = &chars[i..];
        let after_word = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
        let end = if rest.starts_with(&['/', '/']) {
            i + rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            i + block_comment_length(rest)
        } else if let Some(length) = (!after_word).then(|| raw_string_length(rest)).flatten() {
            i + length
        } else if rest[0] == '"' {
            i + quoted_length(rest, '"')
        } else if rest[0] == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
            // A quote that is no character begins a lifetime, which is code.
            i + quoted_length(rest, '\'')
        } else {
            out.push(rest[0]);
            i += 1;
            continue;
        };
        blank(i, end, &mut out);
        i = end;
    }
    out
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        if rest[i..].starts_with(&['/', '*']) {
            depth += 1;
            i += 2;
        } else if rest[i..].starts_with(&['*', '/']) {
            depth -= 1;
            i += 2;
            if depth == 0 {
                break;
            }
        } else {
            i += 1;
        }
    }
    i
}

/// The length of a literal such as `r#"…"#` or `br"…"`, if one begins here.
fn raw_string_length(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'c')).count();
    if prefix > 1 || rest.get(prefix) != Some(&'r') {
        return None;
    }
    let hashes = rest[prefix + 1..].iter().take_while(|&&c| c == '#').count();
    let open = prefix + 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let mut closing = vec!['"'];
    closing.extend(std::iter::repeat_n('#', hashes));
    let length = rest[open + 1..].windows(closing.len()).position(|w| w == closing);
    Some(length.map_or(rest.len(), |at| open + 1 + at + closing.len()))
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            '\\' => i += 2,
            c if c == quote => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

/// The lines on which `word` stands as a whole word and `follows` comes directly after it, counted from 1.
fn lines_with_word(code: &str, word: &str, follows: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let on_line = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let after = &line[at + word.len()..];
            !line[..at].ends_with(is_word) && !after.starts_with(is_word) && after.trim_start().starts_with(follows)
        })
    };
    code.lines().enumerate().filter(|(_, line)| on_line(line)).map(|(i, _)| i + 1).collect()
}

// ---------------------------------------------------------------------------------------------- rules for Rust files

fn opens_with_doc(path: &str, text: &str) -> Vec<String> {
    let says_something = text.lines().next().is_some_and(|l| l.strip_prefix("//!").is_some_and(|r| r.trim().len() > 8));
    if says_something { vec![] } else { vec![format!("{path}: does not open with `//!` and what the file is for")] }
}

fn has_telling_name(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for part in Path::new(path).components() {
        let part = part.as_os_str().to_string_lossy();
        if EMPTY_NAMES.contains(&part.trim_end_matches(".rs")) {
            complaints.push(format!("{path}: `{part}` says nothing about what is inside"));
        }
    }
    let code = code_only(text);
    for name in EMPTY_NAMES {
        for line in code.lines().enumerate().filter(|(_, l)| {
            let l = l.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            l.strip_prefix("mod ")
                .is_some_and(|l| l.trim_start().strip_prefix(name).is_some_and(|l| l.starts_with([';', ' ', '{'])))
        }) {
            complaints.push(format!("{path}:{}: `mod {name}` says nothing about what is inside", line.0 + 1));
        }
    }
    complaints
}

/// Lines in front of the unit tests, which stand last in a file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|w| w[0] == "#[cfg(test)]" && w[1].starts_with("mod ") && w[1].ends_with('{'))
        .unwrap_or(lines.len())
}

fn is_short(path: &str, text: &str) -> Vec<String> {
    let lines = lines_without_tests(text);
    if lines <= LINES_MAX || path.split('/').any(|p| p == "tests" || p == "tests.rs") {
        return vec![];
    }
    vec![format!("{path}: {lines} lines without tests, more than {LINES_MAX}; split it by meaning")]
}

fn has_no_allow(path: &str, text: &str) -> Vec<String> {
    let squeezed = |line: &str| line.replace(' ', "");
    let code = code_only(text);
    let found = code.lines().enumerate().filter(|(_, l)| {
        let l = squeezed(l);
        l.contains("#[allow(") || l.contains("#![allow(")
    });
    found
        .map(|(i, _)| format!("{path}:{}: `allow` hides what `#[expect(…, reason = …)]` would explain", i + 1))
        .collect()
}

fn has_no_todo(path: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let found = ["todo", "unimplemented"].iter().flat_map(|word| lines_with_word(&code, word, "!"));
    found.map(|line| format!("{path}:{line}: a stub is not code that does its work")).collect()
}

fn is_safe(path: &str, text: &str) -> Vec<String> {
    if UNSAFE_FILES.iter().any(|(allowed, _)| *allowed == path) {
        return vec![];
    }
    let found = lines_with_word(&code_only(text), "unsafe", "");
    found.iter().map(|line| format!("{path}:{line}: unsafe code outside the files listed in the tidy test")).collect()
}

fn keeps_cranelift_apart(path: &str, text: &str) -> Vec<String> {
    if CRANELIFT_PLACES.iter().any(|place| path.starts_with(place)) {
        return vec![];
    }
    let code = code_only(text);
    let names_crate = |line: &str| {
        line.match_indices("cranelift_").any(|(at, _)| {
            let name_ends = line[at..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map(|end| at + end);
            name_ends.is_some_and(|end| line[end..].starts_with("::"))
        })
    };
    let found = code.lines().enumerate().filter(|(_, line)| names_crate(line));
    found
        .map(|(i, _)| format!("{path}:{}: Cranelift is known only where code is lowered and installed", i + 1))
        .collect()
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    check_rust(opens_with_doc);
}

#[test]
fn names_tell() {
    check_rust(has_telling_name);
}

#[test]
fn files_are_short() {
    check_rust(is_short);
}

#[test]
fn lints_are_not_switched_off() {
    check_rust(has_no_allow);
}

#[test]
fn nothing_is_a_stub() {
    check_rust(has_no_todo);
}

#[test]
fn unsafe_code_stays_where_it_is_listed() {
    check_rust(is_safe);
    let idle: Vec<_> = UNSAFE_FILES
        .iter()
        .filter(|(path, why)| {
            let there = repository().join(path).is_file();
            !there || lines_with_word(&code_only(&read(path)), "unsafe", "").is_empty() || why.is_empty()
        })
        .collect();
    assert!(idle.is_empty(), "listed for unsafe code but without it: {idle:?}");
}

#[test]
fn cranelift_stays_in_its_rooms() {
    check_rust(keeps_cranelift_apart);
}

// -------------------------------------------------------------------------------------------------- rules for crates

/// Complaints about one crate's manifest.
fn manifest_complaints(member: &str, manifest: &toml::Table) -> Vec<String> {
    let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(name, _)| *name == member) else {
        return vec![format!("{member}: the tidy test does not say which crates it may depend on")];
    };
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let mut complaints = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for table in tables.iter().filter_map(|t| t.get(kind)).filter_map(toml::Value::as_table) {
            for (name, spec) in table {
                let package = spec.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                if package.starts_with("ring86") && !allowed.contains(&package) {
                    complaints.push(format!("{member}: must not know {package} ({kind})"));
                }
                if package.starts_with("cranelift") && member != "translator" {
                    complaints.push(format!("{member}: only the translator knows {package}"));
                }
            }
        }
    }
    let inherits = |table: &str, key: &str| {
        let value = manifest.get(table).and_then(|t| t.get(key));
        let value = if table == "package" { value.and_then(|v| v.get("workspace")) } else { value };
        value.and_then(toml::Value::as_bool) == Some(true)
    };
    if !inherits("lints", "workspace") {
        complaints.push(format!("{member}: does not take the workspace's lints"));
    }
    for key in ["edition", "license"] {
        if !inherits("package", key) {
            complaints.push(format!("{member}: does not take the workspace's {key}"));
        }
    }
    complaints
}

fn parse(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn crates_know_only_whom_they_may() {
    let workspace = parse("Cargo.toml");
    let members: BTreeSet<_> = workspace["workspace"]["members"]
        .as_array()
        .expect("the workspace has members")
        .iter()
        .map(|m| m.as_str().expect("a member is a path"))
        .collect();
    for (member, _) in MAY_DEPEND_ON {
        assert!(members.contains(member), "{member} is not a member of the workspace");
    }
    let complaints: Vec<_> =
        members.iter().flat_map(|m| manifest_complaints(m, &parse(&format!("{m}/Cargo.toml")))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_licences_are_there() {
    assert!(read("LICENSE-MIT").contains("Permission is hereby granted, free of charge"));
    assert!(read("LICENSE-APACHE").contains("Apache License"));
}

// ------------------------------------------------------------------------------------------- rules for documentation

/// The paths that a document names: code spans and links that begin with a folder of the repository or end like a
/// file kept here, and the trees drawn in fenced blocks under a heading "Code map".
fn named_paths(document: &str, top_level: &[String]) -> Vec<String> {
    let mut paths = Vec::new();
    let mut heading = String::new();
    let mut fence: Option<Vec<String>> = None;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fence = match fence {
                None => Some(Vec::new()),
                Some(block) => {
                    if heading.contains("code map") {
                        paths.extend(tree_paths(&block));
                    }
                    None
                }
            };
        } else if let Some(block) = &mut fence {
            block.push(line.to_owned());
        } else if line.starts_with('#') {
            heading = line.to_lowercase();
        } else {
            paths.extend(line.split('`').skip(1).step_by(2).filter(|s| is_path(s, top_level)).map(str::to_owned));
            paths.extend(link_targets(line));
        }
    }
    paths
}

fn is_path(span: &str, top_level: &[String]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+".contains(c);
    let first = span.split('/').next().unwrap_or_default();
    span.contains('/')
        && span.chars().all(plain)
        && !NOT_KEPT.contains(&first)
        && top_level.iter().any(|name| name == first)
}

/// Targets of links within the repository.
fn link_targets(line: &str) -> Vec<String> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    targets.filter(|t| !t.is_empty() && !t.contains(':')).map(str::to_owned).collect()
}

/// The paths of a tree drawn by indentation: the names that a line begins with, each below the nearest line
/// indented less. Names are separated by ", " and end at two blanks.
fn tree_paths(block: &[String]) -> Vec<String> {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut paths = Vec::new();
    for line in block.iter().filter(|l| !l.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let names = line.trim_start().split("  ").next().unwrap_or_default();
        let names: Vec<&str> = names.split(", ").map(str::trim).collect();
        // Lines that go on with the explanation of the line above name nothing.
        if !names.iter().all(|n| !n.contains(' ') && (n.ends_with('/') || n.contains('.'))) {
            continue;
        }
        above.retain(|(depth, _)| *depth < indent);
        let parent = above.last().map_or(String::new(), |(_, path)| path.clone());
        paths.extend(names.iter().map(|name| format!("{parent}{name}")));
        if let [folder] = names[..]
            && folder.ends_with('/')
        {
            above.push((indent, format!("{parent}{folder}")));
        }
    }
    paths
}

/// A path exists from the root, from the document's own folder, or with `src/` after the crate's name.
fn exists(root: &Path, document: &str, path: &str) -> bool {
    let with_src = path.split_once('/').map(|(krate, rest)| format!("{krate}/src/{rest}"));
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    root.join(path).exists() || root.join(folder).join(path).exists() || with_src.is_some_and(|p| root.join(p).exists())
}

fn top_level() -> Vec<String> {
    let entries = fs::read_dir(repository()).expect("the repository can be read");
    let mut names: Vec<_> = entries.map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    // A crate that moved away must not take the check of its paths with it.
    names.extend(MAY_DEPEND_ON.iter().map(|(member, _)| (*member).to_owned()));
    names
}

#[test]
fn documented_paths_exist() {
    let (root, top_level) = (repository(), top_level());
    let mut documents = files(".md");
    documents.retain(|d| !d.contains('/') || d.starts_with("docs/"));
    assert!(documents.iter().any(|d| d == "README.md"), "README.md is missing");
    let mut missing = Vec::new();
    for document in &documents {
        for path in named_paths(&read(document), &top_level) {
            if !exists(&root, document, &path) {
                missing.push(format!("{document}: `{path}` does not exist"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
    let map = named_paths(&read("README.md"), &top_level);
    for (member, _) in MAY_DEPEND_ON {
        assert!(map.iter().any(|path| path.starts_with(&format!("{member}/"))), "README.md does not name {member}/");
    }
}

// ----------------------------------------------------------------------------------- the rules find what they look for

#[test]
fn code_is_told_from_comments_and_literals() {
    let text = "a // x\nb /* y /* z */ y */ c \"q\\\" q\" d r#\"r\" r\"# e 'f' '\\'' g<'h> br\"i\" j";
    let words: Vec<_> = code_only(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "b", "c", "d", "e", "g<'h>", "j"]);
    assert_eq!(code_only("for\n\"a\nb\"\nfor").matches('\n').count(), 3);
    assert_eq!(code_only("\"never closed"), " ".repeat(13));
}

#[test]
fn rules_for_files_can_fail() {
    let bad =
        |rule: fn(&str, &str) -> Vec<String>, path: &str, text: &str| assert_ne!(rule(path, text).len(), 0, "{text}");
    let good = |rule: fn(&str, &str) -> Vec<String>, path: &str, text: &str| {
        assert_eq!(rule(path, text), Vec::<String>::new());
    };
    bad(opens_with_doc, "a.rs", "");
    bad(opens_with_doc, "a.rs", "//!\nfn f() {}");
    bad(opens_with_doc, "a.rs", "use x;\n//! What this is for.");
    good(opens_with_doc, "a.rs", "//! What this is for.\n");

    bad(has_telling_name, "devices/src/util.rs", "");
    bad(has_telling_name, "emulator/tests/common/mod.rs", "");
    bad(has_telling_name, "a.rs", "fn f() {}\npub(crate) mod base {");
    bad(has_telling_name, "a.rs", "mod util;");
    good(has_telling_name, "a.rs", "mod basement;\n// mod base;\nlet base = 1;");

    bad(is_short, "a.rs", &"x\n".repeat(801));
    good(is_short, "a.rs", &"x\n".repeat(800));
    good(is_short, "a.rs", &format!("{}#[cfg(test)]\nmod tests {{\n{}}}", "x\n".repeat(800), "y\n".repeat(900)));
    good(is_short, "emulator/tests/a.rs", &"x\n".repeat(2000));

    bad(has_no_allow, "a.rs", "#[allow(dead_code)]\nfn f() {}");
    bad(has_no_allow, "a.rs", "#![ allow (x)]");
    good(has_no_allow, "a.rs", "// #[allow(x)]\nconst A: &str = \"#[allow(x)]\"; #[expect(x, reason = \"y\")]");

    bad(has_no_todo, "a.rs", "fn f() { todo!() }");
    bad(has_no_todo, "a.rs", "fn f() { unimplemented ! (\"x\") }");
    good(has_no_todo, "a.rs", "fn todo() {} // todo!()\nfn g() -> u8 { mytodo!() }");

    bad(is_safe, "devices/src/a.rs", "unsafe { f() }");
    bad(is_safe, "devices/src/a.rs", "#[unsafe(no_mangle)]");
    good(
        is_safe,
        "devices/src/a.rs",
        "#![forbid(unsafe_code)] // unsafe\nconst A: char = '\"'; const B: &str = \"unsafe\";",
    );
    good(is_safe, UNSAFE_FILES[0].0, "unsafe { f() }");

    bad(keeps_cranelift_apart, "translator/src/lift/mod.rs", "use cranelift_codegen::ir;");
    good(keeps_cranelift_apart, "translator/src/lower/int.rs", "use cranelift_codegen::ir;");
}

#[test]
fn rules_for_crates_can_fail() {
    let start = "[package]\nedition.workspace = true\nlicense.workspace = true\n[lints]\nworkspace = true\n";
    let complaints = |member: &str, text: &str| {
        let manifest = text.parse().expect("a manifest");
        manifest_complaints(member, &manifest).len()
    };
    assert_eq!(complaints("devices", start), 0);
    assert_eq!(complaints("devices", &format!("{start}[dependencies]\nlog = \"0.4\"\n")), 0);
    assert_eq!(complaints("devices", &format!("{start}[dependencies]\nring86-translator.workspace = true\n")), 1);
    assert_eq!(complaints("devices", &format!("{start}[dev-dependencies]\nring86-translator.workspace = true\n")), 1);
    let renamed = format!(
        "{start}[target.'cfg(unix)'.dependencies]\nx = {{ path = \"../devices\", package = \"ring86-devices\" }}\n"
    );
    assert_eq!(complaints("translator", &renamed), 1);
    assert_eq!(complaints("emulator", &format!("{start}[dependencies]\ncranelift-codegen = \"0\"\n")), 1);
    assert_eq!(complaints("emulator", "[package]\nedition = \"2024\"\nlicense.workspace = true\n"), 2);
    assert_eq!(complaints("elsewhere", start), 1);
}

#[test]
fn paths_are_found_in_documents() {
    let top = vec!["translator".to_owned(), "docs".to_owned(), "guests".to_owned()];
    let text = "See `translator/src/x.rs`, `/dev/tty`, `guests/a`, `a/b` and [y](docs/y.md#z), [w](https://w).\n\
                ## Code map\n```\ntranslator/  the CPU\n  ir/  operations\n    verify.rs  checks\n  a.rs, b.rs   two\n\
                \x20                continued here\ndocs/\n```\n## Else\n```\nnone.rs\n```\n";
    let expected = [
        "translator/src/x.rs",
        "docs/y.md",
        "translator/",
        "translator/ir/",
        "translator/ir/verify.rs",
        "translator/a.rs",
        "translator/b.rs",
        "docs/",
    ];
    assert_eq!(named_paths(text, &top), expected);
    let root = repository();
    assert!(exists(&root, "README.md", "translator/lib.rs") && exists(&root, "docs/a.md", "../Cargo.toml"));
    assert!(!exists(&root, "README.md", "translator/none.rs"));
}
