//! What goes wrong, and how it is mended.

use super::*;

impl Site {
    pub(super) async fn fault(&self, fault: Fault) {
        if *self.healed.lock() {
            return;
        }
        note!("fault: {fault:?}");
        let sleep = |ms| tokio::time::sleep(Duration::from_millis(ms));
        match fault {
            Fault::KillLogic { at, away_ms } => {
                {
                    let which = self.active();
                    let mut logics = self.logics.lock();
                    logics[which].away_ms = away_ms;
                    match at {
                        Some(boundary) => logics[which].traps.set(Some(boundary)),
                        None => logics[which].life.kill(),
                    }
                }
                if at.is_none() {
                    self.other_takes_over().await;
                }
            }
            Fault::HoldLogic { ms } => {
                let which = self.active();
                let life = self.logics.lock()[which].life.clone();
                self.orphan_all();
                life.hold();
                if ms > TAKEN_OVER_MS {
                    self.other_takes_over().await;
                    sleep(ms - TAKEN_OVER_MS).await;
                } else {
                    sleep(ms).await;
                }
                self.orphan_all();
                note!("{} wakes", life.name);
                life.wake();
            }
            Fault::StoreCut { ms } => {
                let which = self.active();
                let traps = self.logics.lock()[which].traps.clone();
                traps.cut_from_store(true);
                if ms > TAKEN_OVER_MS {
                    self.other_takes_over().await;
                    sleep(ms - TAKEN_OVER_MS).await;
                } else {
                    sleep(ms).await;
                }
                traps.cut_from_store(false);
            }
            Fault::KillWee { wee, away_ms } => {
                self.kill_wee(wee);
                sleep(away_ms).await;
                self.out_of_touch(&wee_name(wee), false);
                let dead = self.wees.lock().get(&wee).is_none_or(|w| w.life.is_dead());
                if dead && !*self.healed.lock() {
                    self.start_wee(wee);
                }
            }
            Fault::HoldWee { wee, ms } => {
                let Some(life) = self.wees.lock().get(&wee).map(|w| w.life.clone()) else {
                    return;
                };
                life.hold();
                self.out_of_touch(&life.name, true);
                sleep(ms).await;
                note!("{} wakes", life.name);
                life.wake();
                self.out_of_touch(&life.name, false);
            }
            Fault::Cut { party, how, ms } => {
                let name = match party {
                    0 => logic_name(self.active()),
                    n => wee_name(n - 1),
                };
                self.touch_of(&name, true);
                self.broker.change(&name, |wire| set(wire, how, true));
                sleep(ms).await;
                note!("{name} is whole again");
                self.broker.change(&name, |wire| set(wire, how, false));
                self.touch_of(&name, false);
            }
            Fault::BrokerAway { ms } => {
                for party in self.parties() {
                    self.touch_of(&party, true);
                    self.broker.change(&party, |wire| wire.away = true);
                }
                sleep(ms).await;
                note!("the broker is back");
                for party in self.parties() {
                    self.broker.change(&party, |wire| wire.away = false);
                    self.touch_of(&party, false);
                }
            }
            Fault::BrokerRestart => self.broker.restart(),
            Fault::BrokerSlow { latency_ms, ms } => {
                for party in self.parties() {
                    self.broker.change(&party, |w| w.latency_ms = latency_ms);
                }
                sleep(ms).await;
                for party in self.parties() {
                    self.broker.change(&party, |w| w.latency_ms = 1);
                }
            }
            Fault::StoreRefuses { ms } => {
                self.store.set_mood(|mood| mood.refuses = true);
                sleep(ms).await;
                self.store.set_mood(|mood| mood.refuses = false);
            }
            Fault::StoreSlow { commit_ms, ms } => {
                self.store.set_mood(|mood| {
                    mood.commit_ms = commit_ms;
                    mood.read_ms = commit_ms / 4;
                });
                sleep(ms).await;
                let usual = self.plan.commit_ms;
                self.store.set_mood(|mood| {
                    mood.commit_ms = usual;
                    mood.read_ms = 0;
                });
            }
            Fault::StoreMute { commits } => self.store.lose_answers(commits),
            Fault::Clock { logic, step_ms } => self.step_clock(logic, step_ms),
        }
    }

    pub(super) fn step_clock(&self, logic: bool, step_ms: i64) {
        let offsets = {
            let mut offsets = self.offsets.lock();
            let offset = match logic {
                true => &mut offsets.0,
                false => &mut offsets.1,
            };
            *offset += step_ms;
            *offsets
        };
        if logic {
            for logic in self.logics.lock().iter() {
                logic.life.set_clock(offsets.0);
            }
        } else {
            for wee in self.wees.lock().values() {
                wee.life.set_clock(offsets.1);
            }
        }
    }

    pub(super) fn kill_wee(&self, wee: u32) {
        if let Some(wee) = self.wees.lock().get(&wee) {
            self.out_of_touch(&wee.life.name, true);
            wee.life.kill();
            wee.runtime.kill_all();
        }
    }

    /// Whoever is cut off from logic, or logic from them.
    pub(super) fn touch_of(&self, party: &str, lost: bool) {
        if party.starts_with("logic") {
            self.orphan_all();
            for wee in 0..self.plan.wees {
                self.out_of_touch(&wee_name(wee), lost);
            }
        } else {
            self.out_of_touch(party, lost);
        }
    }

    pub(super) fn out_of_touch(&self, wee: &str, lost: bool) {
        world::with(|w| {
            w.targets.orphan(wee);
            let times = w.out_of_touch.entry(wee.to_owned()).or_default();
            *times = match lost {
                true => *times + 1,
                false => times.saturating_sub(1),
            };
        });
    }

    pub(super) fn orphan_all(&self) {
        for wee in 0..self.plan.wees {
            world::with(|w| w.targets.orphan(&wee_name(wee)));
        }
    }

    /// All is well from here on.
    pub async fn heal(&self) {
        note!("all mends");
        *self.healed.lock() = true;
        world::with(|w| w.mischief = 0);
        self.broker.heal();
        self.store.lose_answers(0);
        let usual = self.plan.commit_ms;
        self.store.set_mood(|mood| {
            mood.refuses = false;
            mood.commit_ms = usual;
            mood.read_ms = 0;
        });
        for logic in self.logics.lock().iter() {
            logic.traps.set(None);
            logic.traps.cut_from_store(false);
            logic.life.wake();
        }
        for wee in 0..self.plan.wees {
            let life = self.wees.lock().get(&wee).map(|w| w.life.clone());
            match life {
                Some(life) if !life.is_dead() => life.wake(),
                _ => self.start_wee(wee),
            }
        }
        world::with(|w| w.out_of_touch.clear());
    }

    /// With nothing else broken, the one that stands by is active soon.
    pub(super) async fn other_takes_over(&self) {
        tokio::time::sleep(Duration::from_millis(TAKEN_OVER_MS)).await;
        let alone = self.plan.logics == 1 || self.plan.faults.len() > 1;
        let active = self.logics.lock().iter().any(LogicLife::is_active);
        if !alone && !active {
            let what = format!("nobody took over within {TAKEN_OVER_MS} ms");
            world::with(|w| w.targets.wrong.push(what));
        }
    }
}
