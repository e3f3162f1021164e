//! `loda`: see the library of the same name.

use std::process::ExitCode;

use loda::Screen;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("loda: cannot start: {error}");
            return ExitCode::from(loda::exit::FAILED);
        }
    };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let code = runtime.block_on(loda::run_on(Screen::detect(), std::env::args_os(), &mut out, &mut err));
    // A connection that will not close must not keep the shell waiting.
    runtime.shutdown_background();
    ExitCode::from(code)
}
