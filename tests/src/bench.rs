//! The benchmark: Gatehouse beside nginx and HAProxy, in one run on loopback. Only ratios of one run count;
//! rounds alternate between the proxies, so that what else the machine does hits all alike.

mod calls;
mod crowd;
mod fresh;
mod half;
mod instructions;
mod load;
mod process;
mod proxies;
mod report;
mod scale;

use anyhow::Context as _;
use load::Sample;
use proxies::Upstream;
use report::{Row, row};
use std::io::Write;
use std::path::Path;

/// Names of bodies the upstream serves, and their bytes.
const BODIES: [(&str, usize); 3] = [("b100", 100), ("b10k", 10_000), ("b1m", 1_000_000)];

/// The cell that a bar stands on, and its rounds: enough that a median holds on a machine that is not idle.
const BAR: (&str, u32) = ("b100", 64);
const BAR_ROUNDS: usize = 7;

/// What is measured.
#[derive(Debug)]
pub struct Plan {
    /// Body's name and connections.
    cells: Vec<(&'static str, u32)>,
    rounds: usize,
    /// Of one proxy in one round; wrk knows whole seconds only.
    seconds: u32,
}

impl Plan {
    /// Under five minutes.
    #[must_use]
    pub fn full() -> Self {
        let connections = [1, 64, 256];
        let cells = BODIES.iter().flat_map(|(name, _)| connections.map(|count| (*name, count))).collect();
        Self { cells, rounds: 3, seconds: 2 }
    }

    /// About a minute and a half.
    #[must_use]
    pub fn quick() -> Self {
        let cells = vec![("b100", 1), ("b100", 64), ("b100", 256), ("b10k", 64), ("b1m", 64)];
        Self { cells, rounds: 3, seconds: 1 }
    }
}

/// Measures all of the plan; says it as a table and writes it as JSON.
///
/// # Errors
/// A tool that is missing, a proxy that does not come up, an answer that is none.
pub fn run(
    plan: &Plan,
    gatehoused: &Path,
    folder: &Path,
    results: &Path,
    say: &mut impl Write,
) -> anyhow::Result<()> {
    crowd::raise_open_files()?;
    let fresh = fresh::measure(gatehoused, folder).context("a fresh daemon")?;
    let upstream = Upstream::start(folder, &BODIES).context("the upstream")?;
    let lines = proxies::all(gatehoused, folder, &upstream, &BODIES)?;
    let script = load::script(folder)?;
    for line in &lines {
        load::measure(line, &script, BAR.0, BAR.1, 1).context("warming up")?;
    }
    let mut rows = Vec::new();
    for (body, connections) in &plan.cells {
        let mut samples: Vec<Vec<Sample>> = lines.iter().map(|_| Vec::new()).collect();
        let rounds = if (*body, *connections) == BAR { BAR_ROUNDS } else { plan.rounds };
        for _ in 0..rounds {
            for (line, samples) in lines.iter().zip(&mut samples) {
                samples.push(load::measure(line, &script, body, *connections, plan.seconds)?);
            }
        }
        let cell: Vec<Row> = lines
            .iter()
            .zip(&samples)
            .filter_map(|(line, own)| Some(row(line.name, body, *connections, own, samples.first()?)))
            .collect();
        report::say(say, &cell, rows.is_empty())?;
        rows.extend(cell);
    }
    let calls = lines
        .iter()
        .map(|line| Ok((line.name, calls::measure(line, &script, folder, BAR)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let direct = (0..plan.rounds)
        .map(|_| Ok(load::drive((&upstream.url(BAR.0), "none"), &script, 1, plan.seconds)?.p50_us))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let added = report::added(&rows, BAR.0, median(direct));
    let carried = report::carried(&rows, BAR);
    let half = half::measure(&lines, &carried, folder, say).context("at half load")?;
    let ours = lines.iter().find(|line| line.name == "gatehouse").context("no gatehouse")?;
    let crowd = crowd::measure(ours, &script, say).context("the crowd")?;
    drop(lines);
    let counts =
        instructions::measure(gatehoused, folder, &upstream, &script, say).context("instructions")?;
    let large = scale::measure(gatehoused, folder, (upstream.port(), &script), say).context("at scale")?;
    let sections =
        [("fresh", fresh), ("half_load", half), ("crowd", crowd), ("scale", large), ("instructions", counts)];
    report::conclude(say, results, (&rows, added), &sections, &calls)
}

/// The one line of a proxy that others are compared with comes first.
pub(crate) const BASE: &str = "nginx plain";

/// Median; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// `taskset` in front, so that proxy and load do not share a processor; nothing where there is but one.
pub(crate) fn pinned(processor: usize, program: &Path) -> std::process::Command {
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return std::process::Command::new(program);
    }
    let mut command = std::process::Command::new("/usr/bin/taskset");
    command.arg("--cpu-list").arg(processor.to_string()).arg(program);
    command
}

/// The proxies' processor, and the one of load and upstream.
pub(crate) const PROXY: usize = 0;
/// See [`PROXY`].
pub(crate) const LOAD: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_some_and_none() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn plans_begin_with_the_bar_in_reach() {
        for plan in [Plan::full(), Plan::quick()] {
            assert!(plan.cells.contains(&BAR) && plan.rounds >= 3);
        }
    }
}
