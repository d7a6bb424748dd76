//! What dispatch does while it cannot reach the interconnect: it sends nothing, and takes nobody's silence for loss.
//!
//! A lease that runs out late does no harm, since its WEE stops by itself; one that runs out while nobody could be heard
//! turns work that was done into `Unknown`.

use super::{Dispatch, Stage};
use sengu_interconnect::contact::Contact;
use sengu_model::{TaskId, Time, limits};

impl Dispatch {
    pub(super) fn look_at_contact(&mut self, now: Time) {
        let contact = self.contact.borrow_and_update().clone();
        match (contact, self.away_since) {
            (Contact::There, None) => {}
            (Contact::There, Some(since)) => {
                self.away_since = None;
                tracing::info!(away_ms = now.ms_since(since), "the interconnect is back");
                self.lengthen_leases(now);
            }
            (Contact::Away { why, .. } | Contact::Blocked { why, .. }, None) => {
                tracing::warn!(
                    why,
                    "the interconnect is away; nothing is sent until it is back"
                );
                self.away_since = Some(now);
            }
            (_, Some(_)) => {}
        }
    }

    /// Nobody's silence until now says anything: all have a whole lease to speak up.
    pub(super) fn lengthen_leases(&mut self, now: Time) {
        let until = now.plus_ms(limits::LEASE_MS);
        for task in self.lanes.iter_mut() {
            task.payload.lease_until = task.payload.lease_until.max(until);
        }
    }

    /// Whether the end of this lease says nothing, since logic itself cannot hear anybody. It is looked at again later.
    pub(super) fn hears_nobody(&mut self, id: TaskId, now: Time) -> bool {
        let away = self.away_since.is_some();
        let out = |t: &super::Task| matches!(t.stage, Stage::Sent { .. } | Stage::Started { .. });
        if away && self.lanes.get(id).is_some_and(out) {
            self.lanes.lease_check(id, now.plus_ms(limits::LEASE_MS));
        }
        away
    }
}
