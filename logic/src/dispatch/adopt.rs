//! What an earlier life of logic sent and what may not be repeated: it stays with whoever has it until its word comes or
//! its lease ends. Taking it for lost at once would turn work that is being done into `Unknown`, and would send a probe
//! to a device that somebody is just changing.

use super::feed::RESTARTED;
use super::settle::{Attempt, Verdict, settle};
use super::{Dispatch, Probing};
use sengu_model::wire::envelope::WeeAnnouncement;
use sengu_model::{Effect, TaskId, Time, limits};
use sengu_store::Sent;

/// Bits of the fence in the store that hold the attempt; the others hold the epoch.
const ATTEMPT_BITS: u32 = 24;

/// The fence as the store keeps it.
pub(super) fn fence(epoch: u64, attempt: u32) -> u64 {
    epoch << ATTEMPT_BITS | u64::from(attempt) & ((1 << ATTEMPT_BITS) - 1)
}

/// Epoch and attempt of a fence.
fn read_fence(fence: u64) -> (u64, u32) {
    let attempt = fence & ((1 << ATTEMPT_BITS) - 1);
    (fence >> ATTEMPT_BITS, attempt as u32) // masked to 24 bits
}

impl Dispatch {
    /// A task that was out when an earlier life of logic ended.
    pub(super) fn take_sent(&mut self, id: TaskId, sent: Sent, now: Time) {
        let (epoch, attempt) = read_fence(sent.fence);
        let lease_end = now.plus_ms(limits::LEASE_MS);
        let live_on = epoch > 0 && self.somebody_lives_on(id);
        if live_on && self.lanes.adopt(id, attempt, sent.at, lease_end) {
            if let Some(task) = self.lanes.get_mut(id) {
                task.payload.adopted = Some(epoch);
                task.payload.lease_until = lease_end;
            }
            return;
        }
        self.settle_lost(id, sent, now);
    }

    /// Whether an execution environment of the task's zone may have outlived the earlier life of logic.
    fn somebody_lives_on(&self, id: TaskId) -> bool {
        let Some(task) = self.lanes.get(id) else {
            return false;
        };
        let zone = &*task.payload.target.zone;
        let inventory = self.shared.inventory.read();
        inventory.others_of("Wee").any(|(_, other)| {
            let said = serde_json::from_value::<WeeAnnouncement>(other.record.status.clone());
            said.is_ok_and(|wee| !wee.embedded && wee.zone == zone)
        })
    }

    /// Nobody can have it any more.
    fn settle_lost(&mut self, id: TaskId, sent: Sent, now: Time) {
        let Some(task) = self.lanes.get_mut(id) else {
            return;
        };
        let payload = &mut task.payload;
        if payload.effect == Effect::Probe {
            // Goes out as a probe.
            payload.perhaps = Some(RESTARTED.to_owned());
            payload.probing = Some(Probing {
                since: sent.at,
                why: RESTARTED.to_owned(),
                tries: 0,
            });
            return;
        }
        let lost = Attempt::Lost(RESTARTED.to_owned());
        match settle(payload.effect, payload.tries, false, lost) {
            Verdict::End(outcome) => self.end(id, outcome, None, now),
            Verdict::Retry { .. } | Verdict::Probe { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_holds_epoch_and_attempt() {
        for (epoch, attempt) in [(1_795_000_000, 1), (1, 16_777_215), (4_294_967_296, 7)] {
            let packed = fence(epoch, attempt);
            assert_eq!(read_fence(packed), (epoch, attempt));
            assert!(i64::try_from(packed).is_ok(), "stores keep signed numbers");
        }
        // As sengu kept it before: nothing is adopted by it.
        assert_eq!(read_fence(17), (0, 17));
    }
}
