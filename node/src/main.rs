//! `loda-node`: a borough's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    loda_node::command(&[], std::env::args_os())
}
