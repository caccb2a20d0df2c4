//! `bench GATEHOUSED FOLDER RESULTS [--quick]`, started by `packaging/bench.sh`.

use gatehouse_tests::bench::{Plan, run};
use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let quick = arguments.iter().position(|argument| argument == "--quick");
    let plan = if quick.map(|at| arguments.remove(at)).is_some() { Plan::quick() } else { Plan::full() };
    let paths: Vec<_> = arguments.into_iter().map(PathBuf::from).collect();
    let [gatehoused, folder, results] = paths.as_slice() else {
        anyhow::bail!("expected: bench GATEHOUSED FOLDER RESULTS [--quick]");
    };
    run(&plan, gatehoused, folder, results, &mut std::io::stdout())
}
