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

use serde_json::{Value, json};

use crate::support::{App, Client, Event};

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
