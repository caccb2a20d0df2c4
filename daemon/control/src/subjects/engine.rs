//! The container engine as the other rooms see it.

use crate::ControlConfig;
use gatehouse_corridor::command::EngineState;
use gatehouse_engine::{EngineError, Reading};

/// What was seen of the engine within the last seconds, or what is there now; bounded in time by the probe.
pub(crate) async fn state(config: &ControlConfig) -> EngineState {
    match &config.engine {
        Some(probe) => told(probe.read().await),
        None => EngineState::Off,
    }
}

fn told(reading: Reading) -> EngineState {
    match reading.version {
        Ok(version) => EngineState::Reachable {
            name: format!("{} {}", version.name, version.release),
            api: version.api,
            latency_us: u64::try_from(reading.latency.as_micros()).unwrap_or(u64::MAX),
        },
        Err(absent @ (EngineError::Absent(_) | EngineError::NotOurs(_))) => {
            EngineState::Absent(absent.to_string())
        }
        Err(error) => EngineState::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_engine::{Engine as _, Fake, Move};
    use std::time::Duration;

    #[tokio::test]
    async fn each_answer_has_its_state() {
        let reachable =
            EngineState::Reachable { name: "Fake 1.0".into(), api: "1.41".into(), latency_us: 2_500 };
        for (said, state) in [
            (Ok(Fake::healthy()), reachable),
            (Err(EngineError::Absent("/s".into())), EngineState::Absent("/s: no such socket".into())),
            (
                Err(EngineError::NotOurs("/s".into())),
                EngineState::Absent("/s: not for the daemon's user".into()),
            ),
            (Err(EngineError::Denied("/s".into())), EngineState::Unavailable("/s: permission denied".into())),
            (Err(EngineError::Silent(7)), EngineState::Unavailable("no answer within 7 ms".into())),
        ] {
            let version = Fake::new([Move::Answer(said)]).version().await;
            assert_eq!(told(Reading { version, latency: Duration::from_micros(2_500) }), state);
        }
    }
}
