//! Crashes and faults of a whole process: SIGKILL in the middle of work, a disk that fails, power that goes, files that are damaged;
//! and then every promise is looked at that was made before.

mod damage;
mod disk;
mod failing_disk;
mod incidents;
mod payments;
mod power_loss;
mod program;
mod publishes;
mod record;
mod safe_mode;
mod secrets;
mod till;
mod windows;

use std::sync::{Condvar, Mutex};

use serde_json::{Value, json};

use crate::support::{App, Client, Event, PATIENCE};

/// Processes of the crash windows at a time, of all tests that run together: they mostly wait, but where a hundred of them start at once
/// on a small machine, none is ready in time.
const PLACES: usize = 20;
static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of them, until it is dropped.
struct Place;

impl Place {
    fn take() -> Self {
        let (taken, freed) = &TAKEN;
        *freed.wait_while(taken.lock().unwrap(), |taken| *taken >= PLACES).unwrap() += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap() -= 1;
        TAKEN.1.notify_one();
    }
}

/// Opens again what this process had open just now. A child that another test has forked holds a copy of the lock until its exec.
fn unlocked<T, E>(open: impl Fn() -> Result<T, E>, words: impl Fn(&E) -> String) -> Result<T, E> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match open() {
            Err(error) if words(&error).contains("is in use by another process") && std::time::Instant::now() < deadline => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// Sends a request, for the first time or again, and returns its answer, whether it was kept from before or comes now.
async fn ask_again(app: &App, client: &mut Client, request: &Event) -> (Event, Value) {
    let subscription = &request.id[..16];
    let kept = client.stored_json(subscription, &[app.answers_to(request)]).await;
    let verdict = client.publish(request).await;
    assert!(verdict.accepted, "request refused: {}", verdict.text);
    let answer = match kept.first() {
        Some(json) => serde_json::from_str(json).unwrap(),
        None => client.live(subscription).await,
    };
    client.say(&json!(["CLOSE", subscription])).await;
    let (_, value) = app.open(request, &answer);
    (answer, value)
}
