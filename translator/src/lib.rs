//! Guest x86 code to host code: decode, lift, execute, shadow MMU.
