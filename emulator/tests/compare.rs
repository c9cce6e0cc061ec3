//! The overhead report of a program of Linux: the same results under compiled code and on this host.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/linux_program.rs"]
mod linux_program;

use folder::{Folder, ring86};
use guest::guest;
use linux_program::linux_program;
use std::fs;

#[test]
fn a_program_is_timed_under_compiled_code_and_on_the_host() {
    let (Some(kernel), Some(_)) = (guest("vmlinuz-686"), guest("initrd-busybox.cpio.gz")) else { return };
    let guests = kernel.parent().expect("a folder of guests");
    let folder = Folder::new("compare-program");
    let program = folder.file("program", linux_program());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("a program of our own");
    let guests = guests.display().to_string();
    let runners = "translator,translator-table,native";
    let args = ["compare", &program, "--runs", "1", "--runner", runners, "--guests", &guests, "--json", "out.json"];
    let ended = ring86(&folder.0, &args);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let report = String::from_utf8(folder.read("out.json")).expect("text");
    let report: serde_json::Value = serde_json::from_str(&report).expect("a report");
    let runners = report["runners"].as_array().expect("runners");
    let names: Vec<_> = runners.iter().filter_map(|runner| runner["id"].as_str()).collect();
    assert_eq!(names, ["translator", "translator-table", "native"], "{report:#}");
    for runner in runners {
        let times = runner["times"].as_array().expect("times");
        // Linux boots in every guest, and the program runs everywhere.
        let named = |name: &str| times.iter().find(|time| time["workload"] == name);
        let program = named("program").unwrap_or_else(|| panic!("{report:#}"));
        assert!(program["seconds"].as_f64() > Some(0.0), "{report:#}");
        assert_eq!(named("boot").is_some(), runner["id"] != "native", "{report:#}");
    }
}
