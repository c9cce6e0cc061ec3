//! The overhead report of a program of Linux: the same results under compiled code and on this host.

#[path = "support/guest.rs"]
mod guest;
#[path = "support/linux_program.rs"]
mod linux_program;

use guest::guest;
use linux_program::linux_program;
use std::fs;
use std::process::{Command, Stdio};

#[test]
fn a_program_is_timed_under_compiled_code_and_on_the_host() {
    let (Some(kernel), Some(_)) = (guest("vmlinuz-686"), guest("initrd-busybox.cpio.gz")) else { return };
    let guests = kernel.parent().expect("a folder of guests").to_owned();
    let folder = std::env::temp_dir().join(format!("ring86-compare-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let (program, json) = (folder.join("program"), folder.join("out.json"));
    fs::write(&program, linux_program()).expect("a temporary file can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("a program of our own");
    let output = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .arg("compare")
        .arg(&program)
        .args(["--runs", "1", "--runner", "translator,translator-table,native", "--guests"])
        .arg(&guests)
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = fs::read_to_string(&json).unwrap_or_default();
    drop(fs::remove_dir_all(&folder));
    assert_eq!(output.status.code(), Some(0), "{table}{errors}");
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
