//! Is a container engine at hand? Nothing but workspaces needs one, so its absence alone is no illness.

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::{Command, EngineState};
use gatehouse_corridor::permission::grant;
use std::time::Duration;

/// Longer than this is no answer; control's own bound is two seconds.
const WAIT: Duration = Duration::from_secs(3);

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let read = grant(&Actor::System).read;
    let asked = sight.world.control.ask(|reply| Command::Engine(read, reply));
    let silent = || Err(Problem::new(gatehouse_common::problem::Code::Internal, "control does not answer"));
    let said = tokio::time::timeout(WAIT, asked).await.unwrap_or_else(|_| silent());
    vec![told(said)]
}

fn told(said: Result<EngineState, Problem>) -> HealthItem {
    match said {
        Ok(EngineState::Reachable { name, api, latency_us }) => {
            let millis = latency_us as f64 / 1e3;
            item("ENGINE", Severity::Ok, format!("{name}, API {api}, answered in {millis:.1} ms"))
        }
        Ok(EngineState::Off) => {
            item("ENGINE", Severity::Ok, "docker_host = none: no engine is used".to_owned())
        }
        Ok(EngineState::Absent(why)) => item("ENGINE", Severity::Ok, format!("{why}; none is needed")),
        Ok(EngineState::Unavailable(why)) => {
            let remedy = "Look at the engine, and whether the daemon's user may use its socket; or set docker_host = none.";
            ill("ENGINE-UNAVAILABLE", Severity::Warning, why, remedy)
        }
        Err(problem) => item("ENGINE", Severity::Unknown, problem.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_that_is_there_and_ill_is_an_illness() {
        let reachable =
            EngineState::Reachable { name: "Docker 20".into(), api: "1.41".into(), latency_us: 1_500 };
        for (state, code, severity, words) in [
            (reachable, "ENGINE", Severity::Ok, "Docker 20, API 1.41, answered in 1.5 ms"),
            (EngineState::Off, "ENGINE", Severity::Ok, "docker_host = none"),
            (EngineState::Absent("/s: no such socket".into()), "ENGINE", Severity::Ok, "/s: no such socket"),
            (EngineState::Unavailable("late".into()), "ENGINE-UNAVAILABLE", Severity::Warning, "late"),
        ] {
            let item = told(Ok(state));
            assert_eq!((&*item.code, item.severity), (code, severity));
            assert!(item.summary.contains(words), "{}", item.summary);
        }
        let problem = Problem::new(gatehouse_common::problem::Code::Internal, "gone");
        assert_eq!(told(Err(problem)).severity, Severity::Unknown);
    }
}
