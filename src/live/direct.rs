//! Sending from the thread that has something to say, without waking the task that the connection belongs to.
//!
//! Waking a task costs more than what it then does for one frame: an entry in a queue, a thread that wakes up, often a second one
//! that looks whether there is more to do. Where few clients are told something, their sockets are written to at once. The right to
//! do so is the waker of a task that sleeps: whoever took it either sends and hands it back, or wakes the task. Where many are told
//! something, a task of the runtime does the same for a few dozen of them at a time.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Weak};
use std::task::Waker;

use super::outbox::Outbox;

/// To so many clients the thread that tells them sends itself; more are given to others.
const DIRECT_MAX: usize = 4;
/// So many are sent to in one piece of work. Where there are more, the first must not wait for the last, and all threads take part.
const LOAD_MAX: usize = 32;

/// Writes to the socket of a connection.
pub trait Direct: Send + Sync + fmt::Debug {
    /// Sends what waits in its outbox. `false`: the task must be woken, because somebody else is writing, the socket took only a part,
    /// or there is more to do than to send.
    fn send(&self, outbox: &Outbox) -> bool;

    /// Has [`Load::send`] called soon, on another thread if there is one that has nothing to do.
    fn carry(&self, load: Load);
}

/// A connection whose task sleeps, has something to send and was not woken.
type Asleep = (Arc<Outbox>, Waker);

/// Connections that have something to send and whose tasks sleep.
#[derive(Debug)]
pub struct Load(Vec<Asleep>);

impl Load {
    /// Sends it, on this thread.
    pub fn send(self) {
        self.0.into_iter().for_each(|(outbox, waker)| outbox.send_direct(waker));
    }

    fn carry(self) {
        if let Some(direct) = self.0.first().and_then(|(outbox, _)| outbox.direct().cloned()) {
            direct.carry(self);
        }
    }
}

thread_local! {
    /// Those that were told something inside of [`together`] and are not on their way yet.
    static HELD: RefCell<Option<Vec<Asleep>>> = const { RefCell::new(None) };
}

/// Runs something that tells clients this and that; each is sent all of it at the end, unless they are many. For threads that
/// decide about the messages of many at once.
pub fn together(tell: impl FnOnce()) {
    let outermost = HELD.with_borrow_mut(|held| held.is_none().then(|| *held = Some(Vec::new())).is_some());
    // Dropped at the end and where `tell` panics: nobody is forgotten.
    let _guard = outermost.then(|| Guard);
    tell();
}

/// Somebody's task is to hear that there is something to send.
pub(super) fn notify(outbox: &Weak<Outbox>, waker: Waker) {
    // What follows is done outside of the borrow: waking may drop a task, and that a connection.
    match HELD.try_with(|held| hold(&mut held.borrow_mut(), outbox, &waker)) {
        Ok(Some(full)) => full.into_iter().for_each(Load::carry),
        Ok(None) | Err(_) => waker.wake(),
    }
}

/// Keeps it for later, if this is inside of [`together`]; those who are now enough for a load of their own come back.
fn hold(held: &mut Option<Vec<Asleep>>, outbox: &Weak<Outbox>, waker: &Waker) -> Option<Option<Load>> {
    let (list, outbox) = (held.as_mut()?, outbox.upgrade()?);
    list.push((outbox, waker.clone()));
    Some((list.len() == LOAD_MAX).then(|| Load(std::mem::replace(list, Vec::with_capacity(LOAD_MAX)))))
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        let held = HELD.try_with(|held| held.borrow_mut().take()).ok().flatten();
        let load = Load(held.unwrap_or_default());
        if load.0.len() <= DIRECT_MAX { load.send() } else { load.carry() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use parking_lot::Mutex;

    use super::*;
    use crate::live::{Outgoing, TotalBytes};

    /// Takes what waits, unless it is busy.
    #[derive(Debug, Default)]
    struct Mouth {
        is_busy: bool,
        said: Mutex<Vec<String>>,
        carried: AtomicUsize,
    }

    impl Direct for Mouth {
        fn send(&self, outbox: &Outbox) -> bool {
            let mut frames = Vec::new();
            if !self.is_busy {
                outbox.pop_open(usize::MAX, &mut frames);
            }
            self.said.lock().extend(frames.into_iter().filter_map(|frame| match frame {
                Outgoing::Text(text) => Some(text.to_string()),
                Outgoing::Close(..) => None,
            }));
            !self.is_busy
        }

        fn carry(&self, load: Load) {
            self.carried.fetch_add(load.0.len(), Ordering::Relaxed);
            load.send();
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection whose task sleeps.
    struct Sleeper {
        outbox: Arc<Outbox>,
        mouth: Arc<Mouth>,
        woken: Arc<Woken>,
    }

    impl Sleeper {
        fn new(is_busy: bool) -> Self {
            let outbox = Outbox::new(1 << 20, TotalBytes::new(1 << 20));
            let mouth = Arc::new(Mouth { is_busy, ..Mouth::default() });
            outbox.send_through(Arc::clone(&mouth) as Arc<dyn Direct>);
            let sleeper = Self { outbox, mouth, woken: Arc::default() };
            assert!(sleeper.falls_asleep());
            sleeper
        }

        fn falls_asleep(&self) -> bool {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.outbox.poll_ready(&mut Context::from_waker(&waker)).is_pending()
        }

        /// What was sent in its place, and how often it was woken.
        fn state(&self) -> (String, usize) {
            (self.mouth.said.lock().join(" "), self.woken.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn few_are_sent_to_and_sleep_on_and_are_woken_by_what_comes_later() {
        let (one, two) = (Sleeper::new(false), Sleeper::new(false));
        together(|| {
            one.outbox.push_text("a".into());
            two.outbox.push_text("x".into());
            together(|| one.outbox.push_text("b".into()));
            assert_eq!(one.state(), (String::new(), 0), "at the end, all that waits at once");
        });
        assert_eq!((one.state(), two.state()), (("a b".into(), 0), ("x".into(), 0)));
        together(|| one.outbox.push_text("c".into()));
        one.outbox.push_text("d".into());
        assert_eq!(one.state(), ("a b c".into(), 1));
        assert!(!one.falls_asleep(), "it finds what it was woken for");
    }

    #[test]
    fn more_are_given_to_others_at_the_end_and_many_at_once() {
        let some: Vec<_> = (0..=DIRECT_MAX).map(|_| Sleeper::new(false)).collect();
        together(|| some.iter().for_each(|sleeper| sleeper.outbox.push_text("a".into())));
        assert!(some.iter().all(|sleeper| sleeper.state() == ("a".into(), 0)));
        assert_eq!(some[0].mouth.carried.load(Ordering::Relaxed), some.len());
        let many: Vec<_> = (0..LOAD_MAX).map(|_| Sleeper::new(false)).collect();
        let late = Sleeper::new(false);
        together(|| {
            many.iter().for_each(|sleeper| sleeper.outbox.push_text("a".into()));
            assert!(many.iter().all(|sleeper| sleeper.state() == ("a".into(), 0)), "as soon as they are many");
            late.outbox.push_text("b".into());
            assert_eq!(late.state(), (String::new(), 0));
        });
        assert_eq!(late.state(), ("b".into(), 0));
        assert_eq!(many[0].mouth.carried.load(Ordering::Relaxed), LOAD_MAX);
    }

    #[test]
    fn who_cannot_be_sent_to_is_woken() {
        let (busy, closing) = (Sleeper::new(true), Sleeper::new(false));
        together(|| {
            busy.outbox.push_text("a".into());
            closing.outbox.push_text("b".into());
            closing.outbox.close(1_000, "bye");
        });
        assert_eq!((busy.state(), closing.state()), ((String::new(), 1), (String::new(), 1)));
        let panicked = Sleeper::new(false);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            together(|| {
                panicked.outbox.push_text("c".into());
                std::panic::resume_unwind(Box::new(()));
            });
        }));
        assert!(caught.is_err());
        assert_eq!(panicked.state(), ("c".into(), 0), "nobody is forgotten");
        panicked.outbox.push_text("d".into());
        assert_eq!(panicked.state().1, 1, "and the thread holds nobody back after that");
    }
}
