//! The threads of rayon's pool through a long row of short parallel operations.
//!
//! A thread of the pool that finds nothing to do goes to sleep within microseconds, and is woken too late for the next
//! operation, a thousand times in a training step. OpenMP's runtimes let threads look for work for a while first; rayon has
//! no such setting. Invariant: who computes what changes no result, so the bits do not depend on how many come. Absent on
//! purpose: a threshold; callers have long rows.

use rayon::Yield;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the start waits for threads that are on their way: what one sleep at the end of an operation costs.
const PATIENCE: Duration = Duration::from_millis(1);
/// Looks in vain after which the processor is offered to whoever else wants it.
const LOOKS: u32 = 64;
/// Added to the number of threads that came: no more are let in.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Runs `work` inside rayon's current pool, so that none of its operations is handed over to the pool, while the other
/// threads look for parts of it without going to sleep. Called inside the pool it just runs `work`.
///
/// Returns when each thread of the pool has looked in. `work` must not wait for anything but its own parallel operations,
/// nor run one while it holds a lock that another caller's work wants: a thread that looks for parts may be given that work.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() { work() } else { with_lookers(work) }
}

fn with_lookers<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let (came, done) = (&AtomicUsize::new(0), &AtomicBool::new(false));
    rayon::scope(|scope| {
        let here = rayon::current_thread_index();
        scope.spawn_broadcast(move |_, thread| {
            // Who comes later may do so in the middle of a part of `work`, which would then wait for its own end. As it is,
            // who looks for parts in the middle of another such work does so for one whose doors closed later: no circle.
            if Some(thread.index()) != here && came.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
                look_for_work(done);
            }
        });
        let (others, since) = (rayon::current_num_threads() - 1, Instant::now());
        while came.load(Ordering::Acquire) < others && since.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        came.fetch_or(CLOSED, Ordering::AcqRel);
        let _end = End(done);
        work()
    })
}

fn look_for_work(done: &AtomicBool) {
    let mut in_vain = 0;
    while !done.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(Yield::Executed) {
            in_vain = 0;
        } else if in_vain < LOOKS {
            in_vain += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// Ends the search, also when the work panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn on<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    /// Parallel operations one after another, each with parts that wait for parts of their own.
    fn operations() -> u64 {
        let square = |i: u64| (0..i % 7).into_par_iter().map(|_| i).sum::<u64>();
        (0..200).map(|n| (0..n).into_par_iter().map(square).sum::<u64>()).sum()
    }

    #[test]
    fn work_comes_to_an_end_on_any_number_of_threads() {
        let expected = (0..200).map(|n| (0..n).map(|i| i % 7 * i).sum::<u64>()).sum::<u64>();
        for threads in [1, 2, 5] {
            assert_eq!(on(threads, || (0..20).map(|_| with_lookers(operations)).sum::<u64>()), 20 * expected);
        }
        assert_eq!(awake(|| awake(operations)), expected);
    }

    #[test]
    fn several_at_once_come_to_an_end() {
        let expected = operations();
        for threads in [1, 2, 5] {
            let nested = || with_lookers(|| (0..4).into_par_iter().map(|_| with_lookers(operations)).sum::<u64>());
            assert_eq!(on(threads, || rayon::join(nested, nested)), (4 * expected, 4 * expected));
        }
    }

    #[test]
    fn a_panic_is_passed_on_and_ends_the_search() {
        let in_a_part = || (0..100).into_par_iter().for_each(|i| assert!(i < 99, "in a part"));
        for work in [|| panic!("in the work"), in_a_part] {
            assert!(on(3, || std::panic::catch_unwind(|| with_lookers(work))).is_err());
        }
        assert_eq!(awake(|| 7), 7);
    }
}
