//! A launcher of its own: for tests, and for whoever embeds a host in a program whose `main` is not theirs.

fn main() {
    weir_lambda::confine::main(std::env::args_os().skip(1))
}
