//! Planted bugs: each is found, and made small.

use super::{conform, has_judge, results, results_within};
use ring86::conform::results::Status;

#[test]
fn a_planted_bug_is_found_and_made_small_within_ten_seconds() {
    if !has_judge() {
        return;
    }
    let plants = [
        ("Add_rm32_r32", "OF"),
        ("Sbb_AL_imm8", "AF"),
        ("Shld_rm16_r16_CL", "CF"),
        ("Cmpsb_m8_m8", "ZF"),
        ("Ucomisd_xmm_xmmm64", "PF"),
        ("Fcomi_st0_sti", "ZF"),
        ("Mov_r32_rm32", "SF"),
        ("Popfw", "DF"),
        ("Bt_rm32_r32", "CF"),
    ];
    for (code, flag) in plants {
        let plant = format!("{code}:{flag}");
        // Every instruction form, as without a suspicion.
        let (exit, results) = results_within(10.0, &["native", "--cases", "60000", "--plant", &plant]);
        assert_eq!(exit, 1, "{plant} was not found");
        let bad: Vec<_> = results.tests.iter().filter(|test| test.status != Status::Pass).collect();
        assert!(bad.iter().all(|test| test.name.ends_with(&format!(" {code}"))), "{plant}: {bad:?}");
        assert!((1..=3).contains(&bad.len()), "{plant}: {bad:?}");
        for test in bad {
            let reproducer = test.reproducer.as_ref().expect("a reproducer");
            // One instruction, and with the bug alone: without it there is no difference.
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--plant", &plant]);
            assert_eq!(exit, 1, "{out}{err}");
            assert!(out.contains("differs (judge/ring86): eflags:"), "{out}");
            assert!(out.contains("\nbefore ") && out.contains("\njudge  ") && out.contains("\nring86 "), "{out}");
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--engine", "interpreter,single"]);
            assert_eq!(exit, 0, "{out}{err}");
            assert!(out.contains("interpreter: no difference") && out.contains("single: no difference"), "{out}");
        }
    }
}

/// Every flag of every instruction form in turn, over few cases: the time on the clock is in docs/conformance.md.
#[test]
fn a_bug_planted_in_any_flag_of_any_form_is_found_in_few_cases() {
    if !has_judge() {
        return;
    }
    let (code, got) = results(&["native", "--plant", "all", "--cases", "300000"]);
    let bad: Vec<_> = got.tests.iter().filter(|test| test.status.is_bad()).map(|t| (&t.name, &t.detail)).collect();
    assert_eq!(code, 0, "{bad:?}");
    let found: Vec<_> = got.tests.iter().filter(|test| test.status == Status::Pass).collect();
    assert!(found.len() > 1900 && got.totals().cases > 12_000, "{:?}", got.totals());
    let of = |name: &str| got.tests.iter().find(|test| test.name == name).expect("a form");
    // Of a multiplication CF, OF and DF, and what the host's maker and Ring86 have in common.
    let mul = of("32-bit Mul_rm32");
    let left_out = mul.detail.split_once("; undefined and not compared: ").map(|(_, flags)| flags);
    assert!(matches!((mul.cases, left_out), (3, Some("PF AF ZF SF")) | (6, Some("ZF"))), "{mul:?}");
    // Only raises an exception in user mode, which leaves the flags to the handler; tiers has it at CPL 0.
    assert_eq!(of("16-bit Hlt").status, Status::Pass);
    assert_eq!(of("32-bit Cpuid").detail, "describes the host");
    let (code, got) = results(&["tiers", "--plant", "all"]);
    assert_eq!((code, got.tests.len()), (0, 180));
}

/// Bugs on purpose in the engine under test, which the interpreter beside it does not have.
#[test]
fn a_bug_planted_in_compiled_code_is_found_by_tiers_and_made_small() {
    for (code, flag, engine, cases) in [
        ("Inc_r32", "ZF", "interpreter", "50000"),
        ("Popfd", "DF", "quick", "20000"),
        ("Scasb_AL_m8", "CF", "quick", "20000"),
    ] {
        let plant = format!("{code}:{flag}");
        let args = ["tiers", "--cases", cases, "--engine", engine, "--plant", &plant];
        let (exit, results) = results_within(10.0, &args);
        assert_eq!(exit, 1, "{plant} was not found");
        let bad: Vec<_> = results.tests.iter().filter(|test| test.status != Status::Pass).collect();
        assert!(!bad.is_empty() && bad.iter().all(|test| test.reproducer.is_some()), "{bad:?}");
        for reproducer in bad.iter().filter_map(|test| test.reproducer.as_ref()) {
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--engine", engine, "--plant", &plant]);
            assert_eq!(exit, 1, "{out}{err}");
            // Of several instructions the one with the bug is left, sometimes with one that it cannot do without.
            let address = |line: &&str| line.get(..8).is_some_and(|at| at.bytes().all(|b| b.is_ascii_hexdigit()));
            let listed = out.lines().filter(address);
            assert!((1..=2).contains(&listed.count()), "{plant}: {out}");
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--engine", engine]);
            assert_eq!(exit, 0, "{out}{err}");
        }
    }
}

#[test]
fn random_bytes_are_consumed_and_refused_as_on_the_host() {
    if !has_judge() {
        return;
    }
    let bytes = ["native", "--filter", "bytes", "--cases", "1500000"];
    let (exit, found) = results(&[&bytes[..], &["--engine", "interpreter,single"]].concat());
    let why: Vec<_> = found.tests.iter().filter_map(|test| Some(&test.reproducer.as_ref()?.text)).collect();
    assert_eq!((exit, found.tests.len()), (0, 12), "{why:?}");
    assert!(found.totals().cases > 40_000 && found.tests.iter().all(|test| test.cases > 1000), "{found:?}");
    // One byte too many is noticed, and of what is found little is left.
    let (exit, found) = results(&[&bytes[..], &["--plant", "Mov_r32_rm32:LENGTH", "--seed", "2"]].concat());
    assert_eq!(exit, 1);
    let bad: Vec<_> = found.tests.iter().filter_map(|test| test.reproducer.as_ref()).collect();
    assert!(!bad.is_empty());
    for reproducer in bad {
        assert!(reproducer.text.starts_with("8b ") || reproducer.text.starts_with("66 8b "), "{}", reproducer.text);
        let (exit, out, err) = conform(&["replay", &reproducer.line]);
        assert_eq!(exit, 0, "{out}{err}");
        assert!(out.contains("\njudge   next instruction at ") && out.contains("interpreter: no difference"), "{out}");
    }
}

#[test]
fn what_is_left_of_a_case_is_what_matters() {
    if !has_judge() {
        return;
    }
    let args = ["native", "--cases", "5000", "--plant", "Add_rm32_r32:OF", "--filter", "add_rm32_r32"];
    let (_, results) = results(&[&args[..], &["--environment", "flat32"]].concat());
    let reproducer = results.tests[0].reproducer.as_ref().expect("a reproducer");
    // The bug shows with any operands, so the registers that no address needs are zero, and no flag is set before.
    assert!(reproducer.line.contains(" edi=0 ") || reproducer.line.contains(" esi=0 "), "{}", reproducer.line);
    assert!(reproducer.line.contains(" eflags=202 "), "{}", reproducer.line);
}
