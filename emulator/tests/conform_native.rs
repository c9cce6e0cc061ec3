//! The native differential: the host CPU against Ring86's, and checks of the judge itself.
//!
//! `RING86_CASES` sets the number of cases; CI asks for 250 million, 300 with those of the compiled tiers.

use iced_x86::{Code, CpuidFeature};
use ring86::config::Engine;
use ring86::conform::layout::{
    ABSENT_PAGE, ARENA, ENVIRONMENTS, Environment, NO_EXCEPTION, Placement, Shape, field, get32, put32, seg,
};
use ring86::conform::native::{self, Lost, Oracle};
use ring86::conform::shard::Shard;
use ring86::conform::{run, templates};
use std::time::Duration;

/// The judge, or None after saying that this host has none.
fn oracle() -> Option<Oracle> {
    Oracle::new().map_err(|reason| eprintln!("skipped: {reason}")).ok()
}

/// Runs one instruction on one state and gives the output record.
fn ask(oracle: &mut Oracle, placement: Placement, code: &[u8], gpr: [u32; 8], eflags: u32) -> Vec<u8> {
    try_to_ask(oracle, placement, code, gpr, eflags).unwrap()
}

fn try_to_ask(
    oracle: &mut Oracle,
    placement: Placement,
    code: &[u8],
    gpr: [u32; 8],
    eflags: u32,
) -> Result<Vec<u8>, Lost> {
    let shape = Shape::default();
    oracle.load(placement, shape, code);
    let record = &mut oracle.input()[..shape.stride()];
    record.fill(0);
    for (reg, offset) in field::GPR.iter().enumerate() {
        put32(record, *offset, gpr[reg]);
    }
    put32(record, field::SS, placement.environment.segments()[seg::SS].selector.into());
    put32(record, field::EFLAGS, eflags);
    oracle.run(1)?;
    Ok(oracle.output()[..shape.stride()].to_vec())
}

fn place(environment: Environment) -> Placement {
    Placement { environment, offset: 0x8100 }
}

#[test]
fn the_judge_computes_in_all_code_sizes() {
    let Some(mut oracle) = oracle() else { return };
    for environment in ENVIRONMENTS {
        let placement = place(environment);
        // ADD of the code's own operand size: EAX or AX.
        let out = ask(&mut oracle, placement, &[0x01, 0xC8], [0x7FFF_FFFF, 1, 2, 3, 4, 5, 6, 7], 0x602);
        let (sum, flags) = if environment.bits() == 16 { (0x7FFF_0000, 0x657) } else { (0x8000_0000, 0xE96) };
        assert_eq!(get32(&out, field::GPR[0]), sum, "{environment:?}");
        assert_eq!(get32(&out, field::EFLAGS), flags, "{environment:?}");
        assert_eq!(get32(&out, field::EIP), placement.eip() + 2);
        assert_eq!(get32(&out, field::VECTOR), NO_EXCEPTION);
        for reg in 1..8 {
            assert_eq!(get32(&out, field::GPR[reg]), reg as u32);
        }
    }
}

#[test]
fn a_judge_that_hangs_is_replaced() {
    let Some(mut oracle) = oracle() else { return };
    let placement = place(Environment::Flat32);
    oracle.set_patience(Duration::from_millis(100));
    // JMP to itself, without the trap flag that ends other instructions.
    let lost = try_to_ask(&mut oracle, placement, &[0xEB, 0xFE], [1; 8], 0x202).unwrap_err();
    assert_eq!((lost.index, lost.reason.as_str()), (0, "the child hung"));
    oracle.set_patience(Duration::from_secs(180));
    let out = ask(&mut oracle, placement, &[0x40], [1; 8], 0x202);
    assert_eq!(get32(&out, field::GPR[0]), 2);
}

#[test]
fn the_judge_reports_faults() {
    let Some(mut oracle) = oracle() else { return };
    for environment in ENVIRONMENTS {
        let placement = place(environment);
        let mut fault = |code: &[u8], gpr: [u32; 8]| {
            let out = ask(&mut oracle, placement, code, gpr, 0x202);
            let left = field::GPR.map(|offset| get32(&out, offset));
            assert_eq!(left, gpr, "{environment:?} {code:x?}");
            (get32(&out, field::VECTOR), get32(&out, field::EIP) - placement.eip(), get32(&out, field::ERROR))
        };
        // DIV ECX by zero, UD2, INT3, HLT.
        assert_eq!(fault(&[0xF7, 0xF1], [1, 0, 2, 3, 4, 5, 6, 7]), (0, 0, 0));
        assert_eq!(fault(&[0x0F, 0x0B], [1; 8]), (6, 0, 0));
        assert_eq!(fault(&[0xCC], [1; 8]), (3, 1, 0));
        assert_eq!(fault(&[0xF4], [1; 8]), (13, 0, 0));
        // MOV AL, DS:[EBX] with a 32-bit address in the absent page.
        let ds = environment.segments()[seg::DS];
        let absent = ARENA + ABSENT_PAGE * 4096 + 5;
        let code: &[u8] = if environment.bits() == 16 { &[0x67, 0x8A, 0x03] } else { &[0x8A, 0x03] };
        let gpr = [1, 2, 3, absent - ds.base, 5, 6, 7, 8];
        assert_eq!(fault(code, gpr), (14, 0, 4));
        if ds.limit != u32::MAX {
            assert_eq!(fault(code, [1, 2, 3, ds.limit + 1, 5, 6, 7, 8]), (13, 0, 0));
        }
    }
}

#[test]
fn a_lost_child_is_named_and_replaced() {
    let Some(mut oracle) = oracle() else { return };
    let placement = place(Environment::Flat32);
    let shape = Shape::default();
    // INT 80h with EAX = 1 ends the process in the second record; in the first EAX = 20 asks for a number.
    oracle.load(placement, shape, &[0xCD, 0x80]);
    for (index, eax) in [20u32, 1].into_iter().enumerate() {
        let record = &mut oracle.input()[index * shape.stride()..(index + 1) * shape.stride()];
        record.fill(0);
        put32(record, field::GPR[0], eax);
        put32(record, field::GPR[3], 42);
        put32(record, field::SS, 0x2B);
        put32(record, field::EFLAGS, 0x202);
    }
    let lost = oracle.run(2).unwrap_err();
    assert_eq!((lost.index, lost.reason.as_str()), (1, "the child exited with 42"));
    let out = ask(&mut oracle, placement, &[0x40], [41, 0, 0, 0, 0, 0, 0, 0], 0x202);
    assert_eq!(get32(&out, field::GPR[0]), 42);
}

#[test]
fn every_instruction_of_the_claimed_models_is_generated_or_excluded() {
    let claimed = [
        CpuidFeature::INTEL8086,
        CpuidFeature::INTEL186,
        CpuidFeature::INTEL286,
        CpuidFeature::INTEL386,
        CpuidFeature::INTEL486,
        CpuidFeature::CMOV,
        CpuidFeature::CX8,
        CpuidFeature::FPU,
        CpuidFeature::FPU387,
        CpuidFeature::MMX,
        CpuidFeature::SSE,
        CpuidFeature::SSE2,
    ];
    for bits in [16, 32] {
        let forms = templates::forms(bits);
        let mut missing = Vec::new();
        for code in Code::values() {
            let op_code = code.op_code();
            let valid = op_code.is_instruction() && if bits == 16 { op_code.mode16() } else { op_code.mode32() };
            let mine = code.cpuid_features().iter().all(|feature| claimed.contains(feature));
            if valid && mine && templates::excluded(code).is_none() && !forms.contains_key(&(code as u16)) {
                missing.push(format!("{code:?}"));
            }
        }
        // Assemblers write some x87 instructions with a WAIT before them, which decodes as one of its own; FENI and
        // FDISI belong to the 8087 alone; iced decodes 0F FF without a ModRM byte only for AMD.
        missing.retain(|name| {
            let stem = name.split('_').next().unwrap_or_default();
            !matches!(stem, "Fstenv" | "Fstcw" | "Fclex" | "Finit" | "Fsave" | "Fstsw" | "Feni" | "Fdisi" | "Ud0")
        });
        assert!(missing.is_empty(), "{bits}-bit: {missing:?}");
    }
}

#[test]
fn ring86_agrees_with_the_host_cpu() {
    agrees("interpreter", 1);
}

/// Every single instruction compiled, optimised, over the checked window.
#[test]
fn compiled_code_agrees_with_the_host_cpu() {
    agrees("single", 8);
}

/// Every single instruction compiled without optimising, over the flat table.
#[test]
fn quickly_compiled_code_agrees_with_the_host_cpu() {
    agrees("single-none-table", 8);
}

/// Runs one case in `share` of those asked for.
fn agrees(engine: &str, share: u64) {
    if oracle().is_none() {
        return;
    }
    let cases = std::env::var("RING86_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000) / share;
    let plan = run::Plan {
        cases,
        seed: 86,
        engine: Engine::named(engine).expect("an engine of that name"),
        threads: std::thread::available_parallelism().map_or(1, |count| count.get()),
        filter: None,
        environment: None,
        lines_per_form: 1,
        shard: Shard::WHOLE,
        plant: None,
        sweep: false,
        unmasked: false,
        judge: ring86::conform::judge::Kind::Host,
    };
    let outcome = run::run(&plan, &|_| {}).unwrap();
    for line in outcome.lines.iter().take(50) {
        println!("{line}");
    }
    println!("{} (host {})", outcome.summary(), native::host());
    assert_eq!(outcome.different + outcome.lost, 0, "{}", outcome.summary());
    // Some encodings have no safe state; nearly all have.
    assert!(outcome.cases >= cases / 10 * 9, "{}", outcome.summary());
}
