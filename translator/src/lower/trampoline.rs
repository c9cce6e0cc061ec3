//! The way into compiled code and from region to region. One function for the life of the process, so that
//! cranelift-jit's module, which frees everything or nothing, is the right home for it.

use super::{compile, signature};
use crate::frame::{Frame, exit};
use crate::state::State;
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, Block, BlockArg, InstBuilder, MemFlagsData, Value};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::sync::OnceLock;

/// Entries of the jump cache.
pub const JUMPS: usize = 1 << 14;

/// One entry of the jump cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Jump {
    /// RIP, and the mode bits above. All ones in an empty entry.
    pub tag: u64,
    /// Address of the region's code.
    pub code: u64,
    /// Entry number.
    pub entry: u32,
    /// Number of the region.
    pub region: u32,
    /// Distance of the entry from the region's anchor.
    pub delta: i32,
    /// Instructions that run at least: with fewer left it is the interpreter's turn.
    pub need: u16,
    /// 1 if the region lies in global pages alone.
    pub global: u16,
}

/// The tag of a place.
pub fn tag(rip: u64, mode: u32) -> u64 {
    rip & 0xffff_ffff | u64::from(mode) << 32
}

/// Where a RIP's entry may be: here first, or there.
pub fn places(rip: u64) -> [usize; 2] {
    let first = (rip ^ rip >> 12) as usize & (JUMPS - 1);
    [first, first ^ 1]
}

/// Address of the trampoline: `fn(state, &Jump) -> exit`. It calls the region, and as long as regions end in
/// [`crate::frame::exit::JUMP`] goes on with the one that the jump cache knows for RIP.
///
/// # Errors
/// If there is no code generator for this host.
pub fn trampoline() -> Result<usize, String> {
    static ADDRESS: OnceLock<Result<usize, String>> = OnceLock::new();
    ADDRESS.get_or_init(build).clone()
}

fn build() -> Result<usize, String> {
    let isa = compile::target(compile::Effort::Speed)?;
    let convention = isa.default_call_conv();
    let frontend = isa.frontend_config();
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let mut context = module.make_context();
    let region = signature(convention);
    context.func.signature.call_conv = convention;
    context.func.signature.params = vec![AbiParam::new(I64); 2];
    context.func.signature.returns = vec![AbiParam::new(I64)];
    let mut fc = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut fc);
    let [head, run, enough, next, other, done] = std::array::from_fn(|_| b.create_block());
    b.append_block_params_for_function_params(head);
    for block in [run, done] {
        b.append_block_param(block, I64);
    }
    b.append_block_param(run, I64);
    let trusted = MemFlagsData::trusted();
    let frame = |field: usize| (offset_of!(State, frame) + field) as i32;
    b.switch_to_block(head);
    let [st, jump] = b.block_params(head)[..] else { return Err("two parameters".into()) };
    let rip = b.ins().load(I64, trusted, st, offset_of!(State, rip) as i32);
    b.ins().jump(run, &[BlockArg::Value(jump), BlockArg::Value(rip)]);

    b.switch_to_block(run);
    let (at, rip) = (b.block_params(run)[0], b.block_params(run)[1]);
    let delta = b.ins().uload32(trusted, at, offset_of!(Jump, delta) as i32);
    let base = b.ins().isub(rip, delta);
    let base = b.ins().ireduce(I32, base);
    let base = b.ins().uextend(I64, base);
    b.ins().store(trusted, base, st, frame(offset_of!(Frame, rip_base)));
    let left = b.ins().load(I64, trusted, st, frame(offset_of!(Frame, left)));
    let need = b.ins().uload16(I64, trusted, at, offset_of!(Jump, need) as i32);
    let budget = b.ins().iconst(I64, exit::pack(exit::BUDGET, 0, 0) as i64);
    let budget = b.ins().bor(budget, delta);
    let fits = b.ins().icmp(IntCC::SignedGreaterThanOrEqual, left, need);
    b.ins().brif(fits, enough, &[], done, &[BlockArg::Value(budget)]);

    b.switch_to_block(enough);
    let code = b.ins().load(I64, trusted, at, offset_of!(Jump, code) as i32);
    let entry = b.ins().uload32(trusted, at, offset_of!(Jump, entry) as i32);
    let sig = b.import_signature(region);
    let call = b.ins().call_indirect(sig, code, &[st, entry]);
    let why = b.inst_results(call)[0];
    b.ins().brif(why, done, &[BlockArg::Value(why)], next, &[]);

    b.switch_to_block(next);
    let rip = b.ins().load(I64, trusted, st, offset_of!(State, rip) as i32);
    let mode = b.ins().uload32(trusted, st, offset_of!(State, mode) as i32);
    let high = b.ins().ishl_imm_u(mode, 32);
    let want = b.ins().bor(rip, high);
    let mixed = b.ins().ushr_imm_u(rip, 12);
    let mixed = b.ins().bxor(mixed, rip);
    let mixed = b.ins().band_imm_u(mixed, (JUMPS - 1) as i64);
    let table = b.ins().load(I64, trusted, st, frame(offset_of!(Frame, jumps)));
    let look = |b: &mut FunctionBuilder, place: Value, missed: Block, with: &[BlockArg]| {
        let at = b.ins().imul_imm_u(place, size_of::<Jump>() as i64);
        let at = b.ins().iadd(table, at);
        let have = b.ins().load(I64, trusted, at, offset_of!(Jump, tag) as i32);
        let hit = b.ins().icmp(IntCC::Equal, have, want);
        b.ins().brif(hit, run, &[BlockArg::Value(at), BlockArg::Value(rip)], missed, with);
    };
    look(&mut b, mixed, other, &[]);

    b.switch_to_block(other);
    let second = b.ins().bxor_imm_u(mixed, 1);
    let zero = b.ins().iconst(I64, 0);
    look(&mut b, second, done, &[BlockArg::Value(zero)]);

    b.switch_to_block(done);
    let why = b.block_params(done)[0];
    b.ins().return_(&[why]);
    b.seal_all_blocks();
    b.finalize(frontend);

    let id =
        module.declare_function("trampoline", Linkage::Export, &context.func.signature).map_err(|e| e.to_string())?;
    module.define_function(id, &mut context).map_err(|e| e.to_string())?;
    module.finalize_definitions().map_err(|e| e.to_string())?;
    let address = module.get_finalized_function(id) as usize;
    // The code lives as long as the process.
    std::mem::forget(module);
    Ok(address)
}
