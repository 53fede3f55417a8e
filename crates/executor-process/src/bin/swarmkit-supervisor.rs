//! A program that can be a task's supervisor and nothing else, for hosts that do not want to be started again
//! themselves; see `Builder::supervisor_program`.

fn main() {
    swarmkit_executor_process::run_if_requested();
    eprintln!("swarmkit-supervisor is started by executors, not by hand");
    std::process::exit(2);
}
