//! What this gateway itself has to say stands in its roots.

use resolver::freshness::State;
use resolver::index::Path as At;

use super::*;

fn state(current: u64) -> State {
    State { looked: current, current: Some(current), behind: 0, except: vec![] }
}

impl World {
    /// A document of this gateway's own, as whoever follows reads it.
    async fn own(&self, path: &At) -> Option<Vec<u8>> {
        let cid = self.at(&path.segments().collect::<Vec<_>>().join("/"))?;
        Some(file_at(self, cid).await)
    }

    async fn eventually_says(&self, path: &At, expected: Option<&[u8]>) {
        let at = path.segments().collect::<Vec<_>>().join("/");
        let cid = expected.map(|bytes| address::of_raw(Revision::of(bytes).as_bytes()));
        self.eventually_at(&at, cid).await;
        assert_eq!(self.own(path).await.as_deref(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_says_itself_is_in_the_next_root_and_goes_when_it_is_said_no_more() {
    let world = World::new();
    assert_eq!(world.settled().await, None);
    world.index.say_peers(Some(b"{}".to_vec()));
    world.index.say_state(Some(state(7)));
    world.eventually_says(&At::peers(), Some(b"{}")).await;
    world.eventually_says(&At::state(), Some(&state(7).to_json())).await;
    let nothing_held = world.settled().await.unwrap();
    assert_eq!(
        (nothing_held.packages, nothing_held.blocks),
        (0, 4),
        "the root, the directory and two documents"
    );

    world.index.say_state(Some(state(8)));
    world.eventually_says(&At::state(), Some(&state(8).to_json())).await;
    world.index.say_state(None);
    world.eventually_says(&At::state(), None).await;
    world.eventually_says(&At::peers(), Some(b"{}")).await;
    world.index.say_peers(None);
    world.eventually_at(".federation", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_comes_into_a_root_only_with_all_that_was_held_when_it_was_said() {
    let world = World::new();
    for round in 0..20 {
        let names: Vec<String> = (0..4).map(|nth| format!("left-{round}-{nth}")).collect();
        for name in &names {
            world.keep(name, &[]).await;
        }
        world.index.say_state(Some(state(round)));
        let said = address::of_raw(Revision::of(&state(round).to_json()).as_bytes());
        let mut head = world.index.head();
        loop {
            // The root that has the state, and none before it, has to have them all.
            let nodes = world.index.nodes().unwrap();
            let at = |path: &str| {
                let root = nodes.root()?.cid;
                resolve(&nodes, &root, path.split('/')).unwrap().target
            };
            if at(".federation/state.json") == Some(said) {
                assert!(names.iter().all(|name| at(&format!("{name}/metadata.json")).is_some()), "{round}");
                break;
            }
            let _ = tokio::time::timeout(Duration::from_millis(20), head.changed()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_index_it_says_the_same_under_the_same_root() {
    let say = |world: &World| {
        world.index.say_peers(Some(b"{\"peers\":[]}".to_vec()));
        world.index.say_state(Some(state(9)));
    };
    let world = World::new();
    say(&world);
    world.keep("left", &[("1.0.0", &bytes(1, 3000))]).await;
    world.eventually_says(&At::state(), Some(&state(9).to_json())).await;
    let root = world.settled().await.unwrap();
    let world = world.again(&[], |folder| fs::remove_file(folder.join("index.redb")).unwrap()).await;
    say(&world);
    world.eventually_says(&At::state(), Some(&state(9).to_json())).await;
    let again = world.settled().await.unwrap();
    assert_eq!((again.root, again.blocks, again.packages), (root.root, root.blocks, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_counted_as_they_come_and_go() {
    let world = World::new();
    let one = bytes(1, 3000);
    for nth in 0..5 {
        world.keep(&format!("left-{nth}"), &[("1.0.0", &one)]).await;
    }
    assert_eq!(world.settled().await.unwrap().packages, 5);
    world.store.remove_packument(&name("left-3")).await.unwrap();
    assert_eq!(world.settled().await.unwrap().packages, 5, "its tarball is still listed");
    world.lose(&one).await;
    world.eventually_at("left-3", None).await;
    assert_eq!(world.settled().await.unwrap().packages, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_reading_the_root_before_finds_what_it_said() {
    let world = World::new();
    world.index.say_state(Some(state(1)));
    world.eventually_says(&At::state(), Some(&state(1).to_json())).await;
    let before = world.settled().await.unwrap();
    world.index.say_state(Some(state(2)));
    world.eventually_says(&At::state(), Some(&state(2).to_json())).await;
    let nodes = world.index.nodes().unwrap();
    let path = [".federation", "state.json"];
    let cid = resolve(&nodes, before.root.cid(), path.into_iter()).unwrap().target.unwrap();
    assert_eq!(file_at(&world, cid).await, state(1).to_json());
}
