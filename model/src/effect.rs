//! What an action does to the world, declared by its author: it decides what happens when contact is lost.

use serde::{Deserialize, Serialize};

/// The effect class of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing. Repeated freely.
    Read,
    /// Changes something, and doing it twice is the same as once. Repeated when contact is lost.
    Idempotent,
    /// Must happen once, and a named read of the same kind tells whether it did. Probed when contact is lost.
    Probe,
    /// Must happen once and nothing can tell whether it did. `Unknown` when contact is lost: a person decides.
    Once,
}

impl Effect {
    /// Whether the action changes the target, so that the lane runs it alone and in order.
    pub fn changes(self) -> bool {
        self != Effect::Read
    }

    /// Whether it may simply be done again after contact was lost.
    pub fn repeatable(self) -> bool {
        matches!(self, Effect::Read | Effect::Idempotent)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Probe => "probe",
            Effect::Once => "once",
        }
    }

    /// The class of queue its tasks travel in.
    pub fn class(self) -> Class {
        if self.changes() {
            Class::Control
        } else {
            Class::Observe
        }
    }
}

/// Queues are per (zone, worker kind, class), so that reads never stand before changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Control,
    Observe,
}

impl Class {
    pub const ALL: [Class; 2] = [Class::Control, Class::Observe];

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Control => "control",
            Class::Observe => "observe",
        }
    }
}
