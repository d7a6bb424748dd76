//! Bugs that the simulator must find, to show that it would. Without the feature `planted` nothing of them is there, and
//! with it each is off until a thread switches it on.

/// What can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// What older attempts say is believed.
    StaleReportsBelieved,
    /// What may not be repeated is sent before that is durable.
    SentBeforeMarked,
    /// A lane moves on before the outcome is durable.
    LaneFreedEarly,
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Switches one on in this thread, or all off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(feature = "planted")]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

#[cfg(not(feature = "planted"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
