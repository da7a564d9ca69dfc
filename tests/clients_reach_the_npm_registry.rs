//! Every client installs straight from the npm registry: what its installs through a gateway are compared with.
//!
//! It also keeps the drivers honest: a client that fails here would say nothing about a gateway.

use harness::Client;
use harness::clients::{Mode, World};

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $client:ident,)*) => {$(
        #[test]
        fn $test() {
            installs_from_the_npm_registry(stringify!($test), Client::$client);
        }
    )*};
}

promises! {
    npm_8_installs_from_the_npm_registry: Npm8,
    npm_10_installs_from_the_npm_registry: Npm10,
    npm_11_installs_from_the_npm_registry: Npm11,
    npm_12_installs_from_the_npm_registry: Npm12,
    yarn_1_installs_from_the_npm_registry: Yarn1,
    yarn_4_installs_from_the_npm_registry: Yarn4,
    pnpm_10_installs_from_the_npm_registry: Pnpm10,
    pnpm_11_installs_from_the_npm_registry: Pnpm11,
    pnpm_12_installs_from_the_npm_registry: Pnpm12,
    bun_installs_from_the_npm_registry: Bun,
    deno_installs_from_the_npm_registry: Deno,
}

fn installs_from_the_npm_registry(test: &str, client: Client) {
    World::enter(test, client, |world| {
        let checkout = world.checkout("straight");
        let first = client.install(&checkout, &world.straight(), Mode::Cold).expect_success();
        assert!(first.locked().contains("leaf"));
        assert!(checkout.installed().keys().any(|path| path.ends_with("node_modules/@scope/right")));
        for recorded in world.registry.requests() {
            let agent = recorded.header("user-agent").unwrap_or_default();
            assert!(agent.starts_with(client.family().user_agent()), "{} says {agent:?}", client.name());
        }

        let again = client.install(&checkout, &world.straight(), Mode::Frozen).expect_success();
        assert_eq!(again.locked(), first.locked());

        world.registry.reset_log();
        let warm = client.install(&checkout, &world.straight(), Mode::Warm).expect_success();
        assert_eq!(warm.locked(), first.locked());
        assert!(world.tarballs_asked_for().is_empty(), "a warm cache holds every tarball");
    });
}
