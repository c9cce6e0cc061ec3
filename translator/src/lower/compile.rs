//! From a plan to machine code for this host.

use super::{Host, Lowered, Mmu, lower};
use crate::engine::Show;
use crate::region::Plan;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;
use std::time::{Duration, Instant};

/// How much work goes into a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Quick code.
    None,
    /// Optimised code.
    Speed,
}

/// Machine code of a region.
#[derive(Debug)]
pub struct Code {
    /// Position-independent bytes.
    pub bytes: Vec<u8>,
    /// What belongs to them.
    pub lowered: Lowered,
    /// Time it took.
    pub time: Duration,
}

/// The parts of the compiler that are worth keeping from one region to the next.
pub struct Compiler {
    targets: [OwnedTargetIsa; 2],
    context: Context,
    builder: FunctionBuilderContext,
    host: Host,
    mmu: Mmu,
}

/// A target for this host.
pub(super) fn target(effort: Effort) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", if effort == Effort::None { "none" } else { "speed" }),
        ("regalloc_algorithm", "backtracking"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("unwind_info", "false"),
        ("enable_probestack", "false"),
        // A load that is reused across a store of the guest would be wrong: they may be the same memory.
        ("enable_alias_analysis", "false"),
        ("preserve_frame_pointers", "false"),
    ] {
        flags.set(name, value).map_err(|e| e.to_string())?;
    }
    let builder = cranelift_native::builder()?;
    builder.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
}

impl Compiler {
    /// A compiler for this host. `resolve`, `operation` and `access` are the addresses in [`Host`].
    ///
    /// # Errors
    /// If Cranelift has no code generator for this host.
    pub fn new([resolve, operation, access]: [usize; 3], mmu: Mmu) -> Result<Self, String> {
        let targets = [target(Effort::None)?, target(Effort::Speed)?];
        let host = Host {
            resolve,
            operation,
            access,
            convention: targets[0].default_call_conv(),
            frontend: targets[0].frontend_config(),
        };
        Ok(Compiler { targets, context: Context::new(), builder: FunctionBuilderContext::new(), host, mmu })
    }

    /// Compiles a plan.
    ///
    /// # Errors
    /// What Cranelift says; the plan then stays with the interpreter.
    pub fn compile(&mut self, plan: &mut Plan, effort: Effort) -> Result<Code, String> {
        // The guest chooses the plan: whatever a code generator makes of it must not take the machine down.
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.generate(plan, effort)));
        caught.unwrap_or_else(|_| {
            self.context = Context::new();
            self.builder = FunctionBuilderContext::new();
            Err("the code generator gave up".into())
        })
    }

    fn generate(&mut self, plan: &mut Plan, effort: Effort) -> Result<Code, String> {
        let begun = Instant::now();
        self.context.clear();
        let lowered =
            lower(&mut self.context.func, &mut self.builder, plan, self.mmu, self.host, effort == Effort::None);
        if let Some((lin, show)) = plan.show {
            self.context.set_disasm(show.asm);
            describe(plan, lin, show, &self.context.func);
        }
        let isa = &*self.targets[effort as usize];
        self.context.compile(isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
        let compiled = self.context.compiled_code().ok_or("no code")?;
        let mut bytes = compiled.code_buffer().to_vec();
        // The batches lie behind the region's own code, so that it reaches them by distance alone.
        let mut places = Vec::new();
        for batch in &lowered.batches {
            bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
            places.push(bytes.len() as i64);
            bytes.extend_from_slice(batch);
        }
        for reloc in compiled.buffer.relocs() {
            let number = match &reloc.target {
                FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                    self.context.func.params.user_named_funcs()[*name].index as usize
                }
                _ => return Err("the code refers to something unknown".into()),
            };
            let at = reloc.offset as usize;
            let (Some(place), true) = (places.get(number), reloc.kind == Reloc::X86CallPCRel4) else {
                return Err(format!("the code needs a relocation of kind {:?}", reloc.kind));
            };
            let distance = place - i64::from(reloc.offset) + reloc.addend;
            bytes[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
        }
        if let (Some((lin, _)), Some(text)) = (plan.show, &compiled.vcode) {
            log::info!("host code of region {lin:08x}, {} bytes:\n{text}", compiled.code_buffer().len());
        }
        Ok(Code { bytes, lowered, time: begun.elapsed() })
    }
}

/// A plan's blocks as guest instructions, each with where it may lead.
fn blocks(plan: &Plan, lin: u64) -> String {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let at = |delta: i32| lin.wrapping_add(delta as i64 as u64) & 0xffff_ffff;
    let bits = if plan.mode & crate::state::mode::CODE32 != 0 { 32 } else { 16 };
    let (mut out, mut formatter) = (String::new(), IntelFormatter::new());
    for b in &plan.blocks {
        let known = plan.statics(b).into_iter().chain(b.targets.iter().map(|t| plan.blocks[*t].delta));
        let to: Vec<String> = known.map(|delta| format!("{:08x}", at(delta))).collect();
        let entry = if b.entry { ", an entry" } else { "" };
        out +=
            &format!("block {:08x}{entry}, {} instructions, leads to {}\n", at(b.delta), b.marks.len(), to.join(" "));
        for instruction in Decoder::with_ip(bits, &b.bytes, at(b.delta), DecoderOptions::NONE).iter() {
            let mut text = String::new();
            formatter.format(&instruction, &mut text);
            out += &format!("  {:08x} {text}\n", instruction.ip());
        }
    }
    out
}

/// Writes a plan to the log before it is compiled.
fn describe(plan: &Plan, lin: u64, show: Show, func: &Function) {
    if show.blocks {
        log::info!("region {lin:08x}, {} blocks:\n{}", plan.blocks.len(), blocks(plan, lin));
    }
    if show.ir {
        for b in &plan.blocks {
            let at = lin.wrapping_add(b.delta as i64 as u64) & 0xffff_ffff;
            log::info!("operations of block {at:08x}:\n{}", crate::ir::print(&b.ops));
        }
    }
    if show.clif {
        log::info!("Cranelift IR of region {lin:08x}:\n{}", func.display());
    }
}
