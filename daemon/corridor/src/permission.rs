//! Destructive power is a value: a proof that only [`grant`] makes, and that a command must be given.

use crate::actor::Actor;
use gatehouse_common::problem::{Code, Problem};

/// May look.
#[derive(Debug, Clone, Copy)]
pub struct CanRead(());
/// May change.
#[derive(Debug, Clone, Copy)]
pub struct CanWrite(());
/// May change what cannot be undone.
#[derive(Debug, Clone, Copy)]
pub struct CanDestroy(());

/// What an actor may do.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// Always.
    pub read: CanRead,
    write: Option<CanWrite>,
    destroy: Option<CanDestroy>,
}

impl Grant {
    /// The proof to change.
    ///
    /// # Errors
    /// [`Code::NotPermitted`] through the view socket.
    pub fn write(self) -> Result<CanWrite, Problem> {
        self.write.ok_or_else(refused)
    }

    /// The proof to change for good.
    ///
    /// # Errors
    /// [`Code::NotPermitted`] through the view socket.
    pub fn destroy(self) -> Result<CanDestroy, Problem> {
        self.destroy.ok_or_else(refused)
    }
}

fn refused() -> Problem {
    Problem::new(Code::NotPermitted, "this needs the operate socket (group gatehouse-operators)")
}

/// The only maker of proofs. The door decides: peers of the operate socket and the daemon itself may
/// change; a user of the management surface has had their role checked by control before.
#[must_use]
pub fn grant(actor: &Actor) -> Grant {
    let may = !matches!(actor, Actor::Peer { operate: false, .. });
    Grant { read: CanRead(()), write: may.then_some(CanWrite(())), destroy: may.then_some(CanDestroy(())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_door_gives_no_power() {
        let viewer = Actor::Peer { uid: 0, name: None, pid: None, operate: false };
        assert!(grant(&viewer).write().is_err());
        assert!(grant(&viewer).destroy().is_err());
        assert!(grant(&Actor::Peer { uid: 1, name: None, pid: None, operate: true }).destroy().is_ok());
    }
}
