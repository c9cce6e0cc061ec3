//! The way into compiled code and from region to region. One function for the life of the process, so that
//! cranelift-jit's module, which frees everything or nothing, is the right home for it.

use super::{compile, signature};
use crate::frame::Frame;
use crate::state::State;
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, BlockArg, InstBuilder, MemFlagsData};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::sync::OnceLock;

/// Entries of the jump cache.
pub const JUMPS: usize = 1 << 12;

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
    /// 1 if the region lies in global pages alone.
    pub global: u64,
}

/// The tag of a place.
pub fn tag(rip: u64, mode: u32) -> u64 {
    rip & 0xffff_ffff | u64::from(mode) << 32
}

/// Where a RIP's entry is.
pub fn index(rip: u64) -> usize {
    (rip ^ rip >> 12) as usize & (JUMPS - 1)
}

/// Address of the trampoline: `fn(state, code, entry number) -> exit code`. It calls the region, and as long as
/// regions end in [`crate::frame::exit::JUMP`] goes on with the one that the jump cache knows for RIP.
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
    context.func.signature.params = vec![AbiParam::new(I64); 3];
    context.func.signature.returns = vec![AbiParam::new(I32)];
    let mut fc = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut fc);
    let (head, run, next, probe, done) =
        (b.create_block(), b.create_block(), b.create_block(), b.create_block(), b.create_block());
    b.append_block_params_for_function_params(head);
    for _ in 0..2 {
        b.append_block_param(run, I64);
    }
    b.append_block_param(done, I32);
    b.switch_to_block(head);
    let [st, code, entry] = b.block_params(head)[..] else { return Err("three parameters".into()) };
    b.ins().jump(run, &[BlockArg::Value(code), BlockArg::Value(entry)]);

    b.switch_to_block(run);
    let (code, entry) = (b.block_params(run)[0], b.block_params(run)[1]);
    let sig = b.import_signature(region);
    let call = b.ins().call_indirect(sig, code, &[st, entry]);
    let why = b.inst_results(call)[0];
    b.ins().brif(why, done, &[BlockArg::Value(why)], next, &[]);

    let trusted = MemFlagsData::trusted();
    b.switch_to_block(next);
    let rip = b.ins().load(I64, trusted, st, offset_of!(State, rip) as i32);
    let mode = b.ins().uload32(trusted, st, offset_of!(State, mode) as i32);
    let high = b.ins().ishl_imm_u(mode, 32);
    let want = b.ins().bor(rip, high);
    let mixed = b.ins().ushr_imm_u(rip, 12);
    let mixed = b.ins().bxor(mixed, rip);
    let mixed = b.ins().band_imm_u(mixed, (JUMPS - 1) as i64);
    let at = b.ins().imul_imm_u(mixed, size_of::<Jump>() as i64);
    let jumps = (offset_of!(State, frame) + offset_of!(Frame, jumps)) as i32;
    let table = b.ins().load(I64, trusted, st, jumps);
    let at = b.ins().iadd(table, at);
    let have = b.ins().load(I64, trusted, at, offset_of!(Jump, tag) as i32);
    let hit = b.ins().icmp(IntCC::Equal, have, want);
    let zero = b.ins().iconst(I32, 0);
    b.ins().brif(hit, probe, &[], done, &[BlockArg::Value(zero)]);

    b.switch_to_block(probe);
    let code = b.ins().load(I64, trusted, at, offset_of!(Jump, code) as i32);
    let entry = b.ins().uload32(trusted, at, offset_of!(Jump, entry) as i32);
    b.ins().jump(run, &[BlockArg::Value(code), BlockArg::Value(entry)]);

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
