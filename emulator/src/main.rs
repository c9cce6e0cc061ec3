//! The `ring86` command.

fn main() -> std::process::ExitCode {
    ring86::cli::main()
}
