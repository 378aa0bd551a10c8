//! A timer of microseconds: the runtime's own wakes on whole milliseconds, which would be most of a latency that counts from the
//! intended time of sending.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::error::ClientError;

/// One thread that sleeps until the next alarm and wakes its task.
pub(super) struct Timer {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bounded: an alarm has at most one entry for each time that it was set to and that has not passed yet.
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The task behind each alarm.
    wakers: Vec<Option<Waker>>,
    closed: bool,
}

/// One task's alarm.
pub(super) struct Alarm {
    shared: Arc<Shared>,
    slot: usize,
    set_to: Option<Instant>,
}

impl Timer {
    pub(super) fn start() -> Result<Self, ClientError> {
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("bench-timer".to_owned()).spawn(move || run(&own));
        Ok(Self { shared, thread: Some(thread.map_err(ClientError::Start)?) })
    }

    pub(super) fn alarm(&self) -> Alarm {
        let mut state = self.shared.state.lock();
        state.wakers.push(None);
        Alarm { shared: self.shared.clone(), slot: state.wakers.len() - 1, set_to: None }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread only sleeps and wakes; it cannot have panicked.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    let mut state = shared.state.lock();
    while !state.closed {
        let Some(Reverse((at, slot))) = state.heap.peek().copied() else {
            shared.changed.wait(&mut state);
            continue;
        };
        if at > Instant::now() {
            shared.changed.wait_until(&mut state, at);
            continue;
        }
        state.heap.pop();
        if let Some(waker) = state.wakers.get_mut(slot).and_then(Option::take) {
            parking_lot::MutexGuard::unlocked(&mut state, || waker.wake());
        }
    }
}

impl Alarm {
    /// Waits until a moment. Safe to drop; the next call may name another moment.
    pub(super) async fn until(&mut self, at: Instant) {
        std::future::poll_fn(|context| self.poll(context, at)).await;
    }

    fn poll(&mut self, context: &Context<'_>, at: Instant) -> Poll<()> {
        if Instant::now() >= at {
            self.set_to = None;
            return Poll::Ready(());
        }
        let mut state = self.shared.state.lock();
        if let Some(slot) = state.wakers.get_mut(self.slot) {
            *slot = Some(context.waker().clone());
        }
        if self.set_to != Some(at) {
            self.set_to = Some(at);
            let earliest = state.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
            state.heap.push(Reverse((at, self.slot)));
            drop(state);
            if earliest {
                self.shared.changed.notify_one();
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn every_alarm_rings_and_none_early() {
        let timer = Timer::start().unwrap();
        let (mut first, mut second) = (timer.alarm(), timer.alarm());
        let start = Instant::now();
        let (a, b) = (start + Duration::from_millis(3), start + Duration::from_millis(1));
        let both = futures_util::future::join(async { (first.until(a).await, Instant::now()).1 }, async {
            (second.until(b).await, Instant::now()).1
        });
        let (rang_first, rang_second) = both.await;
        assert!(rang_first >= a && rang_second >= b);
    }

    #[tokio::test]
    async fn an_alarm_can_be_moved() {
        let timer = Timer::start().unwrap();
        let mut alarm = timer.alarm();
        let start = Instant::now();
        let far = alarm.until(start + Duration::from_secs(3_600));
        assert!(tokio::time::timeout(Duration::from_millis(2), far).await.is_err());
        alarm.until(start + Duration::from_millis(5)).await;
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
