//! Revalidations that nobody waits for: few at once, a bounded number waiting, each package once.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use resolver::package::PackageName;
use tokio::sync::Semaphore;

/// At once: a quarter of the places at upstream, for whoever waits for something comes first.
const AT_ONCE: usize = 16;
/// Waiting and under way together: a large project's packages. What finds no place is asked for when it is next served.
const MOST: usize = 4096;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Behind {
    places: Arc<Semaphore>,
    names: Arc<Mutex<HashSet<PackageName>>>,
}

/// Takes a name off the list, however its work ends.
struct Listed {
    names: Arc<Mutex<HashSet<PackageName>>>,
    name: PackageName,
}

impl Default for Behind {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), names: Arc::default() }
    }
}

impl Behind {
    /// Starts the work for a package once there is a place; not at all if it is listed already, or too many are.
    pub(super) fn start<F>(&self, name: &PackageName, work: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(listed) = self.list(name) else {
            return;
        };
        let places = Arc::clone(&self.places);
        tokio::spawn(async move {
            // Never closed.
            let _place = places.acquire_owned().await;
            work().await;
            drop(listed);
        });
    }

    fn list(&self, name: &PackageName) -> Option<Listed> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST || !names.insert(name.clone()) {
            return None;
        }
        Some(Listed { names: Arc::clone(&self.names), name: name.clone() })
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn few_work_at_once_each_package_once_and_what_is_too_much_is_left_out() {
        let (behind, gate) = (Behind::default(), Arc::new(Semaphore::new(0)));
        let (started, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        for number in 0..2 * MOST {
            let name = PackageName::parse(&format!("package-{}", number / 2)).unwrap();
            let (gate, started, done) = (Arc::clone(&gate), Arc::clone(&started), Arc::clone(&done));
            behind.start(&name, move || async move {
                started.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                done.add_permits(1);
            });
        }
        let one_more = PackageName::parse("one-more").unwrap();
        let counted = Arc::clone(&started);
        behind.start(&one_more, move || async move { _ = counted.fetch_add(1, Ordering::SeqCst) });
        while started.load(Ordering::SeqCst) < AT_ONCE {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(started.load(Ordering::SeqCst), AT_ONCE);
        gate.add_permits(MOST);
        done.acquire_many(u32::try_from(MOST).unwrap()).await.unwrap().forget();
        assert_eq!(started.load(Ordering::SeqCst), MOST);
    }

    #[tokio::test]
    async fn work_that_crashes_gives_its_place_back() {
        let (behind, name) = (Behind::default(), PackageName::parse("left").unwrap());
        for _ in 0..=AT_ONCE {
            behind.start(&name, || async { panic!("as planned") });
            while !behind.names.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        let (done, mut is_done) = tokio::sync::watch::channel(false);
        behind.start(&name, move || async move { _ = done.send_replace(true) });
        is_done.wait_for(|done| *done).await.unwrap();
    }
}
