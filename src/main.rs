mod memory;

fn main() -> std::process::ExitCode {
    memory::fix_threshold();
    forge::cli::main()
}
