//! What a node of the tests keeps: a map in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use ldk_node::lightning::io;
use ldk_node::lightning::util::persist::{KVStore, KVStoreSync};

type Key = (String, String, String);
type Done<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send + 'static>>;

#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<Key, Vec<u8>>>>);

fn key(primary: &str, secondary: &str, key: &str) -> Key {
    (primary.to_owned(), secondary.to_owned(), key.to_owned())
}

fn done<T: Send + 'static>(result: Result<T, io::Error>) -> Done<T> {
    Box::pin(std::future::ready(result))
}

impl KVStoreSync for MemoryStore {
    fn read(&self, primary: &str, secondary: &str, name: &str) -> Result<Vec<u8>, io::Error> {
        let found = self.0.lock().unwrap().get(&key(primary, secondary, name)).cloned();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such key"))
    }

    fn write(&self, primary: &str, secondary: &str, name: &str, value: Vec<u8>) -> Result<(), io::Error> {
        self.0.lock().unwrap().insert(key(primary, secondary, name), value);
        Ok(())
    }

    fn remove(&self, primary: &str, secondary: &str, name: &str, _: bool) -> Result<(), io::Error> {
        self.0.lock().unwrap().remove(&key(primary, secondary, name));
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        let all = self.0.lock().unwrap();
        Ok(all.keys().filter(|key| key.0 == primary && key.1 == secondary).map(|key| key.2.clone()).collect())
    }
}

impl KVStore for MemoryStore {
    fn read(&self, primary: &str, secondary: &str, name: &str) -> Done<Vec<u8>> {
        done(KVStoreSync::read(self, primary, secondary, name))
    }

    fn write(&self, primary: &str, secondary: &str, name: &str, value: Vec<u8>) -> Done<()> {
        done(KVStoreSync::write(self, primary, secondary, name, value))
    }

    fn remove(&self, primary: &str, secondary: &str, name: &str, lazy: bool) -> Done<()> {
        done(KVStoreSync::remove(self, primary, secondary, name, lazy))
    }

    fn list(&self, primary: &str, secondary: &str) -> Done<Vec<String>> {
        done(KVStoreSync::list(self, primary, secondary))
    }
}
