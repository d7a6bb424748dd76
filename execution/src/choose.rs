//! Which instance gets a task, and which runtime an image. Pure functions of values: tasks of one target go to one
//! instance where it has room, because device sessions live there.

/// What is to be known of an instance that accepts tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub instance: u64,
    /// Slots without a task.
    pub free: u32,
}

/// The instance for a task with that `sticky` value, or none when all are full.
///
/// Rendezvous hashing: each (sticky, instance) pair has a weight, the heaviest with room wins. When an instance comes
/// or goes, only the targets that it gains or loses move.
pub fn choose(sticky: u64, seats: impl IntoIterator<Item = Seat>) -> Option<u64> {
    seats
        .into_iter()
        .filter(|seat| seat.free > 0)
        .max_by_key(|seat| (weight(sticky, seat.instance), seat.instance))
        .map(|seat| seat.instance)
}

/// Well-mixed 64 bits of the pair (the finisher of SplitMix64).
fn weight(sticky: u64, instance: u64) -> u64 {
    let mut x = sticky ^ instance.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The place in `here` of the first runtime in `declared` that can run the image. `here` are the runtimes of this WEE by
/// name, each with whether it can run it now.
///
/// # Errors
/// What is declared and what is here.
pub fn runtime<'a>(
    declared: impl IntoIterator<Item = &'a str>,
    here: &[(&str, bool)],
) -> Result<usize, String> {
    let mut names = Vec::new();
    for name in declared {
        let fits = |(other, can): &(&str, bool)| *other == name && *can;
        if let Some(at) = here.iter().position(fits) {
            return Ok(at);
        }
        names.push(name);
    }
    let known: Vec<String> = here
        .iter()
        .map(|(name, _)| match names.contains(name) {
            true => format!("{name} (cannot run it now)"),
            false => (*name).to_owned(),
        })
        .collect();
    let or_none = |list: String| match list.is_empty() {
        true => "none".to_owned(),
        false => list,
    };
    Err(format!(
        "no runtime for it here: it declares {}; here: {}",
        or_none(names.join(", ")),
        or_none(known.join(", "))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_declared_runtime_that_can_is_taken() {
        let here = [("process", true), ("docker", false), ("wasm", true)];
        let table: [(&[&str], Result<usize, &str>); 5] = [
            (&["process"], Ok(0)),
            (&["wasm", "process"], Ok(2)),
            (&["docker", "wasm"], Ok(2)),
            (
                &["docker"],
                Err("it declares docker; here: process, docker (cannot run it now), wasm"),
            ),
            (
                &["vm", "jail"],
                Err("it declares vm, jail; here: process, docker, wasm"),
            ),
        ];
        for (declared, want) in table {
            let got = runtime(declared.iter().copied(), &here);
            let want = want.map_err(|why| format!("no runtime for it here: {why}"));
            assert_eq!(got, want, "{declared:?}");
        }
        assert!(
            runtime(["process"], &[])
                .unwrap_err()
                .ends_with("here: none")
        );
    }

    fn seats(free: &[u32]) -> Vec<Seat> {
        (1u64..)
            .zip(free)
            .map(|(instance, free)| Seat {
                instance,
                free: *free,
            })
            .collect()
    }

    #[test]
    fn the_same_target_goes_to_the_same_instance() {
        for sticky in 0..1_000 {
            let first = choose(sticky, seats(&[4, 4, 4])).unwrap();
            assert_eq!(choose(sticky, seats(&[1, 2, 3])), Some(first));
        }
    }

    #[test]
    fn a_full_instance_is_passed_over_and_none_is_an_answer() {
        for sticky in 0..1_000 {
            assert_eq!(choose(sticky, seats(&[0, 7, 0])), Some(2));
            assert_eq!(choose(sticky, seats(&[0, 0])), None);
            assert_eq!(choose(sticky, seats(&[])), None);
        }
    }

    #[test]
    fn targets_spread_evenly_and_only_a_share_moves_to_a_new_instance() {
        let mut per_instance = [0u32; 4];
        let mut moved = 0;
        for sticky in 0..4_000 {
            let three = choose(sticky, seats(&[1, 1, 1])).unwrap();
            let four = choose(sticky, seats(&[1, 1, 1, 1])).unwrap();
            per_instance[usize::try_from(four - 1).unwrap()] += 1;
            if four != three {
                assert_eq!(four, 4, "a target moves to the new instance only");
                moved += 1;
            }
        }
        assert!(
            per_instance.iter().all(|n| (800..1_200).contains(n)),
            "{per_instance:?}"
        );
        assert!((800..1_200).contains(&moved), "{moved}");
    }
}
