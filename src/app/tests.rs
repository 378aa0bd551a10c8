//! The whole process in a test: started on a fresh directory, spoken to over a socket, stopped in order.

use futures_util::{SinkExt, StreamExt};
use nostr::prelude::{Event, EventBuilder, FinalizeEvent, Keys as NostrKeys, Kind};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::config::file::File;
use crate::config::resolve::resolve;
use crate::kv::Faults;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn settings(directory: &tempfile::TempDir) -> Settings {
    let (mut file, problems) = File::read("c.toml", "");
    file.relay.listen = "127.0.0.1:0".into();
    file.admin.listen = "127.0.0.1:0".into();
    resolve(&file, None, directory.path().join("data"), problems).unwrap()
}

async fn connect(addresses: &Addresses) -> Client {
    connect_async(format!("ws://{}/", addresses.public)).await.unwrap().0
}

async fn text(client: &mut Client) -> String {
    match client.next().await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => format!("{other:?}"),
    }
}

fn note(content: &str) -> Event {
    EventBuilder::new(Kind::from(1), content).finalize(&NostrKeys::generate()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_an_orderly_stop_and_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let (app, addresses) = App::start(settings(&directory)).await.unwrap();
    let mut client = connect(&addresses).await;
    let note = note("hello");
    client.send(Message::text(format!("[\"EVENT\",{}]", serde_json::to_string(&note).unwrap()))).await.unwrap();
    assert_eq!(text(&mut client).await, format!("[\"OK\",\"{}\",true,\"\"]", note.id));
    assert!(DataDir::new(directory.path().join("data")).admin_socket().exists());

    let farewell = tokio::spawn(async move { text(&mut client).await });
    app.running.stop().await;
    assert!(farewell.await.unwrap().contains("Restart"));
    assert!(!DataDir::new(directory.path().join("data")).admin_socket().exists());

    let (app, addresses) = App::start(settings(&directory)).await.unwrap();
    let mut client = connect(&addresses).await;
    client.send(Message::text(format!("[\"REQ\",\"s\",{{\"ids\":[\"{}\"]}}]", note.id))).await.unwrap();
    assert!(text(&mut client).await.starts_with("[\"EVENT\",\"s\",{"));
    assert_eq!(text(&mut client).await, "[\"EOSE\",\"s\"]");
    drop(client);
    app.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_is_not_acknowledged_and_ends_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let mut settings = settings(&directory);
    settings.store.faults = faults.clone();
    let (app, addresses) = App::start(settings).await.unwrap();
    let mut client = connect(&addresses).await;
    faults.fail_after(0);
    let note = note("lost");
    client.send(Message::text(format!("[\"EVENT\",{}]", serde_json::to_string(&note).unwrap()))).await.unwrap();
    assert!(text(&mut client).await.starts_with(&format!("[\"OK\",\"{}\",false,\"error: ", note.id)));
    assert!(app.fatal.await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (app, _) = App::start(settings(&directory)).await.unwrap();
    let refused = App::start(settings(&directory)).await.err().unwrap();
    assert!(matches!(refused, StartError::Store(_)), "{refused}");
    assert!(DataDir::new(directory.path().join("data")).admin_socket().exists(), "the first one keeps its socket");
    app.running.stop().await;
}
