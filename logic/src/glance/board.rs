//! Tiles that are kept current while somebody looks at them: one board for all who look at the same.
//!
//! A board costs nothing while nothing changes, and then only for the targets that did. Each who looks holds a copy of
//! what was told and is told the difference.

use super::counts::Standing;
use super::marks::Changed;
use super::readings::Reading;
use super::tiles::{TileColumns, Tiles, TilesChanged};
use crate::core::Shared;
use crate::inventory::{Live, Target};
use parking_lot::Mutex;
use sengu_model::{Selector, Uid, limits};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    pub selector: String,
    pub colour: String,
    pub limit: usize,
}

#[derive(Default)]
pub struct Boards(Mutex<HashMap<View, Weak<Board>>>);

pub struct Board {
    view: View,
    pub changed: Arc<Changed>,
    paint: tokio::sync::Mutex<Option<Paint>>,
}

/// What those who look compare.
#[derive(Clone)]
pub struct Told {
    state: Vec<u8>,
    colour: Colours,
    words: usize,
}

#[derive(Clone)]
enum Colours {
    State,
    Words(Vec<Option<u32>>),
    Values(Vec<Option<f64>>),
}

/// All tiles as they are.
struct Paint {
    selector: Selector,
    tiles: Tiles,
    state: Vec<u8>,
    colour: Colours,
    places: HashMap<Uid, usize>,
    words: HashMap<String, u32>,
    /// Other targets match now, or stand elsewhere.
    stale: bool,
}

impl Boards {
    /// The board of a view. None when as many are kept as may be.
    pub fn board(&self, shared: &Shared, view: &View) -> Option<Arc<Board>> {
        let mut boards = self.0.lock();
        boards.retain(|_, board| board.strong_count() > 0);
        if let Some(board) = boards.get(view).and_then(Weak::upgrade) {
            return Some(board);
        }
        if boards.len() >= limits::TILE_VIEWS_MAX {
            return None;
        }
        let board = Arc::new(Board {
            view: view.clone(),
            // Before anything is read, so that nothing is missed.
            changed: shared.inventory.read().marks.look(),
            paint: tokio::sync::Mutex::default(),
        });
        boards.insert(view.clone(), Arc::downgrade(&board));
        Some(board)
    }

    /// The next who looks at this begins a new one.
    fn forget(&self, view: &View) {
        self.0.lock().remove(view);
    }
}

impl Board {
    /// All tiles as they are now.
    pub async fn whole(&self, shared: &Shared) -> Result<(Tiles, Told), sengu_model::Problem> {
        let mut known = self.paint.lock().await;
        let paint = match known.take() {
            Some(known) => known,
            None => paint(shared, &self.view).await?,
        };
        let paint = known.insert(paint);
        Ok((paint.whole(), paint.told()))
    }

    /// What differs from what was told; None when it is stale.
    pub async fn difference(&self, shared: &Shared, told: &mut Told) -> Option<TilesChanged> {
        let mut inner = self.paint.lock().await;
        let paint = inner.as_mut()?;
        // All who look wake together: the first one takes what changed, and the others find it done.
        paint.refresh(shared, &self.changed);
        if paint.stale {
            shared.glance.boards.forget(&self.view);
            return None;
        }
        Some(paint.difference(told))
    }
}

/// Tiles once, for who does not follow.
///
/// # Errors
/// `invalid_selector`.
pub async fn tiles(shared: &Shared, view: &View) -> Result<Tiles, sengu_model::Problem> {
    Ok(paint(shared, view).await?.whole())
}

/// A dictionary of texts in the order in which they came.
#[derive(Default)]
struct Dictionary {
    places: HashMap<Arc<str>, u32>,
    texts: Vec<String>,
}

impl Dictionary {
    fn place(&mut self, text: Arc<str>) -> u32 {
        let next = self.texts.len() as u32;
        let texts = &mut self.texts;
        *self.places.entry(text).or_insert_with_key(|text| {
            texts.push(text.to_string());
            next
        })
    }
}

async fn paint(shared: &Shared, view: &View) -> Result<Paint, sengu_model::Problem> {
    let selector = crate::records::selector(&view.selector)?;
    let colour = view.colour.as_str();
    let by_state = colour == "state";
    let [mut sites, mut rows, mut racks, mut kinds] = [(); 4].map(|()| Dictionary::default());
    let (mut columns, mut state, mut total) = (TileColumns::default(), Vec::new(), 0_u64);
    let (mut places, mut words, mut unit) = (HashMap::new(), HashMap::new(), None);
    let (mut word_of, mut value_of, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let revision = *shared.revision.borrow();
    shared
        .walk(&selector, |target, live| {
            total += 1;
            if columns.name.len() >= view.limit {
                return;
            }
            places.insert(target.uid, columns.name.len());
            columns.name.push(target.name.to_string());
            columns.site.push(sites.place(target.label("site")));
            columns.row.push(rows.place(target.label("row")));
            columns.rack.push(racks.place(target.label("rack")));
            let at = target.label("unit");
            columns
                .unit
                .push(Some(at.to_string()).filter(|u| !u.is_empty()));
            columns.kind.push(kinds.place(target.kind.clone()));
            state.push(Standing::of(target, live).letter());
            if !by_state {
                word_of.push(word(target, live, colour, &mut words, &mut texts));
                value_of.push(reading(live, colour, &mut unit));
            }
        })
        .await;
    let colour_of = match (by_state, word_of.iter().any(Option::is_some)) {
        (true, _) => Colours::State,
        (false, true) => Colours::Words(word_of),
        (false, false) => Colours::Values(value_of),
    };
    let tiles = Tiles {
        revision,
        total,
        truncated: total > columns.name.len() as u64,
        colour: view.colour.clone(),
        unit: unit.filter(|_| matches!(colour_of, Colours::Values(_))),
        sites: sites.texts,
        rows: rows.texts,
        racks: racks.texts,
        kinds: kinds.texts,
        words: texts,
        tiles: columns,
    };
    Ok(Paint {
        selector,
        tiles,
        state,
        colour: colour_of,
        places,
        words,
        stale: false,
    })
}

/// The text of a label, field or fact as an index; None where there is none.
fn word(
    target: &Target,
    live: &Live,
    key: &str,
    words: &mut HashMap<String, u32>,
    texts: &mut Vec<String>,
) -> Option<u32> {
    let text = target.value(live, key)?;
    if let Some(known) = words.get(&*text) {
        return Some(*known);
    }
    let next = texts.len() as u32;
    words.insert(text.to_string(), next);
    texts.push(text.into_owned());
    Some(next)
}

/// The greatest reading of that name, or the one of that name and labels.
fn reading(live: &Live, name: &str, unit: &mut Option<String>) -> Option<f64> {
    let raw = live.readings.as_deref()?.get();
    // Most of the text is of other readings: a look is cheaper than parsing.
    let (plain, exact) = match name.split_once('{') {
        Some((plain, _)) => (plain, true),
        None => (name, false),
    };
    if !raw.contains(plain) {
        return None;
    }
    let all = serde_json::from_str::<Vec<Reading>>(raw).ok()?;
    let wanted = |r: &&Reading| match exact {
        true => r.series() == name,
        false => r.name == name,
    };
    let found = all.iter().filter(wanted);
    let greatest = found.max_by(|a, b| a.value.total_cmp(&b.value))?;
    if unit.is_none() && !greatest.unit.is_empty() {
        *unit = Some(greatest.unit.to_string());
    }
    Some(greatest.value)
}

impl Paint {
    fn whole(&self) -> Tiles {
        let mut tiles = self.tiles.clone();
        tiles.tiles.state = text(&self.state);
        match &self.colour {
            Colours::State => {}
            Colours::Words(words) => tiles.tiles.word = Some(words.clone()),
            Colours::Values(values) => tiles.tiles.value = Some(values.clone()),
        }
        tiles
    }

    fn told(&self) -> Told {
        Told {
            state: self.state.clone(),
            colour: self.colour.clone(),
            words: self.tiles.words.len(),
        }
    }

    fn refresh(&mut self, shared: &Shared, changed: &Changed) {
        let marked = changed.take();
        let mut marked = marked.into_iter().peekable();
        while marked.peek().is_some() && !self.stale {
            // A few at a time, so that nobody waits for long to write.
            let inventory = shared.inventory.read();
            for uid in marked.by_ref().take(limits::WALK_STEP) {
                let target = inventory.by_uid.get(&uid);
                self.stale |= self.renew(uid, target.map(|t| &**t));
            }
        }
        // Facts that are new each time must not pile up.
        self.stale |= self.tiles.words.len() > 2 * self.state.len() + 1_000;
    }

    /// True when it no longer stands where it stood, or other targets match.
    fn renew(&mut self, uid: Uid, target: Option<&Target>) -> bool {
        let place = self.places.get(&uid).copied();
        let Some(target) = target else {
            return place.is_some();
        };
        let live = target.live.lock();
        let matches =
            self.selector.is_empty() || self.selector.matches(|key| target.value(&live, key));
        let Some(at) = place else {
            // One beyond what is shown is no news.
            return matches && !self.tiles.truncated;
        };
        if !matches || self.moved(at, target) {
            return true;
        }
        self.state[at] = Standing::of(target, &live).letter();
        match &mut self.colour {
            Colours::State => {}
            Colours::Words(column) => {
                let (words, texts) = (&mut self.words, &mut self.tiles.words);
                column[at] = word(target, &live, &self.tiles.colour, words, texts);
            }
            Colours::Values(column) => {
                column[at] = reading(&live, &self.tiles.colour, &mut self.tiles.unit);
            }
        }
        false
    }

    fn moved(&self, at: usize, target: &Target) -> bool {
        let Tiles {
            sites,
            rows,
            racks,
            tiles,
            ..
        } = &self.tiles;
        let unit = tiles.unit[at].as_deref().unwrap_or_default();
        *sites[tiles.site[at] as usize] != *target.label("site")
            || *rows[tiles.row[at] as usize] != *target.label("row")
            || *racks[tiles.rack[at] as usize] != *target.label("rack")
            || *unit != *target.label("unit")
    }

    fn difference(&self, told: &mut Told) -> TilesChanged {
        let differs = |at: usize| {
            self.state[at] != told.state[at]
                || match (&self.colour, &told.colour) {
                    (Colours::Words(now), Colours::Words(then)) => now[at] != then[at],
                    (Colours::Values(now), Colours::Values(then)) => now[at] != then[at],
                    _ => false,
                }
        };
        let places: Vec<usize> = (0..self.state.len()).filter(|at| differs(*at)).collect();
        let state: Vec<u8> = places.iter().map(|at| self.state[*at]).collect();
        let mut changed = TilesChanged {
            i: places.iter().map(|at| *at as u32).collect(),
            state: text(&state),
            words: self.tiles.words[told.words..].to_vec(),
            ..TilesChanged::default()
        };
        match &self.colour {
            Colours::State => {}
            Colours::Words(all) => changed.word = Some(places.iter().map(|at| all[*at]).collect()),
            Colours::Values(all) => {
                changed.value = Some(places.iter().map(|at| all[*at]).collect());
            }
        }
        *told = self.told();
        changed
    }
}

fn text(letters: &[u8]) -> String {
    letters.iter().map(|letter| char::from(*letter)).collect()
}
